"""A loss that is not a number: every rank ends at the same step with code 5, its rows are named, and nothing bad is left
behind. Or the step is skipped, and counted."""
import json

from _job import BOUND_SECONDS, Run, expect_same, make_log, own_lines, watch
from _support import expect, have_mpirun, main

SAYS = "step 22: the loss 'ce' of stage 'control' is not finite (nan) on rank {}, rows "


def check(decant, undisturbed, ranks, rank):
    what, says = f"NaN on rank {rank} of {ranks}", SAYS.format(rank)
    run = Run(decant, f"nan-{rank}-{ranks}", ranks)
    ended = watch(run.start("--fault", f"step@22:{rank}:nan"), ranks)
    expect(ended.code == 5, f"{what}: exit code {ended.code}\n{ended.err}")
    expect(ended.seconds < BOUND_SECONDS, f"{what}: took {ended.seconds:.1f} s to end")
    expect(any(says in line for line in own_lines(ended.err)), f"{what}: '{says}' is not in\n{ended.err}")
    for number, log in enumerate(run.logs()):
        expect("ended with code 5" in log and says in log, f"{what}: rank {number} logged\n{log[-1000:]}")
    saved = json.loads((run.folder / "control/non_finite/step-22.json").read_text())
    expect(len(saved["ranks"]) == 1 and saved["ranks"][0]["rank"] == rank, f"{what}: saved {saved}")
    rows = saved["ranks"][0]["rows"]
    expect(0 < len(rows) <= 128 and (ranks > 1 or len(rows) == 128) and says + ", ".join(map(str, rows[:5])) in ended.err, f"{what}: rows {rows}")
    expect_same(run.run(), undisturbed, what)


def check_skip(decant, ranks):
    """The fault comes at step 22 of the control and of the student; each of them leaves that step out."""
    run = Run(decant, f"skip-{ranks}", ranks)
    run.run("--set", "student.train.non_finite=skip", "--fault", f"step@22:{ranks - 1}:nan")
    report = run.report()
    for side in ("teacher", "control", "student"):
        train = report[side]["train"]
        expect(train["non_finite_steps"] == (0 if side == "teacher" else 1), f"skip with {ranks}: {side} has {train}")
        expect(all(value == value for entry in train["curve"] for value in entry["loss"].values()),
               f"skip with {ranks}: {side} counts what it left out: {train['curve']}")
    for log in run.logs():
        expect("step 22 is skipped: the loss 'ce' of stage 'student'" in log, f"skip with {ranks}: logged\n{log[-1000:]}")


def test(decant):
    make_log(decant)
    for ranks in (1, 2) if have_mpirun() else (1,):
        undisturbed = Run(decant, f"undisturbed-{ranks}", ranks).run()
        for rank in range(ranks):
            check(decant, undisturbed, ranks, rank)
        check_skip(decant, ranks)
    expect(have_mpirun(), "no mpirun here: two ranks were not tried")


main(test)
