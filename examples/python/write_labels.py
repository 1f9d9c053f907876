"""Writes a label set (kind topk) from any teacher's logits: what `labels: {folder: my_labels}` in a job file takes.

    python write_labels.py my_dataset my_labels 20 [max_length]   # a teacher of your own in the place of `teacher` below

Needs h5py, numpy and xxhash. docs/file_formats.md describes the files; `decant labels verify my_labels` checks them.
"""
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import xxhash

data, store, k = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
max_length = int(sys.argv[4]) if len(sys.argv) > 4 else 50
dataset = json.loads((data / 'manifest.json').read_text())
count = h5py.File(data / dataset['catalogue']['file'])['items/count'][:].astype('f4')


def teacher(window):
    """Logits [len(window), items], after each event of `window`. This one knows popularity, and that an item comes again."""
    return np.log1p(count) + 2 * (np.arange(len(count)) == window[:, None])


def label(window):
    """For each event: the k best ids, their logits below the highest, and that one; log-sum-exp of all others at T = 1."""
    logits = np.asarray(teacher(window), 'f8')
    best = np.argsort(-logits, 1, kind='stable')[:, :k]
    top = np.take_along_axis(logits, best, 1)
    np.put_along_axis(logits, best, -np.inf, 1)
    with np.errstate(divide='ignore'):                            # nothing is left where k is all items
        rest = np.log(np.exp(logits - top[:, :1]).sum(1))
    return zip(best, top - top[:, :1], top[:, 0], rest)


store.mkdir()
parts, part_rows = [], -(-(-(-dataset['rows'] // 1024)) // 1024) * 1024
files = [h5py.File(data / part['file']) for part in dataset['parts']]
sequences = [file['sequences/items'] for file in files]
for first in range(0, dataset['rows'], part_rows):
    rows, targets = [], []
    for row in range(first, min(first + part_rows, dataset['rows'])):
        place, local = divmod(row, dataset['part_rows'])
        events = sequences[place]['values'][slice(*sequences[place]['offsets'][local:local + 2])]
        if dataset['split'] == 'leave-last-out':
            events = events[:-2] if len(events) >= 3 else events  # the last two belong to valid and test
        else:
            events = events[:files[place]['sequences/split/train'][local]]
        events = events[-(max_length + 1):]                       # the window, and the target after it
        rows += label(events[:-1]) if len(events) > 1 else []
        targets.append(max(0, len(events) - 1))
    name = f'part-{len(parts):05}.h5'
    with h5py.File(store / name, 'w') as file:
        file.attrs.update(key='mine', first_row=np.uint64(first), rows=np.uint64(len(targets)), targets=np.uint64(len(rows)))
        columns = zip(('ids', 'logits', 'peak', 'rest_lse'), ('<u4', '<f4', '<f4', '<f4'), zip(*rows))
        for column, dtype, values in [*columns, ('rows/targets', '<u4', targets)]:
            values = np.array(values, dtype)
            values = values[:, None] if column == 'rest_lse' else values
            file.create_dataset(column, data=values, chunks=(min(256, len(values)), *values.shape[1:]), fletcher32=True)
    parts.append({'file': name, 'first_row': first, 'rows': len(targets), 'targets': len(rows),
                  'bytes': (store / name).stat().st_size})

k = min(k, dataset['items'])
manifest = {'format': 'decant-labels', 'version': 2, 'key': 'mine', 'recipe': 'mine', 'kind': 'topk', 'view': 0,
            'teacher': 'mine', 'teacher_hash': 'mine', 'catalogue_hash': dataset['catalogue_hash'],
            'content_hash': dataset['content_hash'], 'exclusion': 'none', 'window': 'last', 'max_length': max_length,
            'options': {'k': k, 'temperatures': [1.0]}, 'compression': 'none', 'computed_in': 'fp32',
            'columns': [{'name': 'ids', 'dtype': 'u32', 'width': k}, {'name': 'logits', 'dtype': 'f32', 'width': k},
                        {'name': 'peak', 'dtype': 'f32', 'width': 1}, {'name': 'rest_lse', 'dtype': 'f32', 'width': 1}],
            'items': dataset['items'], 'rows': dataset['rows'], 'targets': sum(part['targets'] for part in parts),
            'part_rows': part_rows, 'parts': parts, 'checksum': '0' * 16}
text = json.dumps(manifest, indent=1)
(store / 'manifest.json').write_text(text.replace('0' * 16, xxhash.xxh3_64_hexdigest(text.encode())))
