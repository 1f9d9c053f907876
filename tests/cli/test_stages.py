"""Stages of training, frozen parameters and a teacher's table in a whole run; a kill inside a stage."""
import json
import struct

from _job import JOB, Run, expect_same, make_log, watch
from _support import expect, main

STAGES = """
  stages:
    match: {losses: {mse: {weight: 1}}, lr: 0.005, max_epochs: 1}
    distil: {max_epochs: 1, frozen: [position.*], start: last}
    tune: {losses: {ce: {weight: 1}}, lr: 0.0005, max_steps: 6, frozen: [item.*]}
losses:"""
STAGED = JOB.replace("\nlosses:", STAGES, 1)


def tensors(path):
    """Names, shapes and bytes of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {name: (entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]])
            for name, entry in header.items() if name != "__metadata__"}


def test_staged(decant):
    run = Run(decant, "staged", 1, STAGED).run()
    report = run.report()
    for side in ("student", "control"):
        train = report[side]["train"]
        stages = train["stages"]
        expect([s["name"] for s in stages] == ["match", "distil", "tune"], f"{side}: {stages}")
        expect([s["steps"] for s in stages] == [15, 15, 6], f"{side}: steps {stages}")
        expect(train["steps"] == 36, f"{side}: {train['steps']} steps")
        expect([e["stage"] for e in train["curve"]] == ["match", "distil", "tune"], f"{side}: {train['curve']}")
    losses = [sorted(e["loss"]) for e in report["student"]["train"]["curve"]]
    expect(losses == [["mse"], ["ce", "kl_tail"], ["ce"]], f"student: {losses}")
    expect(all(sorted(e["loss"]) == ["ce"] for e in report["control"]["train"]["curve"]), "control: label losses")
    before = tensors(run.folder / "student/stages/distil.safetensors")
    after = tensors(run.folder / "student/weights.safetensors")
    expect(before["item.weight"] == after["item.weight"], "item.weight was frozen in the last stage")
    expect(before["norm.weight"] != after["norm.weight"], "nothing was trained in the last stage")
    first, second = tensors(run.folder / "student/stages/match.safetensors"), before
    expect(first["position.weight"] == second["position.weight"], "position.weight was frozen")
    expect(first["item.weight"] != second["item.weight"], "item.weight was trained")
    return run


def test_killed(decant, undisturbed):
    # The teacher ends at 12. The student's step 13 is in its first stage, 22 in its second, 33 in its third, two steps past a checkpoint or more;
    # 30 is the second's last, where weights are handed over.
    for step, point in ((13, "step"), (22, "step"), (33, "step"), (30, "checkpoint-commit"), (35, "checkpoint-write")):
        run = Run(decant, f"killed-{point}-{step}", 1, STAGED)
        ended = watch(run.start("--fault", f"{point}@{step}:0:kill"), 1)
        expect(ended.code == -9, f"{point} {step}: exit code {ended.code}\n{ended.err}")
        expect_same(run.run(), undisturbed, f"killed at {point} {step}")


def test_ranks(decant, undisturbed):
    report = Run(decant, "staged-2", 2, STAGED).run().report()
    one, two = (r["student"]["train"]["curve"][-1]["loss"]["ce"] for r in (undisturbed.report(), report))
    expect(abs(one - two) < 1e-4 * one, f"two ranks came to {two}, one to {one}")


def test_keys(decant, undisturbed):
    again = undisturbed.decant.run("run", "job.yaml").stderr
    expect(again.count("as before, nothing to do") == 5, f"a second run:\n{again}")
    other = undisturbed.decant.run("run", "job.yaml", "--set", "student.stages.tune.lr=0.001").stderr
    expect(other.count("as before, nothing to do") == 3, f"another rate in a stage redoes both sides:\n{other}")


def test_refusals(decant):
    program = Run(decant, "refused", 1, STAGED).decant
    program.fails(2, "run", "job.yaml", "--set", "student.stages.tune.frozen=[itm.weight]",
                  says=["student.stages.tune.frozen", "did you mean 'item.weight'?"])
    program.fails(2, "run", "job.yaml", "--set", "teacher.train.frozen=['*']", says=["freezes every parameter"])


def test_teacher_table(decant):
    text = JOB.replace("dim: 4, layers: 1, heads: 1, max_length: 10}",
                       "dim: 4, layers: 1, heads: 1, max_length: 10, "
                       "table: {kind: projected, first: teacher, save: SAVE}}").replace(
        "train: {max_epochs: 2,", "train: {frozen: [item.weight], max_epochs: 2,")
    sizes = {}
    for save in ("composed", "parts"):
        run = Run(decant, f"table-{save}", 1, text.replace("SAVE", save)).run()
        found = tensors(run.folder / "student/weights.safetensors")
        student = run.report()["student"]
        sizes[save] = student["parameters_table"]
        expect(student["parameters"] * 4 <= student["bytes"] <= student["parameters"] * 4 + 4096, f"bytes: {student}")
        if save == "composed":
            expect(found["item.weight"][0][1] == 4 and "item.projection" not in found, f"{found.keys()}")
        else:
            teacher = tensors(run.folder / "teacher/weights.safetensors")
            expect(found["item.weight"] == teacher["item.weight"], "the teacher's table was frozen")
            control = tensors(run.folder / "control/weights.safetensors")
            expect(control["item.weight"] != teacher["item.weight"], "the control has the teacher's table")
    expect(sizes["parts"] == sizes["composed"] * 4 + 16 * 4, f"parameters of the tables: {sizes}")


def test(decant):
    make_log(decant)
    undisturbed = test_staged(decant)
    test_killed(decant, undisturbed)
    test_ranks(decant, undisturbed)
    test_keys(decant, undisturbed)
    test_refusals(decant)
    test_teacher_table(decant)


main(test)
