"""Two hosts that a cable joins: training across it comes to the same bits as on one host. The cable is pulled out in the
middle: the ranks on both sides end in time and say who is gone, and once it is back the same command goes on."""
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from _hosts import KEEPALIVE, NAMES, TwoHosts, environment, why_not
from _job import BOUND_SECONDS, JOB, Run, make_log, own_lines
from _support import Failed, expect, main, skip

LONG = JOB.replace("max_steps: 12, checkpoint_steps: 5", "max_steps: 300, checkpoint_steps: 20")
MPIRUN_SECONDS = 15  # until mpirun has seen, too, that the other host is gone: 5 s of silence and five probes
TRAIN = ("train-teacher", "job.yaml", "--set", "data.dataset=../dataset")


def start(hosts, run, flags=()):
    files = [open(run.decant.path(name), "w") for name in ("out", "err")]
    return subprocess.Popen(hosts.across(run.decant.binary, *TRAIN, flags=flags), cwd=run.decant.folder, stdin=subprocess.DEVNULL,
                            stdout=files[0], stderr=files[1], env=environment())


def said(run):
    return run.decant.path("err").read_text(errors="replace")


def weights(run):
    return (run.folder / "teacher" / "weights.safetensors").read_bytes()


def wait_until(condition, what, run, seconds):
    """Seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds} s\n{said(run)[-3000:]}")
        time.sleep(0.05)
    return time.monotonic() - began


def cut(hosts, run):
    """The cable is pulled out after the first checkpoints."""
    process = start(hosts, run, KEEPALIVE)
    checkpoints = run.folder / "teacher" / "checkpoints"
    wait_until(lambda: process.poll() is not None or any(checkpoints.glob("step-*")), "a checkpoint", run, 60)
    expect(process.poll() is None, f"the job ended before its link was cut\n{said(run)[-3000:]}")
    name = pathlib.Path(run.decant.binary).name
    expect(all(len(hosts.processes(host, name)) == 1 for host in (0, 1)), "not a rank on each host")
    hosts.set_link("down")
    began = time.monotonic()
    wait_until(lambda: not hosts.processes(0, name) and not hosts.processes(1, name), "both ranks end", run, BOUND_SECONDS)
    ranks = time.monotonic() - began
    try:
        code = process.wait(MPIRUN_SECONDS - ranks)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Failed(f"mpirun runs {MPIRUN_SECONDS} s after the link was cut\n{said(run)[-3000:]}")
    seconds = time.monotonic() - began
    for host in (0, 1):
        hosts.kill(host)  # mpirun's daemon over there, whom nobody could tell
    hosts.set_link("up")

    expect(code == 4, f"mpirun ended with {code}, expected 4\n{said(run)[-3000:]}")
    gone = r"\[rank {}/2 {}\] rank {} \({}, process \d+\) is gone: when last heard of, [0-9.]+ s ago, it was [^;]*; rank {} is in [^;]*teacher"
    lines = own_lines(said(run))
    expect(len(lines) == 1 and re.search(gone.format(0, *NAMES[:1], 1, NAMES[1], 0), lines[0]), f"not the line of rank 0:\n{said(run)}")
    log = (run.folder / "log" / "rank-1.log").read_text()
    expect(re.search(gone.format(1, NAMES[1], 0, NAMES[0], 1).split(r"\] ")[1], log) and "ended by the watchdog with code 4" in log,
           f"rank 1, on the other side, logged\n{log[-3000:]}")
    print(f"link cut: the ranks ended after {ranks:.1f} s, mpirun after {seconds:.1f} s with code {code}: {lines[0]}", flush=True)


def test(decant):
    why = why_not()
    if why:
        skip(why)
    make_log(decant)
    decant.ok("import", "log.txt", "--out", "dataset")
    one = Run(decant, "one", 2, LONG)
    one.decant.ok(*TRAIN, ranks=2)
    with TwoHosts(decant.folder) as hosts:
        told = subprocess.run(hosts.across(decant.binary, "doctor", "--json", "--seconds", "0.3"), cwd=decant.folder, text=True,
                              capture_output=True, env=environment(), timeout=120)
        expect(told.returncode == 0, f"doctor ended with {told.returncode}\n{told.stderr[-3000:]}")
        found = [row["host"] for row in json.loads(told.stdout)["ranks"]]
        expect(found == list(NAMES), f"the ranks sit on {found}")

        two = Run(decant, "two", 2, LONG)
        cut(hosts, two)
        process = start(hosts, two)
        process.wait(200)
        expect(process.returncode == 0, f"continued, it ended with {process.returncode}\n{said(two)[-3000:]}")
        expect("continues from step" in (two.folder / "log" / "rank-0.log").read_text(), "it began anew")
    expect(weights(two) == weights(one), "two hosts did not come to the bits of one")


main(test)
