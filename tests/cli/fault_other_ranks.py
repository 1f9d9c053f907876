"""A job that dies under one number of ranks and goes on under another comes to what an undisturbed one comes to: the same
epochs with the same mean losses, and parameters within the tolerance of N ranks against one (docs/parity.md)."""
import array
import json
import math
import re
import struct

from _job import JOB, Run, make_log, watch
from _support import expect, have_mpirun, main, skip

TEXT = JOB.replace("max_steps: 12", "max_epochs: 3")  # 45 steps; a checkpoint every five
RECURRENT = TEXT.replace("model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10}",
                         "model: {type: gru4rec, dim: 16, hidden: 24, layers: 2, max_length: 10}", 1)
TRAIN = ("train-teacher", "job.yaml", "--set", "data.dataset=../dataset")
DIES_AT = 23  # in the second epoch
TOLERANCE, KEY_BIAS_TOLERANCE, LOSS_TOLERANCE = 2e-4, 1e-3, 1e-6  # tests/multirank/parity_support.h
CHANGES = ((2, 4), (4, 2), (4, 3), (1, 2))


def tensors(run):
    """Name -> float32 values of the teacher's weights."""
    data = (run.folder / "teacher" / "weights.safetensors").read_bytes()
    size, = struct.unpack("<Q", data[:8])
    found = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            expect(entry["dtype"] == "F32", f"{name} is {entry['dtype']}")
            first, last = (8 + size + at for at in entry["data_offsets"])
            found[name] = array.array("f", data[first:last])
    return found


def largest(a, b):
    return max((math.inf if math.isnan(x - y) else abs(x - y) for x, y in zip(a, b, strict=True)), default=0.0)


def gaps(run, undisturbed):
    """Of the parameters, and of the keys' biases, whose gradient is 0 but for rounding."""
    here, there = tensors(run), tensors(undisturbed)
    expect(here.keys() == there.keys() and here, f"tensors {sorted(here)} and {sorted(there)}")
    parameters = keys = 0.0
    for name, a in here.items():
        b, third = there[name], len(a) // 3
        if name.endswith("qkv.bias"):
            keys = max(keys, largest(a[third:2 * third], b[third:2 * third]))
            a, b = a[:third] + a[2 * third:], b[:third] + b[2 * third:]
        parameters = max(parameters, largest(a, b))
    return parameters, keys


def curve(run):
    """(step, mean loss) of every validation, as the stage's record has it."""
    record = json.loads((run.folder / "stages" / "teacher.json").read_text())
    found = [(entry["step"], entry["loss"]["ce"]) for entry in record["result"]["curve"]]
    expect([step for step, _ in found] == [15, 30, 45], f"validations at {found}")
    return [loss for _, loss in found]


def check(decant, undisturbed, first, second, text=TEXT):
    what = f"{first} to {second} ranks" + (", gru4rec" if text is RECURRENT else "")
    run = Run(decant, what.replace(" ", "-"), first, text)
    ended = watch(run.decant.start(*TRAIN, "--fault", f"step@{DIES_AT}:{first - 1}:kill", ranks=run.launched), first)
    expect(ended.code != 0, f"{what}: nobody died\n{ended.err}")
    run.decant.ok(*TRAIN, ranks=second)
    log = (run.folder / "log" / "rank-0.log").read_text()
    told = re.search(rf"teacher continues from step (\d+) \(saved by {first} ranks", log)
    expect(told and 0 < int(told[1]) <= DIES_AT, f"{what}: it did not continue:\n{log}")
    parameters, keys = gaps(run, undisturbed)
    losses = max(abs(a - b) / abs(b) for a, b in zip(curve(run), curve(undisturbed), strict=True))
    print(f"{what}: continued from step {told[1]}; parameters {parameters:.1e}, keys' biases {keys:.1e}, losses {losses:.1e}", flush=True)
    expect(parameters <= TOLERANCE, f"{what}: parameters differ by {parameters}")
    expect(keys <= KEY_BIAS_TOLERANCE, f"{what}: keys' biases differ by {keys}")
    expect(losses <= LOSS_TOLERANCE, f"{what}: an epoch's mean loss differs by {losses}")


def test(decant):
    if not have_mpirun():
        skip("no mpirun here")
    make_log(decant)
    decant.ok("import", "log.txt", "--out", "dataset")
    undisturbed = Run(decant, "undisturbed", 1, TEXT)
    undisturbed.decant.ok(*TRAIN)
    for first, second in CHANGES:
        check(decant, undisturbed, first, second)
    expect("gru4rec" in RECURRENT, "the other job has no other model")
    recurrent = Run(decant, "undisturbed-gru4rec", 1, RECURRENT)
    recurrent.decant.ok(*TRAIN)
    check(decant, recurrent, 2, 3, RECURRENT)


main(test)
