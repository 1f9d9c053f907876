"""Label sets: several kinds and teachers in one run, rows that are appended, sets made by another program, many readers."""
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

from _support import TINY_JOB, expect, main, skip, tiny_job

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/python/write_labels.py"
SETS = TINY_JOB.replace("labels: {k: 10}", """teachers:
  second: {gate: warn, model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
labels:
  k: 10
  sets:
    nucleus: {kind: top_p, p: 0.5, dtype: bf16, compress: none}
    whole: {kind: dense, dtype: fp32}
    drawn: {kind: sampled, draws: 12}
    list: {kind: candidates, negatives: 9, draw: popularity}
    rescored: {kind: candidates, ids_from: run/labels/teacher}
    states: {kind: hidden}
    second: {teacher: second, k: 5}""").replace("kl_tail: {weight: 1, temperature: 2}",
                                               "kl_tail: {weight: 1, temperature: 2, labels: [teacher, second, whole]}")


def record(decant, stage):
    return json.loads(decant.path(f"run/stages/{stage}.json").read_text())


def sets_of_every_kind(decant):
    job = tiny_job(decant, text=SETS)
    decant.ok("import", job)
    plan = decant.ok("label", job, "--dry-run")
    expect("rescored" not in plan or "seconds" in plan, plan)
    decant.ok("run", job)
    status = json.loads(decant.ok("labels", "status", job, "--json"))
    expect(set(status) == {"teacher", "nucleus", "whole", "drawn", "list", "rescored", "states", "second"}, str(status))
    for name, entry in status.items():
        expect(entry["rows"] == 200 and entry["stale"] == entry["missing"] == 0 and entry["bytes"] > 0, f"{name}: {entry}")
    verified = json.loads(decant.ok("labels", "verify", job, "--json"))
    for name, entry in verified.items():
        expect(entry["verified"] and entry["covers"] == 1, f"{name}: {entry}")
    for name, error in (("teacher", 0.05), ("whole", 1e-4), ("drawn", 0.05), ("second", 0.05), ("nucleus", 0.3)):
        expect(verified[name]["probe"]["largest_logit_error"] < error, f"{name}: {verified[name]['probe']}")
    lost = {name: verified[name]["probe"]["mass_left_out"] for name in verified if verified[name]["probe"]}
    expect(lost["whole"] < 1e-6 < lost["teacher"], f"mass left out: {lost}")
    report = json.loads(decant.path("run/report.json").read_text())
    expect(report["labels"]["drawn"]["draws"] == 12, str(report["labels"]))
    said = decant.run("run", job).stderr
    for name in status:
        expect(f"labels/{name}: as before" in said, f"labels/{name} was made again:\n{said}")
    # Only the set that is asked for otherwise is made again.
    said = decant.run("label", job, "--set", "labels.sets.drawn.draws=11").stderr
    expect("labels/drawn: as before" not in said and "labels/whole: as before" in said, said)


def rows_are_appended(decant):
    shutil.copy(decant.path("run/teacher/weights.safetensors"), decant.path("teacher.safetensors"))
    lines = decant.path("log.txt").read_text().splitlines()
    users = [line.split()[0] for line in lines]
    changed = next(i for i, line in enumerate(lines) if len(line.split()) > 6)
    words = lines[changed].split()
    grown = lines[:changed] + [" ".join([*words[:-1], words[1], words[-1]])] + lines[changed + 1:]
    grown += [" ".join([f"{user}x", *line.split()[1:]]) for user, line in zip(users[:40], lines[:40])]
    sets = ["--set", "teacher.weights=teacher.safetensors", "--set", "run.folder=grown"]
    job = decant.path("job.yaml")
    decant.write("job.yaml", TINY_JOB.replace("log.txt", "now.txt"))
    decant.write("now.txt", decant.path("log.txt").read_bytes())
    for stage in ("import", "train-teacher", "label"):
        decant.ok(stage, job, *sets)
    before = decant.path("grown/labels/teacher/part-00000.h5").read_bytes()
    decant.write("now.txt", "\n".join(grown) + "\n")
    decant.ok("import", job, *sets)
    decant.ok("train-teacher", job, *sets)
    status = json.loads(decant.ok("labels", "status", job, *sets, "--json"))["teacher"]
    expect((status["rows"], status["stale"], status["missing"]) == (199, 1, 40), str(status))
    decant.ok("label", job, *sets)
    result = json.loads(decant.path("grown/stages/labels/teacher.json").read_text())["result"]
    expect(result["reused_rows"] == 199, f"{result}")
    status = json.loads(decant.ok("labels", "status", job, *sets, "--json"))["teacher"]
    expect((status["rows"], status["stale"], status["missing"]) == (240, 0, 0), str(status))
    probe = json.loads(decant.ok("labels", "verify", job, *sets, "--json"))["teacher"]["probe"]
    expect(probe["largest_logit_error"] < 0.05, str(probe))
    expect(before != decant.path("grown/labels/teacher/part-00000.h5").read_bytes(), "nothing was appended")
    # Another teacher: every row is stale.
    shutil.copy(decant.path("run/student/weights.safetensors"), decant.path("other.safetensors"))
    other = [*sets, "--set", "teacher.weights=other.safetensors", "--set", "teacher.model.dim=4"]
    decant.ok("train-teacher", job, *other)
    status = json.loads(decant.ok("labels", "status", job, *other, "--json"))["teacher"]
    expect((status["rows"], status["stale"]) == (0, 240) and "another teacher" in status["why"], str(status))


def made_elsewhere(decant):
    if not all(importlib.util.find_spec(name) for name in ("h5py", "numpy", "xxhash")):
        skip("no h5py, numpy or xxhash here: a set of another program was not tried")
    shutil.copytree(decant.path("run/dataset"), decant.path("shared"))
    subprocess.run([sys.executable, EXAMPLE, decant.path("shared"), decant.path("mine"), "12", "10"], check=True)
    verified = json.loads(decant.ok("labels", "verify", "mine", "--json"))
    expect(verified["verified"] and verified["kind"] == "topk" and verified["compression"] == "none", str(verified))
    text = TINY_JOB.replace("data: {import: {files: [log.txt]}}", "data: {dataset: shared}")
    text = text.replace("labels: {k: 10}", "labels: {folder: mine}").replace("temperature: 2", "temperature: 1")
    jobs = [decant.write(f"mine{i}.yaml", text.replace("folder: run,", f"folder: run-mine{i},")) for i in (1, 2)]
    # One store, two students at once.
    processes = [decant.start("distill", job) for job in jobs]
    for process in processes:
        out, err = process.communicate(timeout=120)
        expect(process.returncode == 0, f"a student of the set made elsewhere: exit code {process.returncode}\n{err}")
    weights = [decant.path(f"run-mine{i}/student/weights.safetensors").read_bytes() for i in (1, 2)]
    control = decant.path("run-mine1/control/weights.safetensors").read_bytes()
    expect(weights[0] == weights[1] and weights[0] != control, "two readers of one store learnt different things")
    status = json.loads(decant.ok("labels", "status", jobs[0], "--json"))["teacher"]
    expect(status["rows"] == 200 and status["missing"] == 0, str(status))
    # What does not fit is named before anything starts.
    job = jobs[0]
    decant.fails(2, "distill", job, "--set", "losses.kl_tail.temperature=3", says=["'labels.temperatures'"])
    decant.fails(2, "distill", job, "--set", "student.model.max_length=9", says=["'student.model.max_length' is 9", "'labels.folder'"])
    decant.fails(2, "distill", job, "--set", "labels.folder=nowhere", says=["'labels.folder' is nowhere"])
    decant.fails(2, "distill", job, "--set", "losses.kl_tail.labels=[third]", says=["'third'", "'labels.sets'"])
    decant.fails(2, "distill", job, "--set", "labels.teacher=second", says=["'labels.teacher' is 'second'", "'teachers'"])
    decant.ok("synthesize", "--out", "other.txt", "--users", 200, "--items", 70, "--categories", 5)
    decant.ok("import", "--format", "sequences", "--out", "other", "other.txt")
    decant.fails(3, "distill", job, "--set", "data.dataset=other", says=["the catalogue (hash)", "'data.dataset'"])
    # A part that was changed after its sum was made.
    path = decant.path("mine/part-00000.h5")
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.write_bytes(bytes_)
    decant.fails(3, "labels", "verify", "mine", says=["part-00000.h5"])


def out_of_fold(decant):
    text = TINY_JOB.replace("labels: {k: 10}", "labels: {k: 10, folds: 2}").replace("folder: run,", "folder: folds,")
    job = decant.write("folds.yaml", text)
    stages = [f"teachers/teacher.fold-{fold}-of-2" for fold in (0, 1)]
    decant.ok("import", job)
    plan = decant.ok("run", job, "--dry-run")
    expect(all(stage in plan for stage in stages), plan)
    decant.ok("train-teacher", job)
    records = [json.loads(decant.path(f"folds/stages/{stage}.json").read_text())["result"] for stage in ("teacher", *stages)]
    expect(len({record["weights_hash"] for record in records}) == 3, str(records))
    shares = [record["steps"] / record["epochs"] for record in records]  # half of the rows each
    expect(max(shares[1:]) < shares[0], f"steps an epoch of the teacher and those without a fold: {shares}")
    decant.ok("run", job)
    manifest = json.loads(decant.path("folds/labels/teacher/manifest.json").read_text())
    expect(manifest["folds"]["teacher_hashes"] == [record["weights_hash"] for record in records[1:]], str(manifest))
    status = json.loads(decant.ok("labels", "status", job, "--json"))["teacher"]
    expect((status["rows"], status["stale"], status["missing"]) == (200, 0, 0), str(status))
    verified = json.loads(decant.ok("labels", "verify", job, "--json"))["teacher"]
    expect(verified["covers"] == 1 and verified["probe"]["largest_logit_error"] < 0.05, str(verified))
    said = decant.run("run", job).stderr
    expect(all(f"{stage}: as before" in said for stage in (*stages, "labels/teacher", "student")), said)
    # The same bytes at two ranks; not those of the teacher that has seen every row.
    one = decant.path("folds/labels/teacher/part-00000.h5").read_bytes()
    shutil.rmtree(decant.path("folds/labels"))
    decant.ok("label", job, ranks=2)
    expect(one == decant.path("folds/labels/teacher/part-00000.h5").read_bytes(), "other bytes at two ranks")
    decant.ok("label", job, "--set", "labels.folds=0")
    expect(one != decant.path("folds/labels/teacher/part-00000.h5").read_bytes(), "the teacher's own labels are the same")
    decant.fails(6, "label", job, "--set", "labels.folds=3", says=["teacher.fold-0-of-3", "train-teacher"], alone=False)
    decant.fails(2, "run", job, "--set", "labels.folds=1", says=["'labels.folds'", "at least 2"])
    decant.fails(2, "run", job, "--set", "labels.sets={states: {kind: hidden, folds: 2}}",
                 says=["'labels.sets.states.folds'", "'hidden'"])
    decant.fails(2, "run", job, "--set", "teacher.weights=folds/teacher/weights.safetensors",
                 says=["'labels.folds'", "taken from a file"])


def test(decant):
    decant.fails(2, "labels", "status", says=["say status or verify"])
    sets_of_every_kind(decant)
    rows_are_appended(decant)
    out_of_fold(decant)
    made_elsewhere(decant)


main(test)
