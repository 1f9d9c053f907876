"""decant sweep: killed and run again it keeps what is done; what keys allow is shared; decant compare over seeds."""
import json
import os
import signal
import time

from _support import Failed, expect, have_mpirun, main

JOB = """version: 1
run: {folder: run, device: cpu, threads: 1, seed: 5}
data: {import: {files: [log.txt]}}
batch: {sequences: 64}
teacher:
  gate: warn
  model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}
  train: {max_epochs: 2, patience: 0}
student:
  model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}
  optimizer: {lr: 0.01}
  train: {max_epochs: 2, patience: 0}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 10}
monitoring: {enabled: false}
evaluate: {segments: {kind: {file: kinds.tsv}}, print_segments: true}
sweep:
  seeds: 2
  keys:
    student.optimizer.lr: {numbers: [0.003, 0.03]}
    losses.kl_tail.weight: {numbers: [0.5, 2]}
"""


# Two teachers, and sets that differ by setting in one of them only.
SETS = JOB.replace("student:\n", """teachers:
  second: {gate: warn, model: {type: sasrec, dim: 6, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1, patience: 0}}
student:
""").replace("labels: {k: 10}", "labels: {k: 10, sets: {second: {teacher: second, k: 5}, list: {kind: candidates, negatives: 9}}}")
SETS = SETS.replace("kl_tail: {weight: 1, temperature: 2}", "kl_tail: {weight: 1, temperature: 2, labels: [teacher, second]}")
SETS = SETS[:SETS.index("sweep:")] + """sweep:
  seeds: 2
  finalists: 0
  keys:
    labels.sets.second.k: {numbers: [5, 8]}
    losses.kl_tail.weight: {numbers: [0.5, 2]}
"""


def sets_are_shared(decant):
    job = decant.write("sets.yaml", SETS)
    decant.ok("sweep", job, "--set", "run.folder=sets")
    names = [p.name.rsplit("-", 1)[0] for p in decant.path("sets/pool").iterdir() if p.name != "stages"]
    counts = {name: names.count(name) for name in set(names)}
    expect(counts == {"teacher": 1, "teachers_second": 1, "labels_teacher": 1, "labels_second": 2, "labels_list": 1,
                      "control": 2, "student": 8}, f"pool: {counts}")
    # A link of a trial leads to the set of its own options.
    for folder in decant.path("sets/trials").iterdir():
        k = 8 if int(folder.name[:3]) >= 2 else 5
        spec = json.loads((folder / "labels/second/manifest.json").read_text())
        expect(spec["options"]["k"] == k, f"{folder.name}: k {spec['options']['k']}, expected {k}")


def weights(decant, run):
    pool = decant.path(run) / "pool"
    return {p.name: (p / "weights.safetensors").read_bytes() for p in sorted(pool.glob("*-*")) if p.name != "stages"
            and (p / "weights.safetensors").exists()}


def test(decant):
    decant.ok("synthesize", "--out", "log.txt", "--users", 300, "--items", 60, "--categories", 5)
    decant.write("kinds.tsv", "".join(f"i{i}\t{'even' if i % 2 == 0 else 'odd'}\n" for i in range(50)))
    job = decant.write("job.yaml", JOB)
    decant.fails(2, "sweep", job, "--set", "sweep.keys={run.seed: {numbers: [1]}}", says=["only keys below"])
    plan = decant.ok("sweep", job, "--dry-run")
    expect("settings" in plan and not decant.path("run").exists(), f"plan:\n{plan}")

    decant.ok("sweep", job)
    sweep = json.loads(decant.path("run/sweep.json").read_text())
    expect(sweep["student_settings"] == 4 and sweep["control_settings"] == 2, f"{sweep['student_settings']} settings")
    names = sorted(p.name.rsplit("-", 1)[0] for p in decant.path("run/pool").iterdir())
    expect(names.count("teacher") == 1, f"the teacher was not shared: {names}")
    expect(names.count("control") == 4 and names.count("student") == 8, f"pool: {names}")
    means = [s["student"]["mean"] for s in sweep["settings"]]
    expect(sweep["chosen"]["student"] == means.index(max(means)), f"chosen {sweep['chosen']} of {means}")
    controls = [(s["control"] or {"mean": -1})["mean"] for s in sweep["settings"]]
    expect(sweep["chosen"]["control"] == controls.index(max(controls)), f"chosen {sweep['chosen']} of {controls}")
    test_all = sweep["comparisons"][1]
    less = test_all["student_less"]["control"]
    found = test_all["sides"]["student"]["mean"] - test_all["sides"]["control"]["mean"]
    expect(abs(less["mean"] - found) < 1e-6 and less["low"] <= less["mean"] <= less["high"], f"{less} against {found}")
    expect(less["seeds"] == 2 and set(test_all["student_less"]) == {"teacher", "control", "popularity", "transitions"},
           f"{test_all}")

    # Killed in the middle, then run again: the same weights, and what was done is not done again.
    other = ("--set", "run.folder=cut")
    process = decant.start("sweep", job, *other)
    deadline = time.monotonic() + 120
    while len(list(decant.path("cut").glob("pool/stages/student-*.json"))) < 3:
        expect(process.poll() is None and time.monotonic() < deadline, "the sweep did not get to its third student")
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {p.name: p.stat().st_mtime_ns for p in decant.path("cut/pool/stages").iterdir()}
    decant.ok("sweep", job, *other)
    after = {p.name: p.stat().st_mtime_ns for p in decant.path("cut/pool/stages").iterdir()}
    expect(all(after[name] == when for name, when in before.items()), "stages that were done were done again")
    expect(weights(decant, "cut") == weights(decant, "run"), "a sweep that was cut came to other weights")
    again = json.loads(decant.path("cut/sweep.json").read_text())
    expect(again["comparisons"] == sweep["comparisons"], "a sweep that was cut came to another result")

    # Fewer seeds first: only the best settings go on.
    decant.ok("sweep", job, "--set", "run.folder=final", "--set", "sweep.finalists=1")
    final = json.loads(decant.path("final/sweep.json").read_text())
    counts = sorted(len(s["student"]["by_seed"]) for s in final["settings"])
    expect(counts == [1, 1, 1, 2], f"seeds a setting: {counts}")

    sets_are_shared(decant)

    if have_mpirun():
        decant.ok("sweep", job, "--set", "run.folder=ranks", "--set", "sweep.keys={}", ranks=2)
        two = json.loads(decant.path("ranks/sweep.json").read_text())
        expect(two["comparisons"][1]["student_less"]["control"]["seeds"] == 2, f"{two['comparisons'][1]}")

    # Runs of one job under several seeds, compared by their saved ranks.
    runs = []
    for seed in (5, 6):
        runs.append(f"seed-{seed}")
        out = decant.run("run", job, "--set", f"run.seed={seed}", "--set", f"run.folder=seed-{seed}")
        expect(out.returncode == 0, out.stderr[-2000:])
    expect("kind" in out.stderr + out.stdout and "even" in out.stderr + out.stdout, f"no segments printed:\n{out.stderr[-3000:]}")
    compared = json.loads(decant.ok("compare", *runs, "--json"))
    reports = [json.loads(decant.path(f"{run}/report.json").read_text()) for run in runs]
    for side in ("teacher", "student", "control", "popularity", "transitions"):
        mean = sum(r[side]["metrics"]["test"]["ndcg@10"] for r in reports) / 2
        expect(abs(compared["sides"][side]["mean"] - mean) < 1e-9, f"{side}: {compared['sides'][side]} against {mean}")
    expect(json.loads(decant.ok("compare", *runs, "--json")) == compared, "the bootstrap is not a function")
    expect("student - control" in decant.ok("compare", *runs, "--split", "valid", "--unseen", "true"), "no table")
    decant.fails(2, "compare", runs[0], "nowhere", says=["nowhere: no such folder"])
    decant.path("bare").mkdir()
    decant.fails(3, "compare", runs[0], "bare", says=["bare/student/ranks.h5", "is not there"])
    decant.fails(2, "compare", *runs, "--metric", "ndcg@7", says=["ndcg@7"])
    segments = reports[0]["segments"]["by"]
    for name in ("popularity", "history", "kind"):
        total = sum(entry["valid_targets"] for entry in segments[name])
        expect(total == reports[0]["teacher"]["cold_targets"]["valid_targets"], f"{name}: {total} targets")
        for side in ("teacher", "student"):
            mean = sum(e["share"] * e[side]["valid"]["ndcg@10"] for e in segments[name])
            whole = reports[0][side]["metrics"]["valid"]["ndcg@10"]
            expect(abs(mean - whole) < 1e-9, f"{name}, {side}: segments come to {mean}, the whole to {whole}")


main(test)
