"""A gradient that is not a number: every rank ends at the same step with code 5, and nothing bad is left behind."""
from _job import BOUND_SECONDS, Run, expect_same, make_log, own_lines, watch
from _support import expect, have_mpirun, main

SAYS = "step 22: the gradient of stage 'control' is not finite"


def check(decant, undisturbed, ranks, rank):
    what = f"NaN on rank {rank} of {ranks}"
    run = Run(decant, f"nan-{rank}-{ranks}", ranks)
    ended = watch(run.start("--fault", f"step@22:{rank}:nan"), ranks)
    expect(ended.code == 5, f"{what}: exit code {ended.code}\n{ended.err}")
    expect(ended.seconds < BOUND_SECONDS, f"{what}: took {ended.seconds:.1f} s to end")
    expect(any(SAYS in line for line in own_lines(ended.err)), f"{what}: '{SAYS}' is not in\n{ended.err}")
    for number, log in enumerate(run.logs()):
        expect("ended with code 5" in log and SAYS in log, f"{what}: rank {number} logged\n{log[-1000:]}")
    expect_same(run.run(), undisturbed, what)


def test(decant):
    make_log(decant)
    for ranks in (1, 2) if have_mpirun() else (1,):
        undisturbed = Run(decant, f"undisturbed-{ranks}", ranks).run()
        for rank in range(ranks):
            check(decant, undisturbed, ranks, rank)
    expect(have_mpirun(), "no mpirun here: two ranks were not tried")


main(test)
