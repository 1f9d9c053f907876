"""Dashboards and alerts name metrics that there are; a real Prometheus scrapes a job of two ranks, and an alert fires."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from _job import ranks_of
from _support import TINY_JOB, expect, have_mpirun, main, skip

SOURCE = pathlib.Path(__file__).parents[2]
ALERTS = SOURCE / "monitoring/alerts.yml"
DASHBOARDS = sorted((SOURCE / "monitoring/grafana").glob("*.json"))


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def names_are_known():
    known = set(re.findall(r"^\| `(decant_\w+)", (SOURCE / "docs/metrics.md").read_text(), re.MULTILINE))
    expect(len(known) > 10, f"docs/metrics.md has {known}")
    expect(len(DASHBOARDS) == 3, f"dashboards: {DASHBOARDS}")
    for path in [ALERTS, *DASHBOARDS]:
        used = set(re.findall(r"\bdecant_\w+", path.read_text()))
        expect(used and used <= known, f"{path.name} asks for {sorted(used - known)}, which docs/metrics.md has not")
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        expect(len({panel["id"] for panel in panels}) == len(panels), f"{path.name}: two panels have one id")
        expect(all(target["expr"] for panel in panels for target in panel["targets"]), f"{path.name}: a panel asks nothing")


def promtool(*arguments, text=None, folder=None):
    result = subprocess.run(["promtool", *arguments], input=text, cwd=folder, capture_output=True, text=True)
    expect(result.returncode == 0, f"promtool {' '.join(arguments)}: {result.stdout}{result.stderr}")


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def wait_for(what, ask, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found := ask():
                return found
        except (OSError, ValueError):
            pass  # not up yet
        time.sleep(0.3)
    expect(False, f"{what}: not within {seconds} s")


class Prometheus:
    def __init__(self, decant, targets):
        # The rules as they are, but for their patience: seconds where they wait for minutes.
        rules = ALERTS.read_text().replace("> 600", "> 4").replace("for: 10m", "for: 1s").replace("for: 30m", "for: 1s")
        decant.write("alerts.yml", rules)
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["alerts.yml"],
                  "scrape_configs": [{"job_name": "decant", "file_sd_configs": [{"files": [str(targets)]}]}]}
        decant.write("prometheus.yml", json.dumps(config))
        promtool("check", "config", "prometheus.yml", folder=decant.folder)
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address={self.url[7:]}"],
            cwd=decant.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(self, expression):
        answer = json.loads(fetch(f"{self.url}/api/v1/query?query={urllib.parse.quote(expression)}"))
        expect(answer["status"] == "success", f"{expression}: {answer}")
        return answer["data"]["result"]


def expressions_of_dashboards():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield re.sub(r"\$__range", "1m", target["expr"]).replace("$run", "run").replace("$rank", "0").replace("$metric", "ndcg@10")


def a_job_is_scraped(decant):
    decant.ok("synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5)
    text = TINY_JOB.replace("monitoring: {enabled: false}", f"monitoring: {{port: {free_ports(1)[0]}}}")
    text = text.replace("train: {max_epochs: 1}}\nstudent", "train: {max_epochs: 1000000, patience: 0}}\nstudent")
    job = decant.start("run", decant.write("job.yaml", text), ranks=2)
    server = None
    try:
        targets = decant.path("run/metrics/targets.json")
        addresses = wait_for("targets.json", lambda: json.loads(targets.read_text())[0]["targets"])
        expect(len(addresses) == 2, f"two ranks serve {addresses}")
        wait_for("a step", lambda: "decant_step{" in fetch(f"http://{addresses[0]}/metrics"))
        for address in addresses:
            promtool("check", "metrics", text=fetch(f"http://{address}/metrics"))
        server = Prometheus(decant, targets)
        wait_for("both ranks' steps", lambda: len(server.query("rate(decant_samples_total[5s]) > 0")) == 2)
        for expression in expressions_of_dashboards():
            server.query(expression)  # an error for one that Prometheus cannot read
        expect(not server.query('ALERTS{alertname="DecantNoStep",alertstate="firing"}'), "an alert fires of a job that runs")
        stopped = ranks_of(job, 2)[-1]
        os.kill(stopped, signal.SIGSTOP)
        try:
            firing = wait_for("the alert", lambda: server.query('ALERTS{alertname="DecantNoStep",alertstate="firing"}'))
            expect({one["metric"]["run"] for one in firing} == {"run"}, str(firing))
        finally:
            os.kill(stopped, signal.SIGCONT)
    finally:
        if server:
            server.process.kill()
            server.process.wait()
        job.terminate()
        job.communicate(timeout=60)


def test(decant):
    names_are_known()
    if not shutil.which("promtool") or not shutil.which("prometheus"):
        skip("no prometheus and promtool here (Debian: apt-get install prometheus): rules and scraping were not tried")
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", "alerts_test.yml", folder=SOURCE / "tests/monitoring")
    if not have_mpirun():
        skip("no mpirun here")
    a_job_is_scraped(decant)


main(test)
