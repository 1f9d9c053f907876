"""Signals: the step is finished, everything is saved, the code is 7, and the same command continues to the same end."""
import signal
import time

from _job import BOUND_SECONDS, JOB, Run, expect_same, make_log, watch
from _support import Failed, expect, have_mpirun, main

# Long enough to be met by a signal in the middle.
LONG = JOB.replace("max_steps: 12", "max_steps: 120").replace("max_epochs: 2", "max_epochs: 10")
SAYS = "run the same command again to continue"


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        if process.poll() is not None:
            raise Failed(f"the job ended before {path.name} was there: {process.stderr.read()}")
        expect(time.monotonic() < deadline, f"{path} was not there within 120 s")
        time.sleep(0.01)


def check(decant, undisturbed, ranks, stage, number):
    """Signals once the stage has begun. Under mpirun it is mpirun that gets the signal: it passes SIGUSR1 on, but after
    SIGINT and SIGTERM it waits a second before it tells the ranks (they may be done by then), kills what is left a
    second later, and ends with a code of its own."""
    what = f"{number.name} in {stage} with {ranks}"
    run = Run(decant, f"{number.name}-{stage}-{ranks}", ranks, LONG)
    process = run.start()
    wait_for(run.folder / stage / ("." if stage == "labels" else "checkpoints"), process)
    began = time.monotonic()
    process.send_signal(number)
    ended = watch(process, ranks)
    seconds = time.monotonic() - began
    expect(seconds < BOUND_SECONDS, f"{what}: took {seconds:.1f} s to end\n{ended.err}")
    if ranks == 1 or number == signal.SIGUSR1:
        expect(ended.code == 7, f"{what}: exit code {ended.code}\n{ended.err}")
        expect(SAYS in ended.err, f"{what}: '{SAYS}' is not in\n{ended.err}")
        expect(not (run.folder / "report.json").exists(), f"{what}: there is a report")
    expect(ended.code != 0, f"{what}: exit code 0\n{ended.err}")
    expect_same(run.run(), undisturbed, what)
    print(f"{what}: ended with {ended.code} after {seconds:.2f} s, and continued", flush=True)


def test(decant):
    make_log(decant)
    for ranks in (1, 2) if have_mpirun() else (1,):
        undisturbed = Run(decant, f"undisturbed-{ranks}", ranks, LONG).run()
        for stage, number in (("teacher", signal.SIGINT), ("labels", signal.SIGUSR1), ("student", signal.SIGTERM),
                              ("control", signal.SIGUSR1)):
            check(decant, undisturbed, ranks, stage, number)
    expect(have_mpirun(), "no mpirun here: two ranks were not tried")


main(test)
