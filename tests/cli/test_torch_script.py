"""A TorchScript file as a teacher: it says what the native teacher of the same weights says; files that do not fit."""
import json
import sys

try:
    import h5py
    import numpy as np
    import safetensors  # noqa: F401
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import pathlib

from _support import TINY_JOB, expect, main, tiny_job

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"))
import script_teacher  # noqa: E402

ITEMS, WIDTH, WINDOW = 60, 16, 10
SETS = """labels:
  k: 10
  dtype: fp32
  temperatures: [1, 2]
  sets:
    whole: {kind: dense, dtype: fp32}
    drawn: {kind: sampled, draws: 12}
    list: {kind: candidates, negatives: 9, dtype: fp32}
    states: {kind: hidden, dtype: fp32}"""


class Toy(torch.nn.Module):
    """A table, and the mean of the items so far."""

    def __init__(self, items=ITEMS, width=WIDTH):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(items, width, generator=torch.Generator().manual_seed(1)))

    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        count = torch.arange(1, items.size(1) + 1).view(1, -1, 1)
        return self.table[items].cumsum(1) / count

    @torch.jit.export
    def item_table(self) -> torch.Tensor:
        return self.table


class NoTable(torch.nn.Module):
    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return items.float()


class Logits(Toy):
    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return (self.table[items].cumsum(1)) @ self.table.t()


class LooksAhead(Toy):
    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.table[items].mean(1, keepdim=True).expand(-1, items.size(1), -1)


class NotFinite(Toy):
    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.table[items] / 0.0


class Short(Toy):
    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if items.size(1) > 5:
            raise RuntimeError("only five items")
        return self.table[items]


def script(decant, model, name):
    torch.jit.script(model).save(str(decant.path(name)))


def ready(file):
    return f"teacher={{gate: warn, model: {{type: torchscript, file: {file}, max_length: {WINDOW}}}}}"


def columns(decant, run, name):
    with h5py.File(decant.path(f"{run}/labels/{name}/part-00000.h5")) as file:
        found = {column: file[column][:] for column in file if column != "rows"}
    if "logits" in found and "peak" in found:
        found["logits"] = found["logits"] + (found["peak"] if found["peak"].ndim > 1 else found["peak"][:, None])
    return found


def same_as_native(decant, job):
    decant.ok("run", job)
    script_teacher.save(decant.path("run/teacher/weights.safetensors"), decant.path("teacher.pt"))
    other = ["--set", "run.folder=scripted", "--set", ready("teacher.pt"), "--set", "data={dataset: run/dataset}"]
    plan = decant.ok("run", job, *other, "--dry-run")
    expect("bytes_a_position" in plan, plan)
    decant.ok("run", job, *other)
    for name in ("teacher", "whole", "drawn", "list", "states"):
        native, scripted = columns(decant, "run", name), columns(decant, "scripted", name)
        expect(set(native) == set(scripted), f"{name}: columns {set(native)} and {set(scripted)}")
        for column, values in native.items():
            found = scripted[column]
            expect(found.shape == values.shape, f"{name}/{column}: {found.shape}")
            if column in ("ids", "counts", "target_rank", "logits") and name in ("teacher", "drawn"):
                # Items whose logits are as good as equal may change places: nearly all rows must be the same.
                close = np.isclose(found, values, atol=1e-4) if column == "logits" and name == "teacher" else found == values
                wrong = 1 - close.reshape(len(close), -1).all(1).mean() if name == "teacher" or column != "logits" else 0
                expect(wrong < 0.02, f"{name}/{column}: {wrong:.3f} of the targets differ")
            elif name != "drawn" and column != "target_rank":
                worst = np.abs(np.nan_to_num(found.astype("f8") - values.astype("f8"))).max()
                expect(worst < 1e-4, f"{name}/{column}: up to {worst}")
    verified = json.loads(decant.ok("labels", "verify", job, *other, "--json"))
    expect(all(entry["verified"] for entry in verified.values()), str(verified))
    expect(verified["teacher"]["probe"]["largest_logit_error"] < 1e-4, str(verified["teacher"]["probe"]))
    reports = [json.loads(decant.path(f"{run}/report.json").read_text()) for run in ("run", "scripted")]
    values = [report["teacher"]["metrics"]["test"]["ndcg@10"] for report in reports]
    expect(abs(values[0] - values[1]) < 5e-3, f"test ndcg@10: native {values[0]}, scripted {values[1]}")
    counts = [report["teacher"]["parameters"] for report in reports]
    expect(counts[0] == counts[1], f"parameters: {counts}")
    said = decant.run("run", job, *other).stderr
    expect("teacher: as before" in said and "labels/teacher: as before" in said, said)
    # The bytes of the file decide, not its place.
    decant.path("moved.pt").write_bytes(decant.path("teacher.pt").read_bytes())
    said = decant.run("run", job, *other, "--set", "teacher.model.file=moved.pt").stderr
    expect("teacher: as before" in said and "labels/teacher: as before" in said, said)
    script(decant, Toy(), "toy.pt")
    said = decant.run("run", job, *other, "--set", "teacher.model.file=toy.pt").stderr
    expect("teacher: as before" not in said and "labels/teacher: as before" not in said, said)
    second = f"teachers={{toy: {{gate: warn, model: {{type: torchscript, file: toy.pt, max_length: {WINDOW}}}}}}}"
    decant.ok("run", job, "--set", "run.folder=two", "--set", second, "--set", "labels={k: 5, sets: {toy: {teacher: toy}}}",
              "--set", "losses.kl_tail.labels=[teacher, toy]", "--set", "data={dataset: run/dataset}")


def refusals(decant, job):
    base = ["--set", "data={dataset: run/dataset}", "--set", "run.folder=refused"]
    key = "'teacher.model'"

    def fails(model, says, name="bad.pt"):
        script(decant, model, name)
        decant.fails(2, "run", job, *base, "--set", ready(name), says=[key, name, *says], alone=False)

    fails(NoTable(), ["item_table"])
    fails(Toy(items=ITEMS - 1), [f"{ITEMS - 1} items", f"{ITEMS}"])
    fails(Logits(), ["hidden state", "logits are not asked for"])
    fails(LooksAhead(), ["later items"])
    fails(NotFinite(), ["not finite"])
    fails(Short(), ["only five items"])
    decant.write("bad.pt", "no zip file")
    decant.fails(2, "run", job, *base, "--set", ready("bad.pt"), says=[key, "bad.pt", "TorchScript"], alone=False)
    decant.fails(2, "run", job, *base, "--set", ready("nowhere.pt"), says=[key, "nowhere.pt"], alone=False)
    decant.fails(2, "run", job, *base, "--set", "teacher.model={type: torchscript}", says=[key, "'file' is missing"])
    decant.fails(2, "run", job, *base, "--set", "teacher.weights=w.safetensors", "--set",
                 f"teacher.model={{type: torchscript, file: toy.pt, max_length: {WINDOW}}}", says=["'teacher.weights'", "'model.file'"])
    decant.fails(2, "run", job, *base, "--set", "student.model={type: torchscript, file: toy.pt}",
                 says=["'student.model'", "cannot be trained"])


def test(decant):
    job = tiny_job(decant, text=TINY_JOB.replace("labels: {k: 10}", SETS))
    same_as_native(decant, job)
    refusals(decant, job)


main(test)
