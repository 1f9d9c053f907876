"""What would give a wrong result is refused: before anything is written where the job alone tells, else by the stage."""
from _support import TINY_JOB, expect, main, tiny_job


def test(decant):
    job = tiny_job(decant)
    early = [
        (["student.train.select=ndgc@10"], ["--set student.train.select=ndgc@10", "did you mean 'ndcg@10'?"]),
        (["teacher.model.heads=3"], ["teacher.model", "heads"]),
        (["student.optimizer={type: sgd, nesterov: true}"], ["student.optimizer", "momentum"]),
    ]
    for settings, says in early:
        flags = [word for setting in settings for word in ("--set", setting)]
        decant.fails(2, "run", job, *flags, says=says)
        decant.fails(2, "run", job, "--dry-run", *flags, says=says)
    expect(not decant.path("run").exists(), "a wrong job left something behind")

    decant.ok("run", job)
    # Another teacher, other labels: the student is not trained on what the store still holds of the old ones.
    decant.ok("train-teacher", job, "--set", "teacher.train.max_epochs=2")
    decant.fails(3, "distill", job, "--set", "teacher.train.max_epochs=2", says=["run/labels", "decant label"])
    decant.fails(3, "distill", job, "--set", "teacher.train.max_epochs=2", "--set", "labels.k=5", says=["decant label"])
    decant.ok("label", job, "--set", "teacher.train.max_epochs=2")
    decant.ok("distill", job, "--set", "teacher.train.max_epochs=2")

    # A file of weights says of what network it is: shapes alone do not tell the number of heads.
    decant.path("run/teacher/weights.safetensors").rename(decant.path("one_head.safetensors"))
    other = decant.write("other.yaml", TINY_JOB.replace("folder: run", "folder: other"))
    decant.ok("import", other)
    decant.fails(6, "train-teacher", other, "--set", "teacher.weights=one_head.safetensors", "--set",
                 "teacher.model.heads=2", says=["heads 1", "this job has 2"])
    decant.ok("run", other, "--set", "teacher.weights=one_head.safetensors")

    # Labels only where a loss asks for them.
    plain = decant.write("plain.yaml", TINY_JOB.replace("folder: run", "folder: plain").replace(
        ", kl_tail: {weight: 1, temperature: 2}", ""))
    decant.ok("run", plain)
    expect(not decant.path("plain/labels").exists(), "labels were made that no loss asks for")


main(test)
