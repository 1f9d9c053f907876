"""Recommend from a folder of `decant export` with ONNX Runtime: the answers of `decant recommend`, without decant.

    echo 'anna bread milk' | python recommend_onnx.py student        # name and items in the order of time, a line each
    python recommend_onnx.py student --int8 --k 20 < histories.txt

Needs numpy and onnxruntime.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Recommender:
    def __init__(self, folder: Path | str, int8: bool = False, threads: int = 1) -> None:
        folder, mark = Path(folder), '.int8' if int8 else ''
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.encoder, self.topk = (onnxruntime.InferenceSession(str(folder / f'{name}{mark}.onnx'), options)
                                   for name in ('encoder', 'topk'))
        self.names = json.loads((folder / 'item_ids.json').read_text())
        self.ids = {name: i for i, name in enumerate(self.names)}
        self.window = json.loads((folder / 'spec.json').read_text())['model']['max_length']

    def hidden(self, histories: list[list[int]], columns: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """States of histories of item numbers, none of them empty. `columns`: what the model takes of users and events,
        coded as spec.json says; what is not given is missing."""
        windows = [history[-self.window:] for history in histories]
        lengths = np.array([len(window) for window in windows])
        items = np.zeros((len(windows), lengths.max()), np.int64)  # what is behind a history does not matter
        for row, window in enumerate(windows):
            items[row, :len(window)] = window
        inputs = {'items': items, 'lengths': lengths, **(columns or {})}
        sizes = {'batch': items.shape[0], 'length': items.shape[1]}
        for node in self.encoder.get_inputs():
            if node.name not in inputs:
                kind = np.int64 if node.type == 'tensor(int64)' else np.float32
                inputs[node.name] = np.zeros([sizes.get(size, size) for size in node.shape], kind)
        return self.encoder.run(['hidden'], inputs)[0]

    def __call__(self, histories: list[list[str]], k: int = 10) -> list[list[tuple[str, float]]]:
        """The k best items that a history has not; items that the catalogue has not are passed over."""
        known = [[self.ids[item] for item in history if item in self.ids] for history in histories]
        asked = [history for history in known if history]
        if not asked:
            return [[] for _ in known]
        depth = min(len(self.names), k + max(len(set(history)) for history in asked))
        items, scores = self.topk.run(['items', 'scores'], {'hidden': self.hidden(asked), 'k': np.array([depth])})
        rows = iter(zip(items.tolist(), scores.tolist()))
        return [self.unseen(*next(rows), set(history), k) if history else [] for history in known]

    def unseen(self, items: list[int], scores: list[float], seen: set[int], k: int) -> list[tuple[str, float]]:
        return [(self.names[item], score) for item, score in zip(items, scores) if item not in seen][:k]


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Recommend the next items of histories.')
    parser.add_argument('folder', type=Path, help='what decant export wrote')
    parser.add_argument('--k', type=int, default=10)
    parser.add_argument('--int8', action='store_true', help='by the int8 graphs')
    arguments = parser.parse_args()

    recommend = Recommender(arguments.folder, arguments.int8)
    for line in sys.stdin:
        if words := line.split():
            for item, score in recommend([words[1:]], arguments.k)[0]:
                print(words[0], item, f'{score:.6f}', sep='\t')
