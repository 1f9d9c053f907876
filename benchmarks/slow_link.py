#!/usr/bin/env python3
"""Two hosts in network namespaces of this machine, a link between them that `tc` slows down, and mpirun across it: how
fast is the exchange, and which share of it does backward hide. Root only; needs ip and tc (iproute2).

  python3 benchmarks/slow_link.py build/release/decant [--rate 1gbit] [--steps 40]

The namespaces share the machine's cores, so times of computing are those of a busy machine; the link is as slow as told.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "hosts"))
from _hosts import TwoHosts, environment, run, why_not

# A deep model with few items: its gradients become ready one by one. A shallow one with many items: nearly all of its
# gradient is that of the item table, which is complete when backward ends.
MODELS = {
    "deep": {"items": 500, "model": "{type: sasrec, dim: 256, layers: 4, heads: 2, max_length: 50}"},
    "wide": {"items": 20000, "model": "{type: sasrec, dim: 128, layers: 1, heads: 1, max_length: 50}"},
}
JOB = """version: 1
run: {{folder: run-{name}, device: cpu, threads: 1}}
data: {{import: {{files: [log-{name}.txt]}}}}
batch: {{sequences: {sequences}}}
teacher: {{model: {model}, train: {{max_steps: {steps}, max_epochs: 1000, validate_epochs: 1000, checkpoint_steps: 0, patience: 0}}}}
monitoring: {{address: 127.0.0.1, port: 9470}}
"""


def counters(hosts):
    """Rank 0's metrics of the teacher; nothing before they are served."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9470/metrics', timeout=2).read().decode())"
    done = subprocess.run(["ip", "netns", "exec", hosts.spaces[0], sys.executable, "-c", read], text=True, capture_output=True)
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("decant_") and 'stage="teacher"' in line:
            found[line.split("{")[0]] = float(line.rsplit(" ", 1)[1])
    return found


def train(hosts, decant, name, model, steps, sequences):
    """A step's time and what it waited for, from the third step seen to the last."""
    folder = hosts.folder
    (folder / f"{name}.yaml").write_text(JOB.format(name=name, model=model, steps=steps, sequences=sequences))
    subprocess.run(["rm", "-rf", folder / f"run-{name}"], check=True)
    run(decant, "import", f"{name}.yaml", cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    job = subprocess.Popen(hosts.across(decant, "train-teacher", f"{name}.yaml"), cwd=folder, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, env=environment())
    first = last = {}
    while job.poll() is None:
        now = counters(hosts)
        now["at"] = now.get("decant_last_step_timestamp_seconds", 0)
        if now.get("decant_step", 0) >= 3 and "decant_exchange_seconds_total" in now:
            first = first or now
            last = now
        time.sleep(0.05)
    if job.returncode != 0 or not first or last["decant_step"] <= first["decant_step"]:
        sys.exit(f"the job ended with {job.returncode}, {len(last)} metrics were seen:\n{job.stdout.read()[-3000:]}")
    over = last["decant_step"] - first["decant_step"]

    def each(key):
        return (last[key] - first[key]) / over

    exchange, wait = each("decant_exchange_seconds_total"), each("decant_exchange_wait_seconds_total")
    return {"steps": int(over), "mb": each("decant_exchange_bytes_total") / 1e6, "step_ms": each("at") * 1e3,
            "exchange_ms": exchange * 1e3, "wait_ms": wait * 1e3, "hidden": 1 - wait / exchange}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decant")
    parser.add_argument("--rate", default="1gbit", help="of the slow link, as tc writes it")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--sequences", type=int, default=64, help="global batch")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # by way of what cleans up
    why = why_not()
    if why:
        sys.exit(why)
    decant = pathlib.Path(options.decant).resolve()
    with tempfile.TemporaryDirectory(prefix="decant_link_") as name, TwoHosts(name) as hosts:
        folder = hosts.folder
        for model, what in MODELS.items():
            run(decant, "synthesize", "--out", folder / f"log-{model}.txt", "--users", "4000", "--mean-length", "30", "--items",
                str(what["items"]), stdout=subprocess.DEVNULL)
        for rate in ("", options.rate):
            hosts.slow_down(rate)
            found = json.loads(run(*hosts.across(decant, "doctor", "--json", "--seconds", "6", "--most-mib", "16"), cwd=folder,
                                   stdout=subprocess.PIPE, env=environment()).stdout)
            small, large = found["all_reduce"][0], max(found["all_reduce"], key=lambda row: row["bytes"])
            print(f"link {rate or 'as it is'}: hosts {[row['host'] for row in found['ranks']]}, {small['median_us']} us for "
                  f"{small['bytes']} bytes, {large['busbw_gb_s']} GB/s (busbw) for {large['bytes']}", flush=True)
            for model, what in MODELS.items():
                row = train(hosts, decant, model, what["model"], options.steps, options.sequences)
                alone = row["mb"] / large["algbw_gb_s"]  # ms: as long as so many bytes take when nobody computes
                print(f"  {model}: {row['mb']:.1f} MB a step, {alone:.0f} ms alone; step {row['step_ms']:.0f} ms, on the way "
                      f"{row['exchange_ms']:.0f} ms, waited {row['wait_ms']:.0f} ms: {row['hidden']:.1%} hidden, "
                      f"{1 - row['wait_ms'] / alone:.1%} of the time alone saved (over {row['steps']} steps)", flush=True)


if __name__ == "__main__":
    main()
