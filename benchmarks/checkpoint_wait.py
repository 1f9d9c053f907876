"""What a checkpoint costs training: the same steps with and without checkpoints, interleaved, by number of ranks.

    python benchmarks/checkpoint_wait.py ./decant --out runs/wait [--items 300000] [--dim 64] [--ranks 1 2] [--repeats 5]

Trains a teacher whose checkpoint is 3 * 4 * items * dim bytes. Seconds of a checkpoint are the difference of the two runs'
times, over the number of checkpoints; what training says it has waited comes from the ranks' logs. Several programs may
be given, to compare them. Prints markdown. Needs numpy.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from large_catalogue import write_log

ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}


def job(folder, dataset, arguments, every):
    return {
        'version': 1,
        'run': {'folder': str(folder), 'seed': 1, 'threads': 1, 'device': 'cpu'},
        'data': {'dataset': str(dataset)},
        'batch': {'sequences': 32},
        'monitoring': {'enabled': False},
        'teacher': {
            'model': {'type': 'sasrec', 'dim': arguments.dim, 'layers': 1, 'heads': 1, 'max_length': 50},
            'optimizer': {'type': 'adamw', 'lr': 0.001},
            'train': {'max_steps': arguments.steps, 'patience': 0, 'checkpoint_steps': every,
                      'softmax': {'kind': 'sampled', 'negatives': 256}},
        },
    }


def command_of(decant, ranks, *arguments):
    launch = ['mpirun', '-n', str(ranks), '--oversubscribe', '--bind-to', 'none'] if ranks > 1 else []
    return [*launch, decant, *map(str, arguments)]


def run(decant, ranks, out, arguments, dataset, every):
    """Seconds of the whole program, and what its ranks have waited for each checkpoint, ms."""
    folder = out / 'run'
    shutil.rmtree(folder, ignore_errors=True)
    path = out / 'job.json'
    path.write_text(json.dumps(job(folder, dataset, arguments, every)))
    began = time.monotonic()
    subprocess.run(command_of(decant, ranks, 'train-teacher', path), env=os.environ | ENVIRONMENT, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    waits = [float(ms) for log in (folder / 'log').glob('rank-*.log')
             for ms in re.findall(r'training waited ([0-9.]+) ms', log.read_text())]
    return seconds, waits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('decant', nargs='+', type=os.path.abspath)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--items', type=int, default=300_000)
    parser.add_argument('--dim', type=int, default=64)
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--every', type=int, default=10)
    parser.add_argument('--ranks', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    write_log(out / 'log.txt', arguments.items // 50, arguments.items, 20)
    dataset = out / 'dataset'
    if not dataset.exists():
        subprocess.run([arguments.decant[0], 'import', '--out', dataset, out / 'log.txt'], check=True,
                       stdout=subprocess.DEVNULL)
    checkpoints = arguments.steps // arguments.every - 1  # the last step has one in both
    print(f'{checkpoints} checkpoints of {12 * arguments.items * arguments.dim / 2 ** 20:.0f} MiB\n')
    print('| program | ranks | ms a step without | s a checkpoint costs | training waited, ms: median, most |')
    print('| --- | --- | --- | --- | --- |')
    for ranks in arguments.ranks:
        costs, plain, waits = ({decant: [] for decant in arguments.decant} for _ in range(3))
        for _ in range(arguments.repeats):
            for decant in arguments.decant:
                without, _ = run(decant, ranks, out, arguments, dataset, 0)
                seconds, waited = run(decant, ranks, out, arguments, dataset, arguments.every)
                plain[decant].append(without)
                costs[decant].append((seconds - without) / checkpoints)
                waits[decant] += waited
        for decant in arguments.decant:
            waited = f'{statistics.median(waits[decant]):.0f}, {max(waits[decant]):.0f}' if waits[decant] else '-'
            print(f'| {Path(decant).name} | {ranks} | {1e3 * statistics.median(plain[decant]) / arguments.steps:.0f} | '
                  f'{statistics.median(costs[decant]):.3f} ({min(costs[decant]):.3f} to {max(costs[decant]):.3f}) | {waited} |',
                  flush=True)


if __name__ == '__main__':
    main()
