"""import: splits by dates and files, columns of events, and a job that trains on a split by dates with weighted targets."""
import json

from _support import expect, main

JOB = """version: 1
run: {folder: %s, seed: 3, device: cpu, threads: 1}
data:
  import:
    format: interactions
    files: [log.csv]
    split: temporal
    valid_from: "60"
    test_from: "80"
    interactions: {event: kind, event_weights: [%s]}
batch: {sequences: 32}
teacher:
  gate: warn
  model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}
  train: {max_steps: 8, patience: 0}
student:
  model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}
  train: {max_steps: 8, patience: 0}
labels: {k: 5, temperatures: [1]}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 1}}
monitoring: {enabled: false}
"""


def log():
    lines = ["user,item,time,kind,price"]
    for user in range(120):
        for i in range(10):
            time = user % 7 + 10 * i
            lines.append(f"u{user},i{(user * 3 + i * i) % 40},{time},{'view' if (user + i) % 3 else 'buy'},{user % 5 - 1}")
    return "\n".join(lines) + "\n"


def test(decant):
    decant.write("log.csv", log())
    flags = ["--format", "interactions", "--event", "kind"]
    dates = ["--split", "temporal", "--valid-from", 60, "--test-from", 80]
    decant.ok("import", *flags, *dates, "--out", "d", "--keep-time", "true", "--memory", "64MiB",
              "--context", "{price: {kind: number, negative: drop}}", "log.csv")
    info = json.loads(decant.ok("inspect", "d", "--json"))
    expect((info["split"], info["version"], info["verified"]) == ("temporal", 2, True), f"inspect: {info}")
    expect(info["columns"] == ["event.kind (category, 4 codes)", "event.price (number)", "event.time (time)"], f"columns: {info}")
    expect(info["rows"] == 96 and info["test_targets"] == 96, f"negative prices, or targets: {info}")

    decant.write("valid.csv", "user,item,time\nu1,i1,5\nu1,i2,6\n")
    decant.write("test.csv", "user,item,time\nu2,i1,5\n")
    decant.write("train.csv", "user,item,time\nu1,i3,1\nu2,i3,1\n")
    decant.ok("import", "--format", "interactions", "--out", "g", "--split", "given", "--valid-files", "[valid.csv]",
              "--test-files", "[test.csv]", "train.csv")
    info = json.loads(decant.ok("inspect", "g", "--json"))
    expect((info["split"], info["valid_targets"], info["test_targets"]) == ("given", 1, 1), f"inspect: {info}")

    decant.fails(2, "import", *flags, *dates[:-1], 900, "--out", "e", "log.csv", says=["no target for test", "1970-01-01"])
    decant.fails(2, "import", *flags, "--memory", "lots", "--out", "e", "log.csv", says=["'memory' is 'lots'"])
    decant.fails(3, "import", *flags, "--event-weights", "[buy=1]", "--out", "e", "log.csv", says=["log.csv: line", "'view'"])

    # A job from log to report; other weights of the targets are other models.
    weights = {}
    for run, given in (("one", "buy=1, view=1"), ("two", "buy=1, view=0.1")):
        decant.write(f"{run}.yaml", JOB % (run, given))
        decant.ok("run", f"{run}.yaml")
        weights[run] = decant.path(f"{run}/teacher/weights.safetensors").read_bytes()
        report = json.loads(decant.path(f"{run}/report.json").read_text())
        expect("student" in json.dumps(report), "no report")
    expect(weights["one"] != weights["two"], "the weights of events changed nothing")


main(test)
