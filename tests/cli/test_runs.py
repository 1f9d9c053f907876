"""decant runs and decant compare: run folders beside each other, jobs that differ in seeds and in more."""
import json

from _support import expect, main, tiny_job


def test(decant):
    job = tiny_job(decant)
    decant.ok("run", job, "--set", "run.folder=all/a")
    decant.ok("run", job, "--set", "run.folder=all/b", "--set", "run.seed=2")
    decant.ok("run", job, "--set", "run.folder=all/deep/wide", "--set", "student.model.dim=8", "--set", "losses.mse.weight=0.5")
    for command in ("import", "train-teacher"):
        decant.ok(command, job, "--set", "run.folder=all/cut")

    runs = json.loads(decant.ok("runs", "all", "--json"))["runs"]
    expect([run["run"] for run in runs] == ["all/a", "all/b", "all/cut", "all/deep/wide"], f"found {runs}")
    states = {run["run"]: run["state"] for run in runs}
    expect(states.pop("all/cut") == "teacher" and set(states.values()) == {"evaluated"}, f"states {states}")
    report = json.loads(decant.path("all/b/report.json").read_text())
    found = next(run for run in runs if run["run"] == "all/b")
    for side in ("teacher", "student", "control", "popularity"):
        expect(found["sides"][side]["test"] == report[side]["metrics"]["test"]["ndcg@10"], f"{side}: {found}")
    expect(found["seed"] == 2 and found["metric"] == "ndcg@10", f"{found}")
    table = decant.ok("runs", "all").splitlines()
    expect(len(table) == 5 and table[3].startswith("all/cut ") and "teacher" in table[3], f"table {table}")
    decant.fails(2, "runs", "nothing", says=["'nothing' is not a folder"])
    decant.path("empty").mkdir()
    decant.fails(2, "runs", "empty", says=["no run folder", "empty"])
    decant.fails(2, "runs", says=["give a folder"])

    # Seeds of one job are pooled; what differs is told.
    seeds = json.loads(decant.ok("compare", "all/a", "all/b", "--json"))
    expect(seeds["sides"]["student"]["seeds"] == 2, f"{seeds['sides']}")
    expect(seeds["differences"] == {"run.seed": [1, 2]}, f"{seeds['differences']}")

    # Other jobs are not.
    other = json.loads(decant.ok("compare", "all/a", "all/deep/wide", "--json"))
    expect("sides" not in other and len(other["levels"]["student"]) == 2, f"{other}")
    expect(other["differences"]["student.model.dim"] == [4, 8], f"{other['differences']}")
    expect(other["differences"]["losses.mse.weight"] == [None, 0.5], f"{other['differences']}")
    expect("run.folder" not in other["differences"], f"{other['differences']}")
    less = other["less_first"]["student"][0]
    expect(abs(less["mean"] - (other["levels"]["student"][1] - other["levels"]["student"][0])) < 1e-6, f"{less}")
    expect(less["low"] <= less["mean"] <= less["high"], f"{less}")
    expect(other["less_first"]["teacher"][0]["mean"] == 0, "it is the same teacher")
    said = decant.ok("compare", "all/a", "all/deep/wide")
    expect("student.model.dim: 4 | 8" in said and "all/deep/wide" in said, said)


main(test)
