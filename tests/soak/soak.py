"""One job is killed a hundred times, and run again each time until it is done: it must come to the bits of a job that
nobody disturbed, with every row of the dataset once an epoch. Not part of a pass; takes about a quarter of an hour:

    cmake --build build/release --target soak
    nice python3 tests/soak/soak.py build/release/tests/soak

Kills are `kill -9` of one rank or of all ranks at a random moment; SIGUSR1 and SIGTERM to mpirun are sent on the way. The
last line tells how it went; the exit code is 0 when nothing was lost.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from _job import BOUND_SECONDS, STAGES, Run, differences, drain, make_log, ranks_of, state_of, without_times
from _support import Failed, Program, expect

JOB = """version: 1
run: {folder: run, seed: 3, device: cpu, threads: 1}
data: {import: {files: [../log.txt]}}
batch: {sequences: 128}
teacher:
  gate: warn  # it is the job's end that is asked for, not the teacher's worth
  model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10, dropout: 0.1}
  losses: {ce: {weight: 1}, rows: {folder: rows/teacher}}
  train: {max_epochs: EPOCHS, checkpoint_steps: 50, patience: 0}
student:
  model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}
  train: {max_epochs: EPOCHS, checkpoint_steps: 50, patience: 0}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}, labelled_rows: {folder: rows/student}}
labels: {k: 50, temperatures: [1, 2]}
monitoring: {enabled: false}
"""
# What happens, and how often: `kill -9` of one rank and of all; signals to mpirun.
EVENTS = {"one rank": 70, "all ranks": 14, "SIGUSR1": 8, "SIGTERM": 8}
KILLS = ("one rank", "all ranks")
START_SECONDS = 1.2  # until a job that was there before trains on


def newest_steps(run):
    """The newest whole checkpoint of every stage."""
    found = {}
    for stage in STAGES:
        steps = [int(path.name[5:]) for path in (run.folder / stage / "checkpoints").glob("step-*") if path.name[5:].isdigit()]
        found[stage] = max(steps, default=-1)
    return found


class Quiet:
    """Keeps a job's pipes empty and what it said."""

    def __init__(self, process):
        self.process, self.said = process, b""
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)

    def listen(self):
        drain(self.process.stdout)
        self.said = (self.said + drain(self.process.stderr))[-20000:]

    def wait(self, seconds, until=lambda: False):
        """False when neither the job has ended nor `until` holds after so many seconds."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and not until():
            if time.monotonic() > end:
                return False
            self.listen()
            time.sleep(0.01)
        self.listen()
        return True


def strike(event, process, ranks, chance):
    """Does it; returns the processes that must be gone soon."""
    pids = ranks_of(process, ranks)
    if event == "one rank":
        os.kill(chance.choice(pids), signal.SIGKILL)
    elif event == "all ranks":
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    else:
        process.send_signal(signal.Signals[event])
    return pids


def disturb(run, event, delay, chance):
    """Starts the job, lets it run for `delay` seconds, strikes. Returns None when it was done before that, else
    (seconds to the end, exit code)."""
    process = run.start()
    quiet = Quiet(process)
    quiet.wait(30, lambda: len(ranks_of(process, run.ranks)) == run.ranks)
    quiet.wait(delay)
    if process.poll() is None:
        began = time.monotonic()
        try:
            pids = strike(event, process, run.ranks, chance)
        except (ProcessLookupError, IndexError):
            pids = []  # it is leaving just now
        ended = quiet.wait(BOUND_SECONDS + 20, lambda: False)
        left = [pid for pid in pids if state_of(pid)]
        while left and time.monotonic() < began + BOUND_SECONDS:
            time.sleep(0.01)
            left = [pid for pid in pids if state_of(pid)]
        seconds = time.monotonic() - began
        expect(ended and not left, f"after {event}: still running after {seconds:.1f} s\n{quiet.said.decode()[-3000:]}")
        expect(seconds < BOUND_SECONDS, f"after {event}: took {seconds:.1f} s to end\n{quiet.said.decode()[-3000:]}")
        if process.returncode != 0:
            return seconds, process.returncode
    expect(process.returncode == 0, f"ended by itself with {process.returncode}\n{quiet.said.decode()[-3000:]}")
    return None


def steps_of(run, side):
    """step -> the rows of the whole step, and how many steps were done more than once. A step that is done again must be
    the same step on every rank."""
    steps, again = collections.defaultdict(dict), 0
    for rank in range(run.ranks):
        for line in (run.decant.folder / "rows" / side / f"rank-{rank}.txt").read_text().splitlines():
            step, *rows = map(int, line.split())
            known = steps[step].setdefault(rank, rows)
            expect(known == rows, f"{side}, step {step} on rank {rank}: rows {known[:9]}..., then {rows[:9]}...")
            again += known is not rows
    return {step: [row for rows in steps[step].values() for row in rows] for step in steps}, again


def check_rows(run, wanted, epochs):
    """Each row of the dataset that has a target, once an epoch, in teacher and student."""
    repeated = 0
    for side in ("teacher", "student"):
        steps, again = steps_of(run, side)
        expect(sorted(steps) == list(range(len(steps))) and len(steps) % epochs == 0, f"{side}: has steps {sorted(steps)[:9]}...")
        length = len(steps) // epochs
        for epoch in range(epochs):
            rows = [row for step in range(epoch * length, (epoch + 1) * length) for row in steps[step]]
            expect(len(rows) == len(set(rows)) == wanted, f"{side}, epoch {epoch}: {len(rows)} rows, {len(set(rows))} different, of {wanted}")
        repeated += again
    return repeated


def compare(run, undisturbed):
    found = differences(without_times(run.report()), without_times(undisturbed.report()))
    expect(not found, f"report.json differs: {'; '.join(found)[:2000]}")
    names = [str(path.relative_to(undisturbed.folder)) for pattern in ("*/weights.safetensors", "*/ranks.h5", "dataset/*", "labels/*/*")
             for path in sorted(undisturbed.folder.glob(pattern))]
    for name in names:
        expect((run.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes(), f"{name} differs")
    left = [str(path) for path in run.folder.rglob("*") if ".tmp" in path.name or ".partial" in path.name]
    expect(not left, f"left behind: {left}")
    return len(names)


def to_the_end(run):
    run.decant.ok("run", "job.yaml", ranks=run.launched, timeout=7200)
    return run


def run_undisturbed(program, ranks, text):
    """The run and its seconds; one that is there from an earlier soak in the folder is taken."""
    run, took = Run(program, "undisturbed", ranks, text), program.path("undisturbed-seconds")
    if not took.exists():
        make_log(program, users=20000, items=300)
        began = time.monotonic()
        to_the_end(run)
        took.write_text(f"{time.monotonic() - began:.0f}")
    print(f"undisturbed: {took.read_text()} s", flush=True)
    return run, float(took.read_text())


class Moments:
    """When to strike, in seconds after a start: at random, so that the job is nearly done by the last one, whatever else
    the machine has to do meanwhile."""

    def __init__(self, undisturbed, alone, kills, chance):
        self.steps = sum(undisturbed.report()[stage]["train"]["steps"] for stage in STAGES)
        self.count = kills * sum(EVENTS.values()) / sum(EVENTS[kind] for kind in KILLS)
        self.mean = alone / self.count + START_SECONDS
        self.chance = chance

    def next(self, number, steps):
        done = sum(max(step, 0) for step in steps.values()) / self.steps
        ahead = done > 0.9 * number / self.count + 0.01
        return self.chance.uniform(0, 1.2 * START_SECONDS if ahead else 2 * self.mean)


def soak(program, kills, epochs, ranks, seed):
    chance = random.Random(seed)
    text = JOB.replace("EPOCHS", str(epochs))
    undisturbed, alone = run_undisturbed(program, ranks, text)
    described = json.loads(undisturbed.decant.ok("inspect", undisturbed.folder / "dataset", "--json"))
    wanted = described["rows"] - described["rows_without_training_target"]
    check_rows(undisturbed, wanted, epochs)

    shutil.rmtree(program.path("killed"), ignore_errors=True)
    run, counts, codes, slowest = Run(program, "killed", ranks, text), collections.Counter(), collections.Counter(), 0.0
    moments = Moments(undisturbed, alone, kills, chance)
    began, steps = time.monotonic(), newest_steps(run)
    while sum(counts[kind] for kind in KILLS) < kills:
        event = chance.choices(list(EVENTS), EVENTS.values())[0]
        ended = disturb(run, event, moments.next(sum(counts.values()), steps), chance)
        expect(ended, f"the job was done after {sum(counts.values())} of its disturbances; give it more --epochs")
        counts[event] += 1
        codes[f"{event} {ended[1]}"] += 1
        slowest = max(slowest, ended[0])
        now = newest_steps(run)
        expect(all(now[stage] >= steps[stage] for stage in STAGES), f"after {event}: checkpoints went from {steps} to {now}")
        steps = now
        print(f"{sum(counts.values())}: {event}, code {ended[1]} after {ended[0]:.2f} s; checkpoints {steps}", flush=True)
    to_the_end(run)
    seconds = time.monotonic() - began
    repeated = check_rows(run, wanted, epochs)
    files = compare(run, undisturbed)
    print("codes:", ", ".join(f"{name}: {count}" for name, count in sorted(codes.items())))
    print(f"soak passed: {counts['one rank']} kills of one rank of {ranks}, {counts['all ranks']} of all, {counts['SIGUSR1']} "
          f"SIGUSR1, {counts['SIGTERM']} SIGTERM, in {seconds:.0f} s ({alone:.0f} s undisturbed); ended within {slowest:.1f} s; "
          f"{repeated} micro-batches trained again; {files} files and the report are the same, {wanted} rows once in each of "
          f"{epochs} epochs of teacher and student")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="build/<preset>/tests/soak")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=120, help="of teacher, control and student each")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of what is done to the job, and when")
    parser.add_argument("--folder", help="kept, and its undisturbed run is taken again; a temporary one otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="decant_soak_") as temporary:
        folder = pathlib.Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            soak(Program(options.program, folder), options.kills, options.epochs, options.ranks, options.seed)
        except Failed as failure:
            sys.exit(f"soak FAILED: {failure}")


if __name__ == "__main__":
    main()
