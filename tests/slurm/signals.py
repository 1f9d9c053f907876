"""What launchers do with signals and exit codes, measured: a line of the table in docs/errors.md each. Not part of a pass:

    python3 tests/slurm/signals.py build/release/decant
"""
import os
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from _cluster import Cluster, why_not
from _job import JOB, Run, drain, make_log, ranks_in
from _support import Failed, Program, expect

LONG = JOB.replace("max_steps: 12", "max_steps: 6000").replace("max_epochs: 2", "max_epochs: 100")
LAUNCHERS = ("plain", "mpirun", "srun", "srun --kill-on-bad-exit")
SAVED = "run the same command again to continue"


def to_launcher(number, times=1):
    def act(process, run, slurm):
        for at in range(times):
            time.sleep(0.3 * (at > 0))
            process.send_signal(number)
    return act


def to_one_rank(number):
    return lambda process, run, slurm: os.kill(max(ranks_in(run)), number)


def by_slurm(*command, of):
    def act(process, run, slurm):
        listed = slurm.run("squeue", *(["-s"] if of == "step" else []), "-h", "-o", "%i").split()
        slurm.run(*command, [name for name in listed if name.endswith(".0") or of == "job"][-1])
    return act


EVENTS = {"SIGUSR1 to the launcher": to_launcher(signal.SIGUSR1), "SIGTERM to the launcher": to_launcher(signal.SIGTERM),
          "Ctrl-C once": to_launcher(signal.SIGINT), "Ctrl-C twice": to_launcher(signal.SIGINT, 2),
          "scancel --signal=USR1 JOB.STEP": by_slurm("scancel", "--signal=USR1", of="step"),
          "scancel JOB": by_slurm("scancel", of="job"), "kill -9 of one rank": to_one_rank(signal.SIGKILL),
          "SIGUSR1 to one rank": to_one_rank(signal.SIGUSR1), "SIGTERM to one rank": to_one_rank(signal.SIGTERM)}


def measure(program, launcher, event, slurm):
    run = Run(program, f"{launcher}-{event}".replace(" ", "-").replace("/", "-"), 1 if launcher == "plain" else 2, LONG)
    process = run.start_by(launcher, env=slurm.env)
    for pipe in (process.stdout, process.stderr):
        os.set_blocking(pipe.fileno(), False)
    until = time.monotonic() + 60
    while not (run.folder / "teacher/checkpoints").exists():
        if process.poll() is not None or time.monotonic() > until:
            raise Failed(f"{event} by {launcher}: did not begin: {drain(process.stderr).decode()}")
        time.sleep(0.02)
    time.sleep(0.5)
    EVENTS[event](process, run, slurm)
    patience = 5 if event == "Ctrl-C once" and launcher.startswith("srun") else 45
    began, said, ranks_gone = time.monotonic(), b"", None
    while process.poll() is None or ranks_gone is None:
        drain(process.stdout)
        said += drain(process.stderr)
        now = time.monotonic() - began
        if ranks_gone is None and not ranks_in(run):
            ranks_gone = now
        if now > patience:
            process.kill()
            for pid in ranks_in(run):
                os.kill(pid, signal.SIGKILL)
            return f"nothing within {patience} s"
        time.sleep(0.02)
    said = (said + drain(process.stderr)).decode(errors="replace")
    code = 128 - process.returncode if process.returncode < 0 else process.returncode
    return (f"{'saved, ' if SAVED in said else ''}{code}; ranks gone after {ranks_gone:.1f} s, the launcher after "
            f"{time.monotonic() - began:.1f} s")


def main():
    expect(len(sys.argv) == 2, "usage: signals.py <decant>")
    expect(not why_not(), why_not())
    with tempfile.TemporaryDirectory(prefix="decant_signals_") as folder, Cluster(pathlib.Path(folder) / "slurm", cpus=2) as slurm:
        program = Program(sys.argv[1], folder)
        make_log(program)
        for event in EVENTS:
            for launcher in LAUNCHERS:
                if event.startswith("scancel") and not launcher.startswith("srun"):
                    continue
                print(f"| {event} | {launcher} | {measure(program, launcher, event, slurm)} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
