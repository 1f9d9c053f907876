"""A rank dies, is stopped, hangs or throws while the others wait for it: they say who is missing and where it stood, and
all ranks end in time, also where the launcher does not end what is left."""
import os
import re
import signal
import time

from _job import BOUND_SECONDS, JOB, drain, make_log, own_lines, ranks_below, state_of
from _support import Failed, Program, expect, have_mpirun, main, skip

TIMEOUT = 4
# Each rank writes its code into a file, which mpirun does not tell; with recovery it does not end the others either.
ALONE = ("--enable-recovery", "sh", "-c", '"$@"; echo $? > code-$OMPI_COMM_WORLD_RANK', "sh")


class Seen:
    """How a job ended. `seconds`: to the last rank's end from the moment when one was stopped or gone, or, where that is
    not to be seen, `from_start`."""

    def __init__(self, process, binary, ranks, bound, from_start):
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        began, first, pids, err = time.monotonic(), None, set(), b""
        while True:
            now = time.monotonic()
            if len(pids) < ranks:
                pids |= set(ranks_below(process, binary))
            alive = [state for pid in pids if (state := state_of(pid))]
            if len(pids) == ranks and not alive:
                break
            if first is None and len(pids) == ranks and (len(alive) < ranks or any(state[0] == "T" for state in alive)):
                first = now
            if now - began > bound + 60 or (process.poll() is not None and len(pids) < ranks):
                for pid in [*pids, process.pid]:
                    if state_of(pid):
                        os.kill(pid, signal.SIGKILL)
                raise Failed(f"still running, or never ran: {(err + drain(process.stderr)).decode()[-3000:]}")
            err += drain(process.stderr)
            drain(process.stdout)
            time.sleep(0.02)
        self.seconds = time.monotonic() - (began if from_start or first is None else first)
        try:
            self.code = process.wait(20)
        except Exception:
            process.kill()
            raise Failed("mpirun outlived all its ranks by 20 s")
        self.err = (err + drain(process.stderr)).decode(errors="replace")
        process.stdout.close()
        process.stderr.close()


def check(decant, ranks, fault, says, codes=None, bound=BOUND_SECONDS, flags=()):
    """`says`: what the one line of decant's own is like; `codes`: of the ranks (with ALONE), or of mpirun."""
    what = f"{fault} of {ranks}{' alone' if flags else ''}"
    here = Program(decant.binary, decant.path(what.replace(" ", "-").replace("@", "-").replace(":", "-")))
    job = here.write("job.yaml", JOB.replace("{folder: run,", f"{{folder: run, timeout_seconds: {TIMEOUT},")
                     .replace("max_steps: 12,", "max_steps: 600,"))  # long enough for some heartbeats before the fault
    process = here.start("train-teacher", job, "--set", "data.dataset=../dataset", "--fault", fault, ranks=ranks, flags=flags)
    seen = Seen(process, decant.binary, ranks, bound, fault.endswith("hang"))
    expect(seen.seconds < bound, f"{what}: took {seen.seconds:.1f} s\n{seen.err}")
    lines = own_lines(seen.err)
    expect(len(lines) == 1, f"{what}: expected one line of decant's own\n{seen.err}")
    expect(re.search(says, lines[0]), f"{what}: '{says}' is not\n{lines[0]}")
    if flags:
        found = [int((here.folder / f"code-{rank}").read_text()) for rank in range(ranks)]
        expect(found == codes, f"{what}: ranks ended with {found}, expected {codes}\n{seen.err}")
    else:
        expect(seen.code == codes, f"{what}: mpirun ended with {seen.code}, expected {codes}\n{seen.err}")
    print(f"{what}: {seen.seconds:.2f} s, {codes}: {lines[0]}", flush=True)
    return here


def log_of(here, rank):
    return (here.folder / "run" / "log" / f"rank-{rank}.log").read_text()


def test(decant):
    if not have_mpirun():
        skip("no mpirun here")
    make_log(decant)
    decant.ok("import", "log.txt", "--out", "dataset")
    late = TIMEOUT + BOUND_SECONDS

    # Killed: within ten seconds. mpirun ends the others, unless it is told to let them be. Where a rank stood is known from
    # its last heartbeat, some of these short steps before; where the others are, to the collective.
    stood = r"[^)]*\) is gone: when last heard of, [0-9.]+ s ago, it was (in|at) .*teacher[^;]* step [0-9]+.*; "
    here = check(decant, 2, "step@400:1:kill", r"rank 0/2 .*\] rank 1 \(" + stood + r"rank 0 is in .*\(teacher step 400\)", 137)
    expect("ended by the watchdog with code 4" in log_of(here, 0) and ", not finished" in log_of(here, 0),
           f"rank 0 logged\n{log_of(here, 0)}")
    check(decant, 3, "collective@401:2:kill", r"rank 0/3 .*\] rank 2 \(" + stood + r"ranks? 0.* in .*\(teacher step 40",
          [4, 4, 137], flags=ALONE)
    check(decant, 3, "step@400:0:kill", r"rank 1/3 .*\] rank 0 \(" + stood + r"rank 1 is in .*\(teacher step 400\)",
          [137, 4, 4], flags=ALONE)

    # Stopped: within the time-out and ten seconds; the stopped rank is told to go on, and ends as the others do.
    stood = stood.replace("is gone", "has stopped answering")
    check(decant, 2, "step@400:1:stop", r"rank 0/2 .*\] rank 1 \(" + stood + r"rank 0 is in .*\(teacher step 400\)", 4, late)
    check(decant, 3, "collective@401:0:stop", r"rank 1/3 .*\] rank 0 \(" + stood + r"rank 1 is in .*\(teacher step 40",
          [4, 4, 4], late, flags=ALONE)

    # Alive, but not coming. The time is counted from the start here.
    check(decant, 2, "step@400:1:hang", r"rank 0/2 .*\] rank 1 \(.*\) does not come to the collective that others wait for: "
          r"it is at teacher step 400, after .*; rank 0 is in .*\(teacher step 400\)", [4, 4], late + 20, flags=ALONE)

    # It tells by itself why it ends.
    check(decant, 2, "collective@401:1:throw", r"\[rank 1/2 .*\] unexpected: planted fault at collective 401", 1)


main(test)
