"""Prints what the teacher expected at each labelled position of some users, beside what they did.

    python read_labels.py runs/quickstart/dataset runs/quickstart/labels/teacher 0 17     # rows 0 and 17

Needs h5py and numpy. docs/file_formats.md describes the files.
"""
import json
import sys
from pathlib import Path

import h5py
import numpy as np

data, store = (Path(name) for name in sys.argv[1:3])
dataset, labels = (json.loads((folder / 'manifest.json').read_text()) for folder in (data, store))
ids = h5py.File(data / dataset['catalogue']['file'])['items/id']
text, ends = ids['values'][:].tobytes(), ids['offsets'][:]
names = [text[begin:end].decode() for begin, end in zip(ends[:-1], ends[1:])]

offsets = [h5py.File(data / part['file'])['sequences/items/offsets'][:].astype('i8') for part in dataset['parts']]
lengths = np.concatenate([np.diff(of_part) for of_part in offsets])
if dataset['split'] == 'leave-last-out':
    training = np.where(lengths >= 3, lengths - 2, lengths)       # the last two belong to valid and test
else:
    training = np.concatenate([h5py.File(data / part['file'])['sequences/split/train'][:] for part in dataset['parts']])
t1 = labels['options']['temperatures'].index(1.0)

for row in map(int, sys.argv[3:] or ['0']):
    place, local = divmod(row, dataset['part_rows'])
    begin, end = offsets[place][local:local + 2]
    events = h5py.File(data / dataset['parts'][place]['file'])['sequences/items/values'][begin:end]
    part = labels['parts'][row // labels['part_rows']]
    file = h5py.File(store / part['file'])
    counts = file['rows/targets'][:row - part['first_row'] + 1].astype('i8')
    for i in range(counts[-1]):
        at = counts[:-1].sum() + i
        logits, rest = file['logits'][at].astype('f8'), file['rest_lse'][at, t1]
        p = np.exp(logits - np.logaddexp(np.logaddexp.reduce(logits), rest))
        best = ', '.join(f'{names[item]} {share:.3f}' for item, share in zip(file['ids'][at, :3], p))
        event = events[training[row] - counts[-1] + i]
        print(f'row {row}: {names[event]} came, at rank {file["target_rank"][at]:.0f}; expected {best}')
