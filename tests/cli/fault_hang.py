"""A rank dies, is stopped, hangs or throws while the others wait for it: they say who is missing and where it stood, and
all ranks end in time, also where the launcher does not end what is left."""
import os
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


# Long enough for heartbeats to have told of every rank before one of them goes.
LONG = ("--set", "teacher.train.max_steps=3000", "--set", "teacher.train.checkpoint_steps=0")


def check(decant, ranks, fault, says, codes=None, bound=BOUND_SECONDS, flags=()):
    """`says`: in the one line of decant's own; `codes`: of the ranks (with ALONE), or of mpirun."""
    what = f"{fault} of {ranks}{' alone' if flags else ''}"
    here = Program(decant.binary, decant.path(what.replace(" ", "-").replace("@", "-").replace(":", "-")))
    job = here.write("job.yaml", JOB.replace("{folder: run,", f"{{folder: run, timeout_seconds: {TIMEOUT},"))
    process = here.start("train-teacher", job, "--set", "data.dataset=../dataset", *LONG, "--fault", fault, ranks=ranks, flags=flags)
    seen = Seen(process, decant.binary, ranks, bound, fault.endswith("hang"))
    expect(seen.seconds < bound, f"{what}: took {seen.seconds:.1f} s\n{seen.err}")
    lines = own_lines(seen.err)
    # Without rank 0 nobody sees to it that one alone speaks: another's time-out may come at the same moment.
    most = ranks - 1 if ":0:" in fault else 1
    expect(0 < len(lines) <= most, f"{what}: expected one line of decant's own\n{seen.err}")
    lines.sort(key=lambda line: not all(text in line for text in says))
    for text in says:
        expect(text in lines[0], f"{what}: '{text}' is not in\n{lines[0]}")
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
    # its last heartbeat, a few of these short steps before; where the others are, to the collective.
    here = check(decant, 2, "step@150:1:kill", ["[rank 0/2 ", "rank 1 (", "is gone", "; rank 0 is in ", "(teacher step 150)"], 137)
    expect("ended by the watchdog with code 4" in log_of(here, 0) and ", not finished" in log_of(here, 0),
           f"rank 0 logged\n{log_of(here, 0)}")
    check(decant, 3, "collective@151:2:kill", ["[rank 0/3 ", "rank 2 (", "is gone", "(teacher step "],
          [4, 4, 137], flags=ALONE)
    check(decant, 3, "step@150:0:kill", ["[rank 1/3 ", "rank 0 (", "is gone", "; rank 1 is in ", "(teacher step 150)"],
          [137, 4, 4], flags=ALONE)

    # Stopped: within the time-out and ten seconds; the stopped rank is told to go on, and ends as the others do.
    check(decant, 2, "step@150:1:stop", ["rank 1 (", "has stopped answering", "; rank 0 is in ", "(teacher step 150)"], 4, late)
    check(decant, 3, "collective@151:0:stop", ["[rank 1/3 ", "rank 0 (", "has stopped answering", "(teacher step "],
          [4, 4, 4], late, flags=ALONE)

    # Alive, but not coming. The time is counted from the start here.
    check(decant, 2, "step@150:1:hang", ["rank 1 (", "does not come to the collective that others wait for: it is at teacher "
                                       "step 150", "rank 0 is in "], [4, 4], late + 20, flags=ALONE)

    # It tells by itself why it ends.
    check(decant, 2, "collective@151:1:throw", ["[rank 1/2 ", "planted fault at collective 151"], 1)


main(test)
