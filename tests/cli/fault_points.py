"""At each named point a rank is killed, throws or stops: the job ends in time with the documented code and one line, what
is there is whole, and the same command ends as if nothing had happened.

A pass takes the points of the import and of the report, and a choice of the others (fault_killed.py has more of them).
DECANT_FAULTS=all: every point, action and launcher, mpirun --enable-recovery and a Slurm of the test's own among them, with
a line of docs/reliability.md's table for each; a quarter of an hour. DECANT_FAULTS=srun: that launcher's."""
import contextlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "slurm"))
from _cluster import Cluster, why_not
from _job import BOUND_SECONDS, JOB, Run, drain, expect_same, make_log, ranks_in
from _support import Failed, expect, have_mpirun, main

TIMEOUT = 4
POINTS = {"import-share": 0, "import-read": 0, "import-write": 0, "import-commit": 0, "import-record": 0, "step": 7, "collective": 8,
          "checkpoint-write": 10, "checkpoint-commit": 10, "label-part": 1, "label-write": 1, "label-commit": 1,
          "label-manifest": 0, "report": 0, "report-write": 0, "report-commit": 0}
EVERY_RANK = ("import-share", "step", "collective", "label-part", "label-write", "label-commit")  # the others are the leader's
CODES = {"kill": 137, "throw": 1, "stop": 4}
OLD = '{"old": true}\n'

# (launcher, point, action) of a pass.
CHOICE = [*(("mpirun", point, "kill") for point in ("import-share", "import-write", "import-record", "report-write")),
          ("mpirun", "import-write", "throw"), ("mpirun", "import-read", "stop"),
          ("mpirun", "checkpoint-commit", "stop"), ("plain", "import-commit", "kill"), ("plain", "report-write", "throw")]
BY_SLURM = ("import-write", "step", "checkpoint-commit", "label-write", "report-write")


def everything():
    for action in CODES:
        yield from (("mpirun", point, action) for point in POINTS)
    yield from (("mpirun --enable-recovery", point, action) for point in POINTS for action in ("kill", "stop"))
    yield from (("plain", point, action) for point in POINTS if point != "import-share" for action in ("kill", "throw"))
    for launcher in ("srun", "srun --kill-on-bad-exit"):
        yield from ((launcher, point, action) for point in BY_SLURM for action in CODES)


class Seen:
    """How a job ended: its launcher's code, what it said, and the seconds from the first sign of the fault to the end of
    the last rank, and of the launcher."""

    def __init__(self, run, process, bound):
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        began, first, last, most, err = time.monotonic(), None, None, 0, b""
        while process.poll() is None or last is None:
            now, alive = time.monotonic(), ranks_in(run)
            most = max(most, len(alive))
            err += drain(process.stderr)
            drain(process.stdout)
            if first is None and most == run.ranks and (len(alive) < most or "T" in alive.values() or b"decant: [rank" in err):
                first = now
            if most == run.ranks and not alive and last is None:
                last = now
            if now - began > bound + 90 or (process.poll() is not None and most < run.ranks):
                for pid in [*alive, process.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                raise Failed(f"still running, or never ran: {(err + drain(process.stderr)).decode()[-3000:]}")
            time.sleep(0.02)
        self.code = 128 - process.returncode if process.returncode < 0 else process.returncode
        self.ranks = last - (first or last)
        self.launcher = time.monotonic() - (first or last)
        self.err = (err + drain(process.stderr)).decode(errors="replace")
        process.stdout.close()
        process.stderr.close()


def check_what_is_left(run, point, action, what):
    """Whole or absent. A rank that was stopped is told to go on before it ends, and may come to the end of a file."""
    dataset, report = run.folder / "dataset", run.folder / "report.json"
    if point == "import-record" or (action == "stop" and dataset.exists()):
        run.decant.ok("inspect", dataset)
    elif point.startswith("import"):
        expect(not dataset.exists(), f"{what}: there is half a dataset: {sorted(dataset.glob('*'))}")
    if action == "stop" and report.exists():
        expect(report.read_text() == OLD or run.report()["format"] == "decant-report", f"{what}: half a report")
    elif point in ("report-write", "report-commit"):
        expect(report.read_text() == OLD, f"{what}: the report before was changed")
    else:
        expect(not report.exists(), f"{what}: there is a report")


def check_anew(run, undisturbed, point, action, what):
    """The run again, to the end."""
    run.run()
    expect_same(run, undisturbed, what)
    if point.startswith("import"):
        told = re.findall(r"Z import \{", (run.folder / "log/rank-0.log").read_text())
        expect(len(told) in ((1, 2) if action == "stop" else (1,)), f"{what}: imported {len(told)} times to the end")
        for path in sorted((undisturbed.folder / "dataset").iterdir()):
            expect((run.folder / "dataset" / path.name).read_bytes() == path.read_bytes(), f"{what}: {path.name} differs")
    left = [str(path) for path in run.folder.rglob("*") if ".tmp" in path.name or path.name.endswith(".partial")]
    expect(not left, f"{what}: left behind {left}")


def check(decant, undisturbed, launcher, point, action, slurm=None):
    ranks, what = undisturbed.ranks, f"{point}, {action}, {launcher}"
    rank = ranks - 1 if point in EVERY_RANK else 0
    text = JOB.replace("{folder: run,", f"{{folder: run, timeout_seconds: {TIMEOUT},") if action == "stop" else JOB
    run = Run(decant, re.sub("[^a-z]+", "-", what), ranks, text)
    if point in ("report-write", "report-commit"):  # all but the report is there, which is an older one
        shutil.copytree(undisturbed.folder, run.folder)
        (run.folder / "report.json").write_text(OLD)
    bound = BOUND_SECONDS + (TIMEOUT if action == "stop" else 0)
    seen = Seen(run, run.start_by(launcher, "--fault", f"{point}@{POINTS[point]}:{rank}:{action}",
                            env=slurm.env if slurm else None), bound)
    alone = launcher == "mpirun --enable-recovery"
    codes = [0 if alone else CODES[action]]
    if launcher == "srun --kill-on-bad-exit" and action == "stop":
        codes.append(143)  # Slurm's SIGTERM may come to the rank that was stopped before it leaves by itself
    expect(seen.code in codes, f"{what}: exit code {seen.code}\n{seen.err}")
    expect(seen.ranks < bound, f"{what}: took {seen.ranks:.1f} s to end\n{seen.err}")
    lines = [line for line in seen.err.splitlines() if line.startswith("decant: ")]
    if action == "stop" and len(lines) > 1:  # told to go on, it may find that the others have left before it does so itself
        lines = [line for line in lines if f"decant: [rank {rank}/" not in line]
    expect(len(lines) == 1 or (action == "kill" and not lines and not alone), f"{what}: said {lines}\n{seen.err}")
    says = {"throw": f"planted fault at {point} {POINTS[point]}", "kill": "is gone", "stop": "has stopped answering"}[action]
    for line in lines:
        # With one line only, and of a launcher that ends the ranks at once, it may be another's word for the same.
        expect(says in line and (ranks == 1 or f"rank {rank}" in line), f"{what}: '{says}' is not in {line}")
    check_what_is_left(run, point, action, what)
    check_anew(run, undisturbed, point, action, what)
    print(f"| {point} | {action} | {launcher} | {seen.ranks:.1f} | {seen.launcher:.1f} | {seen.code} |", flush=True)
    shutil.rmtree(run.decant.folder)


def test(decant):
    wanted = os.environ.get("DECANT_FAULTS", "")
    make_log(decant)
    alone = Run(decant, "undisturbed-1", 1).run()
    together = Run(decant, "undisturbed-2", 2).run() if have_mpirun() else None
    slurm = contextlib.nullcontext()
    if wanted in ("all", "srun") and not why_not():
        folder = pathlib.Path(tempfile.mkdtemp(prefix="decant_slurm_"))
        slurm = Cluster(folder, cpus=2)
    print("| point | action | launcher | seconds to the last rank's end | to the launcher's | exit code |")
    with slurm as cluster:
        for launcher, point, action in everything() if wanted else CHOICE:
            if wanted not in ("", "all") and not launcher.startswith(wanted):
                continue
            if launcher == "plain":
                check(decant, alone, launcher, point, action)
            elif together and (cluster or not launcher.startswith("srun")):
                check(decant, together, launcher, point, action, cluster)
    expect(together, "no mpirun here: two ranks were not tried")


main(test)
