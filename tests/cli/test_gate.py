"""The teacher gate: a poor teacher gets no labels, by itself or in a run; an option goes on; a good one passes."""
import json

from _support import expect, have_mpirun, main

# Tastes without successors: what follows an item says little, and a model that sees the whole history wins.
JOB = """version: 1
run: {folder: run, device: cpu, threads: 1}
data: {import: {files: [log.txt]}}
batch: {sequences: 64}
teacher:
  model: {type: sasrec, dim: 32, layers: 1, heads: 1, max_length: 20, dropout: 0.2}
  optimizer: {lr: 0.01}
  train: {max_epochs: 12, patience: 0}
student:
  model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 20}
  optimizer: {lr: 0.03}
  train: {max_epochs: 5, patience: 0}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 10}
monitoring: {enabled: false}
"""


def test(decant):
    decant.ok("synthesize", "--out", "log.txt", "--users", 800, "--items", 100, "--categories", 10,
              "--transitions", 0, "--mean-length", 20, "--zipf", 0.2)
    job = decant.write("job.yaml", JOB)
    poor = ("--set", "teacher.train.max_steps=1", "--set", "teacher.optimizer.lr=1e-6", "--set", "run.folder=poor")

    result = decant.run("run", job, *poor)
    expect(result.returncode == 8, f"a poor teacher: exit code {result.returncode}\n{result.stderr[-2000:]}")
    said = [line for line in result.stderr.splitlines() if line.startswith("decant: ")]
    expect(len(said) == 1 and "the teacher is below popularity" in said[0] and "control" in said[0]
           and "teacher.gate: warn" in said[0], f"said: {said}")
    expect(decant.path("poor/control/weights.safetensors").exists(), "no control was trained before the gate")
    expect(not decant.path("poor/labels").exists(), "labels of a teacher that the gate refused")
    result = decant.run("label", job, *poor)
    expect(result.returncode == 8, f"label alone: exit code {result.returncode}\n{result.stderr[-2000:]}")
    decant.fails(3, "distill", job, *poor, says=["poor/labels", "decant label"])  # before hours go into a control
    if have_mpirun():
        result = decant.run("label", job, *poor, ranks=2)
        expect(result.returncode == 8, f"two ranks: exit code {result.returncode}\n{result.stderr[-2000:]}")

    # Without the control, which is not there yet, the baselines shut it all the same.
    alone = (*poor, "--set", "run.folder=alone")
    decant.ok("import", job, *alone)
    decant.ok("train-teacher", job, *alone)
    result = decant.run("label", job, *alone)
    expect(result.returncode == 8 and "control" not in result.stderr, f"label without control:\n{result.stderr[-2000:]}")

    decant.ok("run", job, *poor, "--set", "teacher.gate=warn")
    report = json.loads(decant.path("poor/report.json").read_text())
    gate = json.loads(decant.path("poor/stages/gate.json").read_text())["result"]
    for side in ("teacher", "control", "popularity", "transitions"):
        value = report[side]["metrics"]["valid"]["ndcg@10"]
        expect(gate[side] == value, f"{side}: the gate measured {gate[side]}, the report says {value}")
    expect(any("the teacher is below popularity" in remark for remark in report["remarks"]), f"{report['remarks']}")

    decant.ok("run", job)  # a teacher that has learnt something
    gate = json.loads(decant.path("run/stages/gate.json").read_text())["result"]
    expect(gate["teacher"] > max(gate["control"], gate["popularity"], gate["transitions"]), f"gate: {gate}")


main(test)
