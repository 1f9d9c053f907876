"""The run folder: one writer, a dry run that writes nothing, job.yaml, logs and targets."""
import json
import os
import signal
import time

from _support import Failed, expect, main, tiny_job


def stages_of(plan):
    """What a dry run says of every stage."""
    lines = plan.split("\nstages\n")[1].splitlines()
    inside = [line for line in lines[:next(i for i, line in enumerate([*lines, "end"]) if not line.startswith(" "))]]
    return dict(line.strip().split(maxsplit=1) for line in inside)


def test(decant):
    job = tiny_job(decant)
    plan = decant.ok("run", job, "--dry-run")
    expect("teacher" in plan and "run" in plan, f"no plan:\n{plan}")
    expect(not decant.path("run").exists(), "a dry run made the run folder")

    stages = stages_of(plan)
    expect(set(stages) == {"dataset", "teacher", "control", "labels/teacher", "student"}, f"stages: {stages}")
    expect(stages["dataset"] == "run" and stages["student"] == "run (after the import)", f"stages: {stages}")

    # A first job that stands still while it holds the folder: stopped by a planted fault, so no race decides the test.
    first = decant.start("run", job, "--fault", "step@1:0:stop", "--set", "monitoring.enabled=true")
    try:
        deadline = time.monotonic() + 120
        targets = decant.path("run/metrics/targets.json")
        while not targets.exists():
            if first.poll() is not None:
                raise Failed(f"the first job ended: {first.communicate()[1]}")
            expect(time.monotonic() < deadline, "the first job did not start within 120 s")
            time.sleep(0.1)
        decant.fails(2, "run", job, says=["in use by process"])
        decant.fails(2, "evaluate", job, says=["in use by process"])
        served = json.loads(targets.read_text())
        expect(served[0]["labels"] == {"job": "decant", "run": "run"}, f"targets.json: {served}")
        expect(served[0]["targets"][0].startswith("127.0.0.1:"), f"targets.json: {served}")
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    stages = stages_of(decant.ok("run", job, "--dry-run"))
    expect(stages == {"dataset": "skip (done)", "teacher": "continue (begun)", "control": "run",
                      "labels/teacher": "run (after its teacher)", "student": "run (after its teacher)"}, f"{stages}")

    decant.ok("import", job)  # the lock of a killed process is no lock
    resolved = decant.path("run/job.yaml").read_text()
    decant.write("again.yaml", resolved)
    expect(decant.ok("config", "again.yaml") == decant.ok("config", job), "run/job.yaml is another job")
    log = decant.path("run/log/rank-0.log").read_text()
    expect("decant " in log and log.rstrip().endswith("done"), f"log:\n{log}")
    decant.ok("run", job)
    before = sorted((path, path.stat().st_mtime_ns) for path in decant.path("run").rglob("*"))
    plan = decant.ok("run", job, "--dry-run")
    expect(set(stages_of(plan).values()) == {"skip (done)"}, plan)
    expect("memory_a_rank_mib" in plan and "label_cache" in plan, plan)
    stages = stages_of(decant.ok("run", job, "--dry-run", "--set", "losses.kl_tail.weight=3"))
    expect(stages["student"].startswith("run (what is there is of other options"), f"{stages}")
    expect({stages[name] for name in ("dataset", "teacher", "control", "labels/teacher")} == {"skip (done)"}, f"{stages}")
    after = sorted((path, path.stat().st_mtime_ns) for path in decant.path("run").rglob("*"))
    expect(before == after, "a dry run wrote into the run folder")
    expect(json.loads(decant.path("run/metrics/targets.json").read_text()) == [], "nothing is served, yet targets remain")

    # A checkpoint that is being written is nothing to look at yet.
    decant.write("run/teacher/checkpoints/step-000000009999.partial/tensors-0-of-1.safetensors", "half")
    expect(".partial" not in decant.ok("inspect", "run"), "a checkpoint that is not whole was inspected")


main(test)
