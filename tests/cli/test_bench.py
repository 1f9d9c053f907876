"""bench: figures of every side, in its file, its table and the report; what is stale or missing."""
import json

from _support import expect, main, tiny_job

SIDES = ["teacher", "student", "student_int8", "control"]
FEW = ("--histories", 7, "--repetitions", 2, "--batch", 16, "--warm-up", 1)


def check(bench, sides):
    expect(list(bench["sides"]) == sides and bench["histories"] == len(set(bench["rows"])) == 7, str(bench)[:500])
    for name, side in bench["sides"].items():
        latency = side["latency_us"]
        for part in ("encoder", "search", "total"):
            expect(0 < latency[part]["p50"] <= latency[part]["p95"] <= latency[part]["p99"], f"{name}: {latency}")
        expect(latency["total"]["p99"] >= max(latency["encoder"]["p50"], latency["search"]["p50"]), f"{name}: {latency}")
        expect(side["users_per_second"] > 0, f"{name}: {side}")
    if "teacher" in sides:
        teacher = bench["sides"]["teacher"]
        for name, gained in bench["speed_gained"].items():
            side = bench["sides"][name]
            for part in ("encoder", "search", "total"):
                wanted = teacher["latency_us"][part]["p50"] / side["latency_us"][part]["p50"]
                expect(abs(gained[part] - wanted) < 1e-9, f"{name}: {part} gained {gained[part]}, not {wanted}")
            wanted = side["users_per_second"] / teacher["users_per_second"]
            expect(abs(gained["throughput"] - wanted) < 1e-9, f"{name}: throughput gained {gained}")


def report(decant):
    return json.loads(decant.path("run/report.json").read_text())


def test(decant):
    job = tiny_job(decant)
    decant.ok("run", job)
    expect(report(decant)["inference"] is None, "inference that nobody measured")
    before = report(decant)
    bench = json.loads(decant.ok("bench", "run", "--json", *FEW))
    check(bench, SIDES)
    expect(list(bench["speed_gained"]) == SIDES[1:], str(bench["speed_gained"]))
    stored = json.loads(decant.path("run/bench.json").read_text())
    expect(stored["format"] == "decant-bench" and stored["sides"] == bench["sides"], "bench.json holds something else")
    after = report(decant)
    told = after.pop("inference")
    before.pop("inference")
    expect(after == before and told["sides"] == bench["sides"] and "rows" not in told, "report.json is not the one before and the figures")

    # A report that is made anew keeps them, until other weights are there.
    decant.ok("evaluate", job)
    expect(report(decant)["inference"] == told, "evaluate lost the figures")
    decant.ok("run", job, "--set", "student.train.max_steps=2")
    expect(report(decant)["inference"] is None, "figures of other weights")

    # As a table; without a teacher; a catalogue smaller than k.
    table = decant.ok("bench", job, *FEW, "--k", 500)
    lines = {line.split()[0]: line.split() for line in table.splitlines() if line}
    expect(all(len(lines[side]) == 13 for side in SIDES) and lines["teacher"][10] == "-", table)
    expect("the 500 best of 60 items" in table, table)
    decant.path("run/stages/teacher.json").unlink()
    check(json.loads(decant.ok("bench", "run", "--json", *FEW)), SIDES[1:])

    decant.fails(2, "bench", says=["give a run folder"])
    decant.fails(2, "bench", "run", "--histories", 0, says=["histories"])
    decant.write("new.yaml", decant.path("job.yaml").read_text().replace("folder: run", "folder: new"))
    decant.fails(6, "bench", "new.yaml", "--set", "data.dataset=run/dataset", says=["no finished teacher or student"])
    result = decant.run("bench", "run", ranks=2)
    expect(result.returncode == 2 and "mpirun started 2" in result.stderr, f"two ranks: {result.returncode}\n{result.stderr}")


main(test)
