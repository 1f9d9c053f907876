"""A large catalogue, whole on every rank and sharded over them: memory of the ranks, time, loss.

    python benchmarks/large_catalogue.py ./decant --out runs/large [--items 1000000] [--dim 64] [--ranks 1 2 4] [--meshes 4:2]

Makes a log in which every item occurs, imports it, and trains a teacher for a few steps in each way, with validation,
checkpoint and weights; ranks of one thread. Prints markdown. Needs numpy.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ENVIRONMENT = {'OMP_NUM_THREADS': '1'}


def write_log(path, users, items, length):
    """Each user has a piece of a random order of all items, then some of a few popular ones."""
    rng = np.random.default_rng(1)
    pieces = np.array_split(rng.permutation(items), users)
    with path.open('w') as file:
        for user, piece in enumerate(pieces):
            popular = (rng.pareto(1.0, length) * 10).astype('i8') % items
            file.write(f'u{user} ' + ' '.join(f'i{item}' for item in (*piece, *popular)) + '\n')


def job(folder, dataset, arguments, table):
    return {
        'version': 1,
        'run': {'folder': str(folder), 'seed': 1, 'threads': 1, 'device': 'cpu'},
        'data': {'dataset': str(dataset)},
        'batch': {'sequences': arguments.sequences},
        'teacher': {
            'model': {'type': 'sasrec', 'dim': arguments.dim, 'layers': 1, 'heads': 1, 'max_length': 50, 'dropout': 0.2,
                      'table': table},
            'optimizer': {'type': 'adamw', 'lr': 0.01},
            'train': {'max_steps': arguments.steps, 'patience': 0, 'checkpoint_steps': 0},
        },
    }


def peak_of_child(command):
    """Runs the command; prints its own peak of resident memory, KiB."""
    code = subprocess.run(command).returncode
    print(f'peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}', flush=True)
    return code


def run(decant, path, ranks):
    """MiB of every rank, and seconds of everything."""
    command = [sys.executable, __file__, '--child', decant, 'train-teacher', str(path)]
    if ranks > 1:
        command = ['mpirun', '-n', str(ranks), '--oversubscribe', '--bind-to', 'none', *command]
    began = time.time()
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'{" ".join(command)}\n{done.stdout}{done.stderr}')
    return [int(line.split()[1]) / 1024 for line in done.stdout.splitlines() if line.startswith('peak')], time.time() - began


def loss_of(folder):
    """Mean over the steps."""
    record = json.loads((folder / 'stages/teacher.json').read_text())
    return record['result']['curve'][-1]['loss']['ce']


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('decant')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--items', type=int, default=1_000_000)
    parser.add_argument('--users', type=int, default=4_000)
    parser.add_argument('--dim', type=int, default=64)
    parser.add_argument('--sequences', type=int, default=16)
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--meshes', nargs='*', default=[], help='ranks:shards, as 4:2 for two groups of two')
    parser.add_argument('--whole-ranks', type=int, nargs='*', default=[1, 2])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dataset = arguments.out / 'data'
    if not dataset.exists():
        write_log(arguments.out / 'log.txt', arguments.users, arguments.items, 20)
        subprocess.run([arguments.decant, 'import', '--format', 'sequences', '--out', str(dataset),
                        str(arguments.out / 'log.txt')], check=True, stdout=subprocess.DEVNULL)
    info = json.loads((dataset / 'manifest.json').read_text())
    print(f"{info['items']} items, {info['rows']} users, {info['events']} events; {arguments.dim} wide\n")
    print('| table | ranks | MiB, largest rank | MiB, all ranks | s in all | loss |\n| --- | --- | --- | --- | --- | --- |')
    runs = [*(('local', n, 0) for n in arguments.whole_ranks), *(('sharded', n, 0) for n in arguments.ranks),
            *(('sharded', *map(int, mesh.split(':'))) for mesh in arguments.meshes)]
    for kind, ranks, shards in runs:
        name = f'{kind}-{ranks}' + (f'-{shards}' if shards else '')
        folder = arguments.out / name
        subprocess.run(['rm', '-rf', str(folder)], check=True)
        path = arguments.out / f'{name}.yaml'
        path.write_text(json.dumps(job(folder, dataset, arguments, {'kind': kind, 'shards': shards})))
        peaks, seconds = run(arguments.decant, path, ranks)
        groups = f' in {ranks // shards} groups' if shards else ''
        print(f'| {kind} | {ranks}{groups} | {max(peaks):.0f} | {sum(peaks):.0f} | {seconds:.0f} | {loss_of(folder):.7f} |',
              flush=True)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        sys.exit(peak_of_child(sys.argv[2:]))
    main()
