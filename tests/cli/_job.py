"""Whole jobs: small enough for seconds, with several checkpoints and label parts; ranks that die, and what is left."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from _support import Failed, Program, expect

# 15 steps an epoch: 12 of the teacher, 30 each of student and control. Three label parts.
JOB = """version: 1
run: {folder: run, seed: 3, device: cpu, threads: 1}
data: {import: {files: [../log.txt]}}
batch: {sequences: 128}
teacher:
  gate: warn  # twelve steps make no teacher; these tests ask what faults do
  model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10}
  train: {max_steps: 12, checkpoint_steps: 5, patience: 0}
student:
  model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}
  train: {max_epochs: 2, checkpoint_steps: 5, patience: 0}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 8, temperatures: [1, 2]}
monitoring: {enabled: false}
"""
STAGES = ("teacher", "student", "control")

# What may differ between two runs that came to the same: times and rates.
TIMES = {"sequences_per_second", "positions_per_second", "seconds", "estimated_seconds", "data_wait_share"}
BOUND_SECONDS = 10


def make_log(program, users=2100, items=150):
    program.ok("synthesize", "--out", "log.txt", "--users", users, "--items", items)


class Run:
    """A job in a folder of its own below the test's, beside its log."""

    def __init__(self, program, name, ranks, text=JOB):
        self.ranks = ranks
        self.decant = Program(program.binary, program.path(name))
        self.decant.write("job.yaml", text)

    @property
    def folder(self):
        return self.decant.path("run")

    @property
    def launched(self):
        return self.ranks if self.ranks > 1 else 0  # one rank is started alone

    def run(self, *more):
        """The job to its end; the same command as start()."""
        self.decant.ok("run", "job.yaml", *more, ranks=self.launched)
        return self

    def start(self, *more):
        return self.decant.start("run", "job.yaml", *more, ranks=self.launched)

    def start_by(self, launcher, *more, env=None):
        """The same by `plain`, `mpirun` or `srun` with options of theirs; `env`: of srun."""
        program, *options = launcher.split()
        if program != "srun":
            return self.decant.start("run", "job.yaml", *more, ranks=self.launched, flags=options)
        return subprocess.Popen(["srun", *options, "-n", str(self.ranks), "--mpi=pmix", self.decant.binary, "run", "job.yaml", *more],
                                cwd=self.decant.folder, env=env, stdin=subprocess.DEVNULL, text=True, errors="replace",
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def report(self):
        return json.loads((self.folder / "report.json").read_text())

    def logs(self):
        return [(self.folder / "log" / f"rank-{rank}.log").read_text() for rank in range(self.ranks)]


def without_times(tree):
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in TIMES}
    return [without_times(value) for value in tree] if isinstance(tree, list) else tree


def differences(a, b, at=""):
    """The keys at which two trees differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for key in sorted(a.keys() | b.keys()) for d in differences(a.get(key), b.get(key), f"{at}.{key}")]
    return [] if a == b else [f"{at[1:]}: {a!r} against {b!r}"]


def expect_same(run, undisturbed, what):
    """Report but for times, and every file that holds results, to the bit."""
    found = differences(without_times(run.report()), without_times(undisturbed.report()))
    expect(not found, f"{what}: report.json differs: {'; '.join(found)[:2000]}")
    files = [f"{stage}/weights.safetensors" for stage in STAGES]
    files += [str(p.relative_to(undisturbed.folder)) for p in sorted((undisturbed.folder / "labels/teacher").glob("part-*.h5"))]
    for name in files:
        expect((run.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes(), f"{what}: {name} differs")
    for stage in STAGES:
        left = sorted(p.name for p in (run.folder / stage / "checkpoints").iterdir())
        last = max(p.name for p in (undisturbed.folder / stage / "checkpoints").iterdir())
        expect(len(left) == 2 and left[-1] == last and all("." not in name for name in left),
               f"{what}: {stage}/checkpoints holds {left}, the last one should be {last}")


def ranks_of(process, count):
    """Processes of the ranks: the process itself, or mpirun's children."""
    if count < 2:
        return [process.pid]
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and (status := state_of(int(entry.name))) and status[1] == process.pid:
            found.append(int(entry.name))
    return found


def ranks_below(process, binary):
    """Processes of that program among the descendants of a process."""
    name = os.path.basename(binary)[:15]
    parents, names = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and (state := state_of(int(entry.name))):
            parents[int(entry.name)] = state[1]
            try:
                names[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                pass
    def below(pid):
        while pid in parents and pid != process.pid:
            pid = parents[pid]
        return pid == process.pid
    return [pid for pid in parents if pid != process.pid and names.get(pid) == name and below(pid)]


def ranks_in(run):
    """Processes of the program that work in the run's folder, whoever started them, with their states."""
    name, folder, found = os.path.basename(run.decant.binary)[:15], str(run.decant.folder), {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == name and os.readlink(entry / "cwd") == folder:
                if state := state_of(int(entry.name)):
                    found[int(entry.name)] = state[0]
        except OSError:
            pass
    return found


def state_of(pid):
    """State and parent of a process; nothing when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = text.rsplit(")", 1)[1].split()[:2]
    return None if state in "ZX" else (state, int(parent))


class Ended:
    """How a job ended: its code, what it said, and seconds from the first rank's end (or message) to the last's."""

    def __init__(self, code, err, seconds):
        self.code, self.err, self.seconds = code, err, seconds


def drain(pipe):
    """What a pipe holds now."""
    found = b""
    while True:
        try:
            more = os.read(pipe.fileno(), 1 << 16)
        except BlockingIOError:
            return found
        if not more:
            return found
        found += more


def watch(process, ranks, deadline=300):
    """Waits for a job that is going to fail; no rank may outlive it."""
    for pipe in (process.stdout, process.stderr):
        os.set_blocking(pipe.fileno(), False)
    pids, err, first, until = [], b"", None, time.monotonic() + deadline
    while process.poll() is None:
        if time.monotonic() > until:
            for pid in [*pids, process.pid]:
                os.kill(pid, signal.SIGKILL)
            raise Failed(f"the job still ran after {deadline} s:\n{err.decode()[-3000:]}")
        pids = pids if len(pids) == ranks else ranks_of(process, ranks)
        drain(process.stdout)
        err += drain(process.stderr)
        if first is None and (b"decant: [rank" in err or (len(pids) == ranks and not all(map(state_of, pids)))):
            first = time.monotonic()
        time.sleep(0.02)
    seconds = time.monotonic() - first if first else 0.0
    err = (err + drain(process.stderr)).decode(errors="replace")
    process.stdout.close()
    process.stderr.close()
    until = time.monotonic() + 2  # mpirun does not wait for what it has killed; on a busy machine that takes a moment
    while (alive := [pid for pid in pids if state_of(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    expect(not alive, f"processes {alive} outlived the job:\n{err[-3000:]}")
    return Ended(process.returncode, err, seconds)


def own_lines(text):
    return re.findall(r"^decant: \[rank .*$", text, re.MULTILINE)


def flip(path, at=None):
    """Flips a bit of the byte at `at`, in the middle by default."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x10
    path.write_bytes(data)
