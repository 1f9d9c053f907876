"""export: what is in the folder, nothing of the teacher's, whole or absent, what is refused."""
import json
import shutil

from _export import read_log, tensors, trained
from _support import TINY_JOB, expect, main

FILES = {"model.safetensors", "spec.json", "item_ids.json", "encoder.onnx", "scores.onnx", "topk.onnx"}
INT8 = {name.replace(".", ".int8.", 1) for name in FILES if not name.endswith(".json")}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_spec(folder, side, shape):
    spec = json.loads((folder / "spec.json").read_text())
    expect(spec["format"] == "decant-export" and spec["version"] == 1 and spec["side"] == side, str(spec)[:300])
    wanted = dict(zip(("model", "items", "dim", "layers", "heads", "max_length"), ("sasrec", 60, *shape)))
    expect(spec["model"] == {**wanted, "positions": "start"}, f"{spec['model']}, not {wanted}")
    return spec


def check_int8(folder):
    """Every matrix is rounded by row, to half a scale; vectors are as they were."""
    plain, _ = tensors(folder / "model.safetensors")
    small, _ = tensors(folder / "model.int8.safetensors")
    expect({name for name in small if not name.endswith("_scale")} == set(plain), f"tensors {sorted(small)}")
    for name, (dtype, shape, values) in plain.items():
        expect(dtype == "F32", f"{name}: {dtype}")
        if len(shape) == 1:
            expect(small[name] == plain[name], f"{name} is changed")
            continue
        (kind, _, rounded), (_, scale_shape, scales) = small[name], small[name + "_scale"]
        expect(kind == "I8" and scale_shape == [shape[0], 1], f"{name}: {kind}, scales {scale_shape}")
        for i, value in enumerate(values):
            scale = scales[i // shape[1]]
            expect(abs(rounded[i] * scale - value) <= 0.501 * scale, f"{name}[{i}]: {rounded[i]} x {scale}, not {value}")


def check_quality(spec, report):
    """float32 as in the report; int8 near it, and not the same model."""
    found = spec["quality"]
    for split in ("valid", "test"):
        for metric, value in found["float32"][split].items():
            expect(value == report["student"]["metrics"][split][metric], f"{split} {metric}: {value} is not the report's")
            expect(abs(value - found["int8"][split][metric]) < 0.05, f"{split} {metric} by int8: {found}")


def test(decant):
    job = trained(decant)
    said = decant.ok("export", "run", "--to", "out/student", "--int8")
    expect("model.int8.safetensors" in said and "quality" in said, said)
    student = decant.path("out/student")
    expect(set(contents(student)) == FILES | INT8, f"{sorted(contents(student))}")
    spec = check_spec(student, "student", (8, 2, 2, 10))
    rows, items = read_log(decant.path("log.txt"))
    expect(json.loads((student / "item_ids.json").read_text()) == items, "ids are not those of the catalogue, in its order")
    check_int8(student)
    check_quality(spec, json.loads(decant.path("run/report.json").read_text()))

    # Parameters of the network alone: no loss's, no factor of the table, nothing as wide as the teacher.
    found, metadata = tensors(student / "model.safetensors")
    trained_ones, _ = tensors(decant.path("run/student/weights.safetensors"))
    expect(set(found) == set(trained_ones) - {"item.projection"}, f"{sorted(found)}")
    expect(trained_ones["item.weight"][1] == [60, 16] and found["item.weight"][1] == [60, 8], "the item vectors are not composed")
    expect("table_width" not in metadata and metadata["dim"] == "8", str(metadata))
    for name, (_, shape, values) in found.items():
        expect(name == "item.weight" or shape == trained_ones[name][1] and values == trained_ones[name][2], f"{name} differs")

    # The same bytes without teacher, labels and control; by the job file; by a run that was moved. No teacher is named.
    for folder in ("teacher", "labels", "control"):
        shutil.move(decant.path("run") / folder, decant.path("aside-" + folder))
    decant.ok("export", "run", "--to", "again", "--int8")
    expect(contents(decant.path("again")) == contents(student), "the student's export depends on the teacher")
    for name, data in contents(student).items():
        expect(b"teacher" not in data, f"{name} speaks of the teacher")
    decant.fails(6, "export", job, "--side", "teacher", "--to", "none", says=["teacher/weights.safetensors"])
    for folder in ("teacher", "labels", "control"):
        shutil.move(decant.path("aside-" + folder), decant.path("run") / folder)
    shutil.move(decant.path("run"), decant.path("moved"))
    decant.ok("export", "moved", "--to", "third", "--int8", "--set", "data.dataset=moved/dataset")
    shutil.move(decant.path("moved"), decant.path("run"))
    expect(contents(decant.path("third")) == contents(student), "another export of a moved run")

    # Other sides and less of it; as JSON.
    decant.ok("export", job, "--side", "teacher", "--to", "teacher/", "--format", "safetensors")
    check_spec(decant.path("teacher"), "teacher", (16, 1, 1, 10))
    expect(set(contents(decant.path("teacher"))) == {"model.safetensors", "spec.json", "item_ids.json"}, "no ONNX was asked for")
    told = json.loads(decant.ok("export", job, "--side", "control", "--to", "control", "--json"))
    expect(told["side"] == "control" and told["quality"] is None and set(told["files"]) == FILES - {"spec.json", "item_ids.json"}, str(told))

    # Whole or absent; what is there stays.
    before = contents(student)
    decant.fails(2, "export", job, "--to", "out/student", says=["holds an export already", "--replace"])
    expect(contents(student) == before, "a refused export changed the one that is there")
    decant.ok("export", job, "--to", "out/student", "--replace")
    expect(set(contents(student)) == FILES, "the export was not replaced")
    decant.write("foreign/file.txt", "mine\n")
    decant.fails(2, "export", job, "--to", "foreign", "--replace", says=["no export of decant's"])
    expect(decant.path("foreign/file.txt").read_text() == "mine\n", "a foreign folder was touched")
    weights = decant.path("run/student/weights.safetensors")
    good = weights.read_bytes()
    weights.write_bytes(good[:-5])
    decant.fails(3, "export", job, "--to", "none", says=["weights.safetensors"])
    weights.write_bytes(good)
    left = [path.name for path in decant.folder.iterdir() if path.name.startswith("none")]
    expect(not left, f"a failed export left {left}")

    # What is asked wrongly.
    decant.fails(2, "export", "--to", "x", says=["give a run folder"])
    decant.fails(2, "export", job, says=["--to"])
    decant.fails(2, "export", job, "--to", "x", "--format", "tflite", says=["tflite", "safetensors, onnx"])
    decant.fails(2, "export", "out", "--to", "x", says=["no run folder"])
    result = decant.run("export", job, "--to", "x", ranks=2)
    expect(result.returncode == 2 and "mpirun started 2" in result.stderr, f"two ranks: {result.returncode}\n{result.stderr}")
    decant.write("new.yaml", TINY_JOB.replace("folder: run", "folder: new"))
    decant.fails(6, "export", "new.yaml", "--to", "x", "--set", "data.dataset=run/dataset", says=["no finished student"])
    expect(not decant.path("x").exists(), "a refused export left something")


main(test)
