"""Ports for the metrics that are taken: a job takes others, or goes on without, and says so; it never fails because of them."""
import contextlib
import json
import socket

from _job import JOB, Run, expect_same, make_log
from _support import Failed, expect, have_mpirun, main


def taken(first, count):
    """Holds ports as another process would."""
    held = contextlib.ExitStack()
    for port in range(first, first + count):
        one = held.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            return None
        one.listen()
    return held


def take(count):
    for first in range(21470, 32000, 97):
        if held := taken(first, count):
            return first, held
    raise Failed("no ports to take")


def served(run):
    """Ports of targets.json."""
    groups = json.loads((run.folder / "metrics/targets.json").read_text())
    return [int(target.rsplit(":", 1)[1]) for group in groups for target in group["targets"]]


def test(decant):
    make_log(decant)
    text = JOB.replace("monitoring: {enabled: false}", "monitoring: {enabled: true, port: PORT}")
    ranks = 2 if have_mpirun() else 1
    undisturbed = Run(decant, "undisturbed", ranks).run()

    first, held = take(ranks)
    with held:
        run = Run(decant, "taken", ranks, text.replace("PORT", str(first)))
        result = run.decant.run("run", "job.yaml", ranks=run.launched)
    expect(result.returncode == 0, f"exit code {result.returncode}\n{result.stderr[-3000:]}")
    expect(f"decant: port {first} is taken, metrics are served at 127.0.0.1:" in result.stderr, f"rank 0 said nothing:\n{result.stderr}")
    for rank, log in enumerate(run.logs()):
        expect(f"port {first + rank} is taken, metrics are served at" in log, f"rank {rank} logged\n{log[-1000:]}")
    ports = served(run)
    expect(len(set(ports)) == ranks and not set(ports) & set(range(first, first + ranks)), f"served at {ports}, taken from {first}")
    expect_same(run, undisturbed, "a taken port")

    # No port at all: those of an address that is another host's.
    run = Run(decant, "none", ranks, text.replace("PORT", f"{first}, address: 192.0.2.1"))
    result = run.decant.run("run", "job.yaml", ranks=run.launched)
    expect(result.returncode == 0, f"exit code {result.returncode}\n{result.stderr[-3000:]}")
    expect(f"decant: metrics are not served: nothing can listen at 192.0.2.1:{first}" in result.stderr, f"said:\n{result.stderr}")
    expect(served(run) == [], f"served at {served(run)}")
    expect_same(run, undisturbed, "no port")


main(test)
