"""A teacher assistant: trained on the teacher's labels, and the student on its; stages, keys, a kill, ranks."""
import json

from _job import JOB, Run, make_log, watch
from _support import expect, have_mpirun, main

CHAIN = JOB.replace("labels: {k: 8, temperatures: [1, 2]}", """teachers:
  assistant:
    gate: warn
    model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}
    train: {max_epochs: 3, max_steps: 33, checkpoint_steps: 5, patience: 0}
    losses: {ce: {}, kl_tail: {labels: [teacher]}}
labels: {k: 8, temperatures: [1, 2], sets: {assistant: {k: 8, temperatures: [1, 2], teacher: assistant}}}""").replace(
    "kl_tail: {weight: 1, temperature: 2}}", "kl_tail: {weight: 1, temperature: 2, labels: [assistant]}}")
STAGES = ["dataset", "teacher", "control", "labels/teacher", "teachers/assistant", "labels/assistant", "student"]
WEIGHTS = [f"{stage}/weights.safetensors" for stage in ("teacher", "teachers/assistant", "control", "student")]


def same(run, other, what):
    for name in WEIGHTS:
        expect((run.folder / name).read_bytes() == (other.folder / name).read_bytes(), f"{what}: {name} differs")


def skipped(run, *more):
    """Stages that a further run left as they were."""
    said = run.decant.run("run", "job.yaml", *more)
    expect(said.returncode == 0, said.stderr[-2000:])
    return [line.split(":")[0] for line in said.stderr.splitlines() if line.endswith("as before, nothing to do")]


def test_run(decant):
    run = Run(decant, "one", 1, CHAIN)
    plan = run.decant.ok("run", "job.yaml", "--dry-run").split("stages", 1)[1].split()
    expect([word.rstrip(":") for word in plan if word.rstrip(":") in STAGES][:len(STAGES)] == STAGES, f"dry run: {plan}")
    run.run()
    report = run.report()
    assistant = report["teachers"]["assistant"]
    losses = [sorted(entry["loss"]) for entry in assistant["train"]["curve"]]
    expect(losses == [["ce", "kl_tail"]] * 3, f"the assistant's losses: {losses}")
    expect(assistant["train"]["steps"] == 33 and assistant["metrics"]["test"]["ndcg@10"] > 0, f"{assistant['train']}")
    expect(assistant["fidelity"]["valid_kl"] > 0, f"{assistant['fidelity']}")
    expect(sorted(report["labels"]) == ["assistant", "teacher"], f"{report['labels']}")
    for set_name in ("assistant", "teacher"):
        manifest = json.loads((run.folder / f"labels/{set_name}/manifest.json").read_text())
        expect(manifest["teacher"] == set_name, f"{set_name}: labels of {manifest['teacher']}")
    gates = sorted(p.name for p in (run.folder / "stages/gates").iterdir())
    expect(gates == ["assistant.json"] and (run.folder / "stages/gate.json").exists(), f"gates: {gates}")
    return run


def test_keys(decant, run):
    expect(sorted(skipped(run)) == sorted(STAGES), "a second run did not skip all")
    own = skipped(run, "--set", "teachers.assistant.train.max_steps=31")
    expect(sorted(own) == ["control", "dataset", "labels/teacher", "teacher"], f"another assistant: {own}")
    label = skipped(run, "--set", "labels.k=9", "--set", "teachers.assistant.train.max_steps=31")
    expect(sorted(label) == ["control", "dataset", "teacher"], f"other labels of the teacher: {label}")


def test_killed(decant, undisturbed):
    """Teacher and control end at 12 and 30: the kill is in the assistant, past a checkpoint and within an epoch."""
    run = Run(decant, "killed", 1, CHAIN)
    ended = watch(run.start("--fault", "step@32:0:kill"), 1)
    expect(ended.code == -9, f"exit code {ended.code}\n{ended.err}")
    same(run.run(), undisturbed, "killed")


def test_alone(decant, undisturbed):
    """Command by command: train-teacher makes what the assistant learns from."""
    run = Run(decant, "alone", 1, CHAIN)
    for command in ("import", "train-teacher", "train-control", "label", "distill", "evaluate"):
        run.decant.ok(command, "job.yaml")
    same(run, undisturbed, "command by command")


def test_ranks(decant, undisturbed):
    if not have_mpirun():
        return
    two = Run(decant, "two", 2, CHAIN).run().report()
    one = undisturbed.report()
    for a, b in ((one["teachers"]["assistant"], two["teachers"]["assistant"]), (one["student"], two["student"])):
        for name, value in a["train"]["curve"][-1]["loss"].items():
            other = b["train"]["curve"][-1]["loss"][name]
            expect(abs(value - other) < 1e-4 * value, f"{name}: one rank {value}, two {other}")


def test_refusals(decant):
    program = Run(decant, "refused", 1, CHAIN).decant
    program.fails(2, "run", "job.yaml", "--set", "teachers.assistant.losses.kl_tail.labels=[assistant]",
                  says=["in a circle", "assistant from assistant"])


def test(decant):
    make_log(decant)
    undisturbed = test_run(decant)
    test_killed(decant, undisturbed)
    test_alone(decant, undisturbed)
    test_ranks(decant, undisturbed)
    test_keys(decant, undisturbed)
    test_refusals(decant)


main(test)
