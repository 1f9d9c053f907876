"""monitoring.tensorboard: what TensorBoard's own reader finds is what report.json and the job file say, each step once,
after a kill and a resume too."""
import re
import struct

from _job import JOB, Run, make_log
from _support import expect, main, skip

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    EventAccumulator = None

TEXT = JOB.replace("monitoring: {enabled: false}", "monitoring: {enabled: false, tensorboard: true}")
TRAINED = ("teacher", "student", "control")


def as_float(value):
    """As an event holds it: 32 bits."""
    return struct.unpack("f", struct.pack("f", value))[0]


def curves(run, stage):
    """Tag -> [(step, value)]."""
    reader = EventAccumulator(str(run.folder / "tensorboard" / stage), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def expect_equal(found, expected, what):
    expect(found == [(step, as_float(value)) for step, value in expected], f"{what}: {found}, expected {expected}")


def values_are_the_reports(decant):
    """One step an epoch: each step's losses are those that the report's curve has."""
    sets = {"batch.sequences": 4096, "teacher.train.max_steps": 6, "student.train.max_epochs": 6, "student.train.schedule.warmup_steps": 4}
    run = Run(decant, "report", 1, TEXT).run(*(word for key, value in sets.items() for word in ("--set", f"{key}={value}")))
    report = run.report()
    for stage in TRAINED:
        curve, found = report[stage]["train"]["curve"], curves(run, stage)
        losses = {name: f"loss/{name}" for name in curve[0]["loss"]}
        expect(set(found) == {*losses.values(), "loss/total", "valid/ndcg@10", "learning_rate", "gradient_norm", "sequences_per_second"},
               f"{stage}: tags {sorted(found)}")
        expect(len(curve) == 6, f"{stage}: {len(curve)} validations")
        expect_equal(found["valid/ndcg@10"], [(entry["step"], entry["ndcg@10"]) for entry in curve], stage)
        for name, tag in losses.items():
            expect_equal(found[tag], [(entry["step"], entry["loss"][name]) for entry in curve], f"{stage} {name}")
        for i, (step, value) in enumerate(found["loss/total"]):  # every weight is 1
            expected = sum(found[tag][i][1] for tag in losses.values())
            expect(abs(value - expected) < 1e-5 * abs(expected), f"{stage}: total {value} at {step}, the parts are {expected}")
        expect(all(rate > 0 for _, rate in found["sequences_per_second"]), f"{stage}: {found['sequences_per_second']}")
        expect([step for step, _ in found["learning_rate"]] == [1, 2, 3, 4, 5, 6], f"{stage}: {found['learning_rate']}")
    rates = curves(run, "student")["learning_rate"]
    expect_equal(rates, [(step, rates[-1][1] * min(1, step / 4)) for step in range(1, 7)], "the student's learning rate")


def a_killed_job_shows_each_step_once(decant):
    text = TEXT.replace("max_steps: 12, checkpoint_steps: 5", "max_steps: 12, checkpoint_steps: 2")
    undisturbed, killed = Run(decant, "undisturbed", 1, text).run(), Run(decant, "killed", 1, text)
    result = killed.decant.run("run", "job.yaml", "--fault", "step@9:0")
    expect(result.returncode != 0, "the planted fault did not end the job")
    before = curves(killed, "teacher")["learning_rate"]
    expect([step for step, _ in before] == list(range(1, len(before) + 1)) and before, f"before the kill: {before}")
    killed.run()
    expect(re.search(r"teacher continues from step [2-8]", killed.logs()[0]), "the teacher began anew, which proves nothing here")
    expect(len(list((killed.folder / "tensorboard/teacher").iterdir())) == 2, "the resumed teacher has no file of its own")
    for stage in TRAINED:
        found, expected = curves(killed, stage), curves(undisturbed, stage)
        found.pop("sequences_per_second"), expected.pop("sequences_per_second")
        expect(found == expected, f"{stage}: {found}\nundisturbed: {expected}")
    expect([step for step, _ in curves(killed, "teacher")["learning_rate"]] == list(range(1, 13)), "a step of the teacher is missing or twice there")


def test(decant):
    if EventAccumulator is None:
        skip("no tensorboard here (pip install tensorboard): its reader was not tried")
    make_log(decant)
    values_are_the_reports(decant)
    a_killed_job_shows_each_step_once(decant)


main(test)
