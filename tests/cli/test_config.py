"""decant config: what it prints parses, and resolves to itself; --set is applied; docs/config.md is what it writes."""
import pathlib

from _support import TINY_JOB, expect, main

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test(decant):
    text = decant.ok("config")
    expect(text.startswith("#") and "version: 1" in text, f"no job file:\n{text[:300]}")
    decant.write("default.yaml", text)
    expect(decant.ok("config", "default.yaml") == text, "the default job file does not resolve to itself")

    decant.write("job.yaml", TINY_JOB)
    resolved = decant.ok("config", "job.yaml", "--set", "labels.temperatures=[1, 2.5]", "--set", "teacher.optimizer.lr=1e-4")
    expect("temperatures: [1.0, 2.5]" in resolved and "lr: 0.0001" in resolved, f"--set had no effect:\n{resolved}")
    decant.write("resolved.yaml", resolved)
    expect(decant.ok("config", "resolved.yaml") == resolved, "a resolved job file does not resolve to itself")
    decant.fails(2, "config", "--set", "a=1", says=["needs a job file"])

    page = (ROOT / "docs" / "config.md").read_text()
    expect(decant.ok("config", "--markdown") == page, "docs/config.md is old: ./decant config --markdown > docs/config.md")

    for name, folder in (("next_item", "runs/quickstart"), ("assistant", "runs/assistant")):
        example = ROOT / "examples" / f"{name}.yaml"
        expect(folder in decant.ok("config", example), f"{example} does not resolve")


main(test)
