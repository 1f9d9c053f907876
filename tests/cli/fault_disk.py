"""A full disk, and one that cannot be written: code 3 and one line that names the file and the reason; what was there before
stays usable, and with room again the same command ends as if nothing had happened. DECANT_FAULTS=all: at more points."""
import json
import os
import shutil
import signal
import time

from _job import BOUND_SECONDS, Run, expect_same, make_log, ranks_of, state_of, watch
from _mounts import fill, private_mounts, read_only, small_disk, unmount, unmount_all
from _support import Failed, expect, have_mpirun, main

FULL, READ_ONLY = "No space left on device", "Read-only file system"
# The rank that stops, so that the disk can be filled or shut meanwhile; what the line names (in the run folder), and what
# must be usable then. Step 9 of the teacher: the next checkpoint is that of step 10, the one before of step 5; what cannot be
# written first may be the weights of step 12, since checkpoints are written in the background.
FILLED = [("import-write@0:0", "dataset.tmp/catalogue.h5", None),
          ("label-part@1:1", "labels/teacher/", "teacher/weights.safetensors"),  # of the one or the other rank
          ("step@9:0", "teacher/", "teacher/checkpoints/step-000000000005"),
          ("report@0:0", "report.json", "student/weights.safetensors")]
FILLED_TOO = [("import-read@0:0", "dataset.tmp/part-00000.h5", None),
              ("checkpoint-write@10:0", "teacher/", "teacher/checkpoints/step-000000000005")]
SHUT = [("step@9:0", "teacher", "teacher/", "teacher/checkpoints/step-000000000005"),
        ("label-part@1:1", "labels", "labels/teacher/", "teacher/weights.safetensors")]


def stopped(process, ranks):
    """The rank that a planted fault has stopped."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for pid in ranks_of(process, ranks):
            if (state := state_of(pid)) and state[0] == "T":
                return pid
        if process.poll() is not None:
            raise Failed(f"the job ended: {process.stderr.read()}")
        time.sleep(0.01)
    raise Failed("no rank stopped within 60 s")


def fail_at(run, point, disturb, names, reason):
    """Disturbs the job at a point, which ends it."""
    point, rank = point.split(":")
    process = run.start("--fault", f"{point}:{min(int(rank), run.ranks - 1)}:stop")
    pid = stopped(process, run.ranks)
    disturb()
    began = time.monotonic()
    os.kill(pid, signal.SIGCONT)
    ended = watch(process, run.ranks)
    seconds = time.monotonic() - began
    what = f"{reason} at {point} with {run.ranks}"
    expect(ended.code == 3, f"{what}: exit code {ended.code}\n{ended.err}")
    expect(seconds < BOUND_SECONDS, f"{what}: took {seconds:.1f} s to end\n{ended.err}")
    lines = [line for line in ended.err.splitlines() if line.startswith("decant: ")]
    expect(len(lines) == 1 and f"run/{names}" in lines[0] and reason in lines[0], f"{what}: '{names}', '{reason}' not in {lines}\n{ended.err}")
    print(f"{what}: code 3 after {seconds:.1f} s: {lines[0]}", flush=True)


def make(decant, name, ranks):
    """A run whose folder is a disk of its own."""
    point = name.partition("@")[0]
    run = Run(decant, f"{point}-{ranks}", ranks)
    small_disk(run.folder, 24)
    return run


def finish(run, undisturbed, what):
    run.run()
    expect_same(run, undisturbed, what)
    unmount(run.folder)


def full(decant, undisturbed, point, names, usable):
    run = make(decant, point, undisturbed.ranks)
    ballast = []
    fail_at(run, point, lambda: ballast.append(fill(run.folder)), names, FULL)
    if usable:
        run.decant.ok("inspect", run.folder / usable)
    expect(not (run.folder / "report.json").exists(), f"{point}: there is a report")
    line = run.decant.fails(3, "run", "job.yaml", says=["run/"], ranks=run.launched)  # it is no better now
    expect(FULL in line or "MiB are free" in line, f"{point}: said {line}")  # labels ask beforehand
    print(f"and again: {line}", flush=True)
    ballast[0].unlink()
    finish(run, undisturbed, f"full disk at {point}")


def shut(decant, undisturbed, point, folder, names, usable):
    run = make(decant, f"read-only-{point}", undisturbed.ranks)
    fail_at(run, point, lambda: read_only(run.folder / folder), names, READ_ONLY)
    run.decant.ok("inspect", run.folder / usable)
    unmount(run.folder / folder)
    finish(run, undisturbed, f"read-only at {point}")


def shut_from_the_start(decant, undisturbed):
    """A run folder that cannot be written; reading what is in it needs no writing."""
    run = Run(decant, f"start-{undisturbed.ranks}", undisturbed.ranks)
    shutil.copytree(undisturbed.folder, run.folder)
    read_only(run.folder)
    began = time.monotonic()
    line = run.decant.fails(3, "run", "job.yaml", says=["run/lock", READ_ONLY], ranks=run.launched)
    print(f"read-only from the start with {run.ranks}: code 3 after {time.monotonic() - began:.1f} s: {line}", flush=True)
    found = json.loads(run.decant.ok("inspect", "run", "--json"))
    expect(found["report"] and found["dataset"]["verified"], found)
    unmount(run.folder)
    finish_as_before = run.run()
    expect_same(finish_as_before, undisturbed, "read-only from the start")


def test(decant):
    try:
        check_all(decant)
    finally:
        unmount_all()


def check_all(decant):
    make_log(decant)
    for ranks in (1, 2) if have_mpirun() else (1,):
        undisturbed = Run(decant, f"undisturbed-{ranks}", ranks).run()
        everything = os.environ.get("DECANT_FAULTS") == "all"
        for point, names, usable in [*FILLED, *(FILLED_TOO if everything else [])]:
            if ranks == 2 or everything or point.startswith("step"):
                full(decant, undisturbed, point, names, usable)
        for point, folder, names, usable in SHUT:
            if ranks == 2 or everything:
                shut(decant, undisturbed, point, folder, names, usable)
        shut_from_the_start(decant, undisturbed)
    expect(have_mpirun(), "no mpirun here: two ranks were not tried")


private_mounts()
main(test)
