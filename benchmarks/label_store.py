"""The label store in figures: bytes a label, what truncation costs, drawn labels against the best k at equal bytes.

    python benchmarks/label_store.py JOB.yaml DATASET --set teacher.weights=teacher.safetensors [--users 1024]

JOB needs a teacher with weights; DATASET is the folder of its dataset, of which every n-th user is labelled, with the whole
catalogue. Everything is written below --out. Prints markdown. Needs h5py, numpy and xxhash.
"""
import argparse
import json
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import xxhash

KS, DRAWS, PS, DTYPES = (10, 20, 50, 100, 200, 500), (25, 50, 100, 200, 400), (0.5, 0.9), ('fp16', 'bf16', 'fp32')


def sample(source, folder, users):
    """A dataset of `users` rows at even distances, with the same catalogue."""
    manifest = json.loads((source / 'manifest.json').read_text())
    chosen = np.linspace(0, manifest['rows'] - 1, min(users, manifest['rows'])).astype('i8')
    names, rows = [], []
    for part in manifest['parts']:
        with h5py.File(source / part['file']) as file:
            for row in chosen[(chosen >= part['first_row']) & (chosen < part['first_row'] + part['rows'])] - part['first_row']:
                for group, out in (('user', names), ('items', rows)):
                    column = file['sequences'][group]
                    out.append(column['values'][slice(*column['offsets'][row:row + 2])])
    folder.mkdir(parents=True)
    shutil.copy(source / manifest['catalogue']['file'], folder / 'catalogue.h5')
    with h5py.File(folder / 'part-00000.h5', 'w') as file:
        sequences = file.create_group('sequences')
        sequences.attrs.update(first_row=np.uint64(0), rows=np.uint64(len(rows)))
        for group, values, dtype in (('user', names, 'u1'), ('items', rows, '<u4')):
            offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype('<u8')
            for name, data in (('values', np.concatenate(values).astype(dtype)), ('offsets', offsets)):
                sequences.create_dataset(f'{group}/{name}', data=data, chunks=(min(65536, len(data)),), fletcher32=True)
    digest = xxhash.xxh3_64_hexdigest
    lengths, events = np.array([len(row) for row in rows], '<u4'), np.concatenate(rows).astype('<u4')
    content = f"{manifest['catalogue_hash']} {manifest['split']} {digest(lengths.tobytes())} {digest(events.tobytes())}"
    size = (folder / 'part-00000.h5').stat().st_size
    manifest.pop('import', None)
    manifest.update(rows=len(rows), events=len(events), content_hash=digest(content.encode()), checksum='0' * 16,
                    part_rows=max(4096, -(-len(rows) // 4096) * 4096), catalogue=manifest['catalogue'] | {'file': 'catalogue.h5'},
                    parts=[{'file': 'part-00000.h5', 'bytes': size, 'first_row': 0, 'rows': len(rows), 'events': len(events)}])
    text = json.dumps(manifest, indent=1)
    (folder / 'manifest.json').write_text(text.replace('0' * 16, digest(text.encode())))


def sets():
    """Names and options of the sets that are measured."""
    out = {f'topk{k}_{dtype}': f'kind: topk, k: {k}, dtype: {dtype}' for dtype in DTYPES for k in KS}
    out |= {'topk100_fp16_none': 'kind: topk, k: 100, compress: none'}
    out |= {f'top_p{round(100 * p)}': f'kind: top_p, p: {p}, k: 500' for p in PS}
    out |= {f'sampled{n}': f'kind: sampled, draws: {n}, drawn_at: 1, temperatures: [1]' for n in DRAWS}
    return out | {f'dense_{dtype}': f'kind: dense, dtype: {dtype}, limit_mib: 100000' for dtype in DTYPES}


def off(estimate, teacher):
    """Total variation of two distributions, each target for itself."""
    return 0.5 * np.abs(estimate - teacher).sum(1)


class Errors:
    """What labels of one kind and size take the teacher for: off by target, and off on the average of 128 targets."""

    def __init__(self):
        self.each, self.mean, self.whole, self.targets = [], [], 0.0, 0

    def add(self, estimate, teacher):
        self.each += off(estimate, teacher).tolist()
        self.mean += off(estimate.mean(0, keepdims=True), teacher.mean(0, keepdims=True)).tolist()
        self.whole, self.targets = self.whole + (estimate - teacher).sum(0), self.targets + len(teacher)

    def text(self):
        return f'{np.mean(self.each):.3f} | {np.mean(self.mean):.3f} | {0.5 * np.abs(self.whole / self.targets).sum():.3f}'


def at_equal_bytes(labels, bytes_of):
    """For each number of draws: the k whose labels take as many bytes, and how far either is off the teacher at T = 1."""
    dense = h5py.File(labels / 'dense_fp32/part-00000.h5')
    drawn = {n: h5py.File(labels / f'sampled{n}/part-00000.h5') for n in DRAWS}
    equal = {n: round(np.interp(bytes_of[f'sampled{n}'], [bytes_of[f'topk{k}_fp16'] for k in KS], KS)) for n in DRAWS}
    errors = {}
    for begin in range(0, len(dense['peak']) - 127, 128):
        logits = dense['logits'][begin:begin + 128].astype('f8')
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        order = np.argsort(-p, 1, kind='stable')
        for n in DRAWS:
            ids, counts = drawn[n]['ids'][begin:begin + 128].astype('i8'), drawn[n]['counts'][begin:begin + 128] / n
            estimate = np.zeros((len(p), p.shape[1] + 1))
            np.put_along_axis(estimate, np.minimum(ids, p.shape[1]), counts, 1)
            errors.setdefault((n, 'drawn'), Errors()).add(estimate[:, :-1], p)
            best = order[:, :equal[n]]
            kept = np.zeros_like(p)
            np.put_along_axis(kept, best, np.take_along_axis(p, best, 1), 1)
            mass = kept.sum(1, keepdims=True)
            spread = np.where(kept > 0, kept, (1 - mass) / max(1, p.shape[1] - equal[n]))
            errors.setdefault((n, f'best {equal[n]}, made to add up to 1'), Errors()).add(kept / mass, p)
            errors.setdefault((n, f'best {equal[n]}, rest spread evenly'), Errors()).add(spread, p)
    return errors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('job'), parser.add_argument('dataset', type=Path)
    parser.add_argument('--users', type=int, default=1024)
    parser.add_argument('--out', type=Path, default=Path('runs/label-store'))
    parser.add_argument('--decant', default='./decant')
    parser.add_argument('--set', action='append', default=[], help='as of decant')
    a = parser.parse_args()
    if not (a.out / 'sample/manifest.json').exists():
        sample(a.dataset, a.out / 'sample', a.users)
    asked = [f'run.folder={a.out}', f'data.dataset={a.out}/sample', 'losses={ce: {}}',
             'labels={sets: {' + ', '.join(f'{name}: {{{options}}}' for name, options in sets().items()) + '}}', *a.set]
    words = [word for value in asked for word in ('--set', value)]
    for stage in ('train-teacher', 'label'):
        subprocess.run([a.decant, stage, a.job, *words], check=True)
    said = subprocess.run([a.decant, 'labels', 'verify', a.job, *words, '--json'], check=True, capture_output=True, text=True)
    verified = json.loads(said.stdout)
    records = {name: json.loads((a.out / f'stages/labels/{name}.json').read_text())['result'] for name in sets()}
    bytes_of = {name: record['bytes'] / record['positions'] for name, record in records.items()}
    print(f"{records['sampled100']['positions']} labels of {a.users} users\n")
    print('| set | bytes a label | largest logit error | mass left out | KL, made to add up to 1 | KL, rest spread evenly |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name in sets():
        probe = verified[name]['probe']
        keys = ('largest_logit_error', 'mass_left_out', 'kl_renormalised', 'kl_tail_spread_evenly')
        print(f'| {name} | {bytes_of[name]:.0f} | ' + ' | '.join(f'{probe[key]:.4f}' for key in keys) + ' |')
    print('\n| bytes a label | labels | off by, a target | mean of 128 targets | mean of all |\n| --- | --- | --- | --- | --- |')
    for (n, what), errors in at_equal_bytes(a.out / 'labels', bytes_of).items():
        print(f"| {bytes_of[f'sampled{n}']:.0f} | {what if what != 'drawn' else f'{n} draws'} | {errors.text()} |")


main()
