"""The teacher in the step, augmented views, perturbed vectors, screened labels: whole runs; the snippets of the docs."""
import pathlib
import re

from _job import JOB, Run, make_log, watch
from _support import expect, main

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
ONLINE = JOB.replace("kl_tail: {weight: 1, temperature: 2}", "kl_tail: {weight: 1, temperature: 2, labels: [online]}")
RECIPE = """
  augment: {rate: 0.5}
  perturbation: {epsilon: 0.1, weight: 0.5}
  screening: {most_rank: 5, most_probability: 0.9, keep: 0.5}
losses:"""
ALL = ONLINE.replace("\nlosses:", RECIPE, 1)


def curve(run, side="student"):
    return run.report()[side]["train"]["curve"]


def test_online(decant):
    """Nothing but the rounding of stored logits tells it from stored labels; and no store is written."""
    stored, online = Run(decant, "stored", 1).run(), Run(decant, "online", 1, ONLINE).run()
    for a, b in zip(curve(stored), curve(online)):
        for name in ("ce", "kl_tail"):
            expect(abs(a["loss"][name] - b["loss"][name]) < 1e-3 * a["loss"][name], f"{name}: {a} against {b}")
    expect(curve(stored)[0]["loss"] != curve(online)[0]["loss"], "the online run has read stored labels")
    expect(not (online.folder / "labels").exists(), "labels were stored for nobody")
    for name in ("teacher", "control"):
        path = f"{name}/weights.safetensors"
        expect((stored.folder / path).read_bytes() == (online.folder / path).read_bytes(), f"{name} differs")


def test_all(decant):
    one, two = Run(decant, "all-1", 1, ALL).run(), Run(decant, "all-2", 2, ALL).run()
    for side in ("student", "control"):
        for a, b in zip(curve(one, side), curve(two, side)):
            for name, value in a["loss"].items():
                expect(abs(value - b["loss"][name]) < 1e-4 * value, f"{side} {name}: {a} against {b}")
    first, again = curve(one)[0]["counted"], curve(two)[0]["counted"]
    expect(first["labels"] > 0 and 0 < first["contradicting"] < first["labels"], f"{first}")
    expect(all(abs(first[k] - again[k]) <= 0.002 * first["labels"] for k in first), f"{first} against {again}")
    expect("counted" not in curve(one, "control")[0], "the control has no labels to screen")
    killed = Run(decant, "all-killed", 1, ALL)
    expect(watch(killed.start("--fault", "step@22:0:kill"), 1).code == -9, "was not killed")
    undisturbed = one
    killed.run()
    for side in ("student", "control"):
        path = f"{side}/weights.safetensors"
        expect((killed.folder / path).read_bytes() == (undisturbed.folder / path).read_bytes(), f"killed: {side} differs")
    plain = Run(decant, "online", 1, ONLINE)
    expect(curve(plain) != curve(one), "the recipe changed nothing")


def test_refusals(decant):
    program = Run(decant, "refused", 1, JOB).decant
    program.fails(2, "run", "job.yaml", "--set", "student.augment.rate=0.5", says=["student.augment", "is stored"])


def assignments(snippet):
    """A snippet as --set arguments: one a line that ends in a value."""
    out, path = [], []
    for line in snippet.splitlines():
        text = line.split("#")[0].rstrip()
        if not text:
            continue
        depth = (len(text) - len(text.lstrip())) // 2
        key, value = text.strip().split(":", 1)
        path[depth:] = [key]
        if value.strip():
            out += ["--set", ".".join(path) + "=" + value.strip()]
    return out


def test_docs(decant):
    """Every snippet of the page is a job that runs, on top of a small one."""
    snippets = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    expect(len(snippets) >= 5, f"{len(snippets)} snippets in {DOCS}")
    for i, snippet in enumerate(snippets):
        run = Run(decant, f"snippet-{i}", 1, JOB).run(*assignments(snippet), "--set", "student.train.max_epochs=1")
        expect(curve(run), f"snippet {i} trained nothing:\n{snippet}")


def test(decant):
    make_log(decant)
    test_online(decant)
    test_all(decant)
    test_refusals(decant)
    test_docs(decant)


main(test)
