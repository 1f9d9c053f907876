"""What monitoring costs: the same training with it and without, interleaved.

    python benchmarks/monitoring_cost.py ./decant --out runs/monitoring [--ranks 1] [--pairs 12] [--seconds 10]

Two trainings: one of usual size, and one whose steps are as short as steps get, where a fixed cost a step weighs most.
`served`: every rank serves its metrics and is scraped every second; `all`: it is pushed every second too, and writes
event files for TensorBoard. All three run in turn, in changing order; a ratio is with / without, of neighbours in time: of
training's own time a sequence, and of the processor time of the whole program, which feels less of what else a machine does
(with several ranks it counts their waiting for each other too). Prints markdown: median and spread of the ratios. Needs numpy.
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
    """Training's own seconds a sequence, processor seconds of the program, and how often it was scraped."""
    folder = arguments.out / 'run'
    shutil.rmtree(folder, ignore_errors=True)
    path = arguments.out / 'job.json'
    path.write_text(json.dumps(job(folder, dataset, dim, sequences, steps, monitoring)))
    launch = ['mpirun', '-n', str(arguments.ranks), '--oversubscribe', '--bind-to', 'none'] if arguments.ranks > 1 else []
    command = [*launch, arguments.decant, 'train-teacher', path]
    with Scraper(folder) as scraper:
        process = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f'{command} ended with {process.returncode}')
    rate = json.loads((folder / 'stages/teacher.json').read_text())['result']['sequences_per_second']
    return 1 / rate, used.ru_utime + used.ru_stime, scraper.scrapes


def ratios(found, key, measure):
    """Median and spread of with / without, neighbours in time."""
    each = [on[measure] / off[measure] for off, on in zip(found['off'], found[key])]
    return f'{statistics.median(each):.4f} ({min(each):.4f} to {max(each):.4f})'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('decant', type=os.path.abspath)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--ranks', type=int, default=1)
    parser.add_argument('--pairs', type=int, default=12)
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
    print(f'{arguments.ranks} ranks, {arguments.pairs} times each, of about {arguments.seconds:.0f} s; median (least to most)\n')
    print('| training | ms a step | monitoring | scrapes a run | time, with / without | processor time, with / without |')
    print('| --- | --- | --- | --- | --- | --- |')
    for name in arguments.trainings:
        users, items, dim, sequences = TRAININGS[name]
        write_log(arguments.out / f'{name}.txt', users, items, 20)
        dataset = arguments.out / f'dataset-{name}'
        if not dataset.exists():
            subprocess.run([arguments.decant, 'import', '--out', dataset, arguments.out / f'{name}.txt'], check=True,
                           stdout=subprocess.DEVNULL)
        own, _, _ = train(arguments, dataset, dim, sequences, 20, settings['off'])
        steps = max(30, int(arguments.seconds / own / sequences))
        found = {key: [] for key in settings}
        for order in itertools.islice(itertools.cycle(itertools.permutations(settings)), arguments.pairs):
            for key in order:
                found[key].append(train(arguments, dataset, dim, sequences, steps, settings[key]))
        own = statistics.median(seconds for seconds, _, _ in found['off'])
        for key in ('served', 'all'):
            scrapes = statistics.median(scraped for _, _, scraped in found[key])
            print(f'| {name} | {1e3 * sequences * own:.2f} | {key} | {scrapes:.0f} | {ratios(found, key, 0)} | {ratios(found, key, 1)} |',
                  flush=True)


if __name__ == '__main__':
    main()
