"""What monitoring costs: the same training with it and without, interleaved.

    python benchmarks/monitoring_cost.py ./decant --out runs/monitoring [--ranks 2] [--pairs 9] [--seconds 10]

Two trainings: one of usual size, and one whose steps are as short as steps get, where a fixed cost a step weighs most.
`served`: every rank serves its metrics and is scraped every second; `all`: it is pushed every second too, and writes
event files for TensorBoard. Each pair runs all three, in turning order; a ratio is of training's own sequences a second,
without / with, in one pair. Prints markdown: median and spread of the ratios. Needs numpy.
"""
import argparse
import http.server
import itertools
import json
import os
import shutil
import statistics
import subprocess
import threading
import urllib.request
from pathlib import Path

from large_catalogue import write_log

ENVIRONMENT = {'OMP_NUM_THREADS': '1', 'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
TRAININGS = {  # users, items, dim, sequences a step
    'usual': (20_000, 12_000, 64, 128),
    'shortest': (2_000, 200, 8, 16),
}


class Gateway(http.server.BaseHTTPRequestHandler):
    """Takes what is pushed and forgets it."""

    def do_PUT(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *_):
        pass


class Scraper:
    """Fetches every target of a run once a second while it lives."""

    def __init__(self, folder):
        self.targets, self.over, self.scrapes = folder / 'metrics/targets.json', threading.Event(), 0
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.over.wait(1):
            try:
                for target in json.loads(self.targets.read_text())[0]['targets']:
                    with urllib.request.urlopen(f'http://{target}/metrics', timeout=1) as answer:
                        self.scrapes += len(answer.read()) > 0
            except (OSError, ValueError, IndexError):
                pass  # not up yet, or already gone

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def job(folder, dataset, dim, sequences, steps, monitoring):
    return {
        'version': 1,
        'run': {'folder': str(folder), 'seed': 1, 'threads': 1, 'device': 'cpu'},
        'data': {'dataset': str(dataset)},
        'batch': {'sequences': sequences},
        'monitoring': monitoring,
        'student': {'model': {'type': 'sasrec', 'max_length': 20}},
        'teacher': {
            'model': {'type': 'sasrec', 'dim': dim, 'layers': 1, 'heads': 1, 'max_length': 20},
            'train': {'max_steps': steps, 'max_epochs': 1_000_000, 'validate_epochs': 1_000_000, 'patience': 0, 'checkpoint_steps': 0},
        },
    }


def train(arguments, dataset, dim, sequences, steps, monitoring):
    """Training's own sequences a second, and how often it was scraped."""
    folder = arguments.out / 'run'
    shutil.rmtree(folder, ignore_errors=True)
    path = arguments.out / 'job.json'
    path.write_text(json.dumps(job(folder, dataset, dim, sequences, steps, monitoring)))
    launch = ['mpirun', '-n', str(arguments.ranks), '--oversubscribe', '--bind-to', 'none'] if arguments.ranks > 1 else []
    command = [*launch, arguments.decant, 'train-teacher', path]
    with Scraper(folder) as scraper:
        subprocess.run(command, env=os.environ | ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads((folder / 'stages/teacher.json').read_text())['result']['sequences_per_second'], scraper.scrapes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('decant', type=os.path.abspath)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--ranks', type=int, default=2)
    parser.add_argument('--pairs', type=int, default=9)
    parser.add_argument('--seconds', type=float, default=10, help='of one training')
    parser.add_argument('--trainings', nargs='+', default=list(TRAININGS), choices=list(TRAININGS))
    arguments = parser.parse_args()
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        'off': {'enabled': False},
        'served': {'enabled': True},
        'all': {'enabled': True, 'tensorboard': True, 'push_seconds': 1,
                'pushgateway': f'http://127.0.0.1:{server.server_address[1]}'},
    }
    print(f'{arguments.ranks} ranks, {arguments.pairs} pairs of about {arguments.seconds:.0f} s\n')
    print('| training | ms a step | monitoring | scrapes a run | sequences/s | time, of that without: median (least to most) |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name in arguments.trainings:
        users, items, dim, sequences = TRAININGS[name]
        write_log(arguments.out / f'{name}.txt', users, items, 20)
        dataset = arguments.out / f'dataset-{name}'
        if not dataset.exists():
            subprocess.run([arguments.decant, 'import', '--out', dataset, arguments.out / f'{name}.txt'], check=True,
                           stdout=subprocess.DEVNULL)
        rate, _ = train(arguments, dataset, dim, sequences, 20, settings['off'])
        steps = max(30, int(arguments.seconds * rate / sequences))
        rates, scrapes = ({key: [] for key in settings} for _ in range(2))
        for order in itertools.islice(itertools.cycle(itertools.permutations(settings)), arguments.pairs):
            for key in order:
                rate, scraped = train(arguments, dataset, dim, sequences, steps, settings[key])
                rates[key].append(rate)
                scrapes[key].append(scraped)
        for key in settings:
            ratios = [without / with_it for without, with_it in zip(rates['off'], rates[key])]
            spread = '1' if key == 'off' else f'{statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f})'
            print(f'| {name} | {1e3 * sequences / statistics.median(rates["off"]):.2f} | {key} | {statistics.median(scrapes[key]):.0f} | '
                  f'{statistics.median(rates[key]):.0f} | {spread} |', flush=True)


if __name__ == '__main__':
    main()
