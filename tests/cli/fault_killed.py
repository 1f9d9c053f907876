"""A rank is killed or throws: all ranks end within seconds, and the same command ends as if nothing had happened."""
from _job import BOUND_SECONDS, Run, expect_same, make_log, own_lines, watch
from _support import expect, have_mpirun, main

# Every stage counts its own steps: 7 falls into the teacher, 22 into the control, two steps past a checkpoint each; 30
# is the control's last. Where teacher and control are there already, 22 and 30 fall into the student.
POINTS = [("step", 7), ("step", 22), ("collective", 8), ("checkpoint-write", 10), ("checkpoint-commit", 10),
          ("checkpoint-commit", 30), ("label-part", 1), ("label-write", 1), ("label-commit", 1), ("label-manifest", 0),
          ("report", 0)]
OF_STUDENT = [("step", 22), ("checkpoint-commit", 30)]
LEADERS = {"checkpoint-commit", "label-manifest", "report"}  # what only rank 0 comes to


def check(decant, undisturbed, ranks, point, step, action, done=()):
    rank = 0 if point in LEADERS else ranks - 1
    fault = f"{point}@{step}:{rank}:{action}"
    what = f"{fault} of {ranks}"
    run = Run(decant, f"{point}-{step}-{action}-{ranks}{'-student' if done else ''}", ranks)
    for command in done:
        run.decant.ok(command, "job.yaml", ranks=run.launched)
    ended = watch(run.start("--fault", fault), ranks)
    expect(ended.code != 0, f"{what}: exit code 0\n{ended.err}")
    expect(ended.seconds < BOUND_SECONDS, f"{what}: took {ended.seconds:.1f} s to end\n{ended.err}")
    if action == "throw":
        expect(ended.code == 1, f"{what}: exit code {ended.code}\n{ended.err}")
        lines = own_lines(ended.err)
        expect(len(lines) == 1 and f"[rank {rank}/{ranks} " in lines[0] and f"planted fault at {point} {step}" in lines[0],
               f"{what}: said {lines}\n{ended.err}")
    elif ranks == 1:
        expect(ended.code == -9, f"{what}: exit code {ended.code}")
    expect(not (run.folder / "report.json").exists(), f"{what}: there is a report")
    expect_same(run.run(), undisturbed, what)
    print(f"{what}: ended with {ended.code} after {ended.seconds:.2f} s, and continued", flush=True)


def test(decant):
    make_log(decant)
    for ranks in (1, 2) if have_mpirun() else (1,):
        undisturbed = Run(decant, f"undisturbed-{ranks}", ranks).run()
        expect_same(Run(decant, f"again-{ranks}", ranks).run(), undisturbed, "a second run")
        for point, step in POINTS:
            check(decant, undisturbed, ranks, point, step, "kill")
        for point, step in OF_STUDENT:
            check(decant, undisturbed, ranks, point, step, "kill", done=("import", "train-teacher", "train-control"))
        for point, step in (("step", 22), ("label-part", 1)):
            check(decant, undisturbed, ranks, point, step, "throw")
    expect(have_mpirun(), "no mpirun here: two ranks were not tried")


main(test)
