"""decant beside ONNX Runtime: the same models, the same histories, one thread, in turns.

    python benchmarks/onnx_runtime.py ./decant runs/shop [--rounds 5] [--histories 200]

Exports teacher and student, then in each round times them by `decant bench` and, on the histories it took, by the
exported graphs: encoder, the k best, both. Prints markdown: the median over rounds of each round's p50. Needs h5py,
numpy and onnxruntime.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'examples' / 'python'))
from recommend_onnx import Recommender  # noqa: E402

SIDES = {'teacher': ('teacher', False), 'student': ('student', False), 'student_int8': ('student', True)}


def histories_of(dataset, rows):
    """All events but the last of those rows."""
    manifest, found = json.loads((dataset / 'manifest.json').read_text()), []
    for part in manifest['parts']:
        mine = [row - part['first_row'] for row in rows if 0 <= row - part['first_row'] < part['rows']]
        with h5py.File(dataset / part['file']) as file:
            offsets, values = file['sequences/items/offsets'][:], file['sequences/items/values']
            found += [values[offsets[row]:offsets[row + 1] - 1].tolist() for row in mine]
    return found


def micros(since):
    return (time.perf_counter_ns() - since) / 1000


def time_onnx(model, histories, k, warm_up=20):
    """p50 of encoder, search and both, in microseconds."""
    asked = {'k': np.array([k])}
    parts = {'encoder': [], 'search': [], 'total': []}
    for i, history in enumerate([*histories[:warm_up], *histories]):
        begin = time.perf_counter_ns()
        asked['hidden'] = model.hidden([history])
        encoder, middle = micros(begin), time.perf_counter_ns()
        model.topk.run(['items', 'scores'], asked)
        search = micros(middle)
        if i >= warm_up:
            for part, value in zip(parts.values(), (encoder, search, encoder + search)):
                part.append(value)
    return {part: statistics.median(values) for part, values in parts.items()}


def main():
    parser = argparse.ArgumentParser(description='decant beside ONNX Runtime.')
    parser.add_argument('decant', type=Path)
    parser.add_argument('run', type=Path, help='a run folder')
    parser.add_argument('--dataset', type=Path, help='where it is not in the run folder')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--histories', type=int, default=200)
    parser.add_argument('--k', type=int, default=10)
    arguments = parser.parse_args()
    decant = str(arguments.decant.resolve())
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ('teacher', 'student'):
            subprocess.run([decant, 'export', arguments.run, '--side', side, '--to', f'{folder}/{side}', '--int8'], check=True,
                           stdout=subprocess.DEVNULL)
        models = {name: Recommender(f'{folder}/{side}', int8) for name, (side, int8) in SIDES.items()}
        for _ in range(arguments.rounds):
            bench = json.loads(subprocess.run(
                [decant, 'bench', arguments.run, '--json', '--k', str(arguments.k), '--histories', str(arguments.histories),
                 '--repetitions', '1'], check=True, capture_output=True, text=True).stdout)
            histories = histories_of(arguments.dataset or arguments.run / 'dataset', bench['rows'])
            for name, model in models.items():
                ours = {part: value['p50'] for part, value in bench['sides'][name]['latency_us'].items()}
                for who, found in (('decant', ours), ('ONNX Runtime', time_onnx(model, histories, arguments.k))):
                    seen.setdefault((name, who), []).append(found)
    print(f"{bench['processor']}, {bench['items']} items, {len(histories)} histories, k {arguments.k}, "
          f"{arguments.rounds} rounds; microseconds at p50\n\n| | | encoder | search | both | both, lowest to highest round |\n"
          '| --- | --- | --- | --- | --- | --- |')
    for (name, who), found in seen.items():
        middle = {part: statistics.median(one[part] for one in found) for part in found[0]}
        totals = [one['total'] for one in found]
        print(f"| {name} | {who} | {middle['encoder']:.0f} | {middle['search']:.0f} | {middle['total']:.0f} | "
              f'{min(totals):.0f} to {max(totals):.0f} |')


if __name__ == '__main__':
    main()
