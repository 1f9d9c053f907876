"""Dashboards and alerts name metrics that there are; a real Prometheus scrapes a job of two ranks, and an alert fires."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

from _job import ranks_of
from _metrics import fetch, free_ports, wait_for
from _support import TINY_JOB, expect, have_mpirun, main, skip

SOURCE = pathlib.Path(__file__).parents[2]
ALERTS = SOURCE / "monitoring/alerts.yml"
DASHBOARDS = sorted((SOURCE / "monitoring/grafana").glob("*.json"))
RUNS = ("whole", "endless")
SECRET = "reader:open sesame"
# Labels of so small a job are made between two scrapes.
MAY_BE_EMPTY = {"Labels made, of those that are to be", "Label parts left"}


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


class Prometheus:
    """Scrapes RUNS below the test's folder."""

    def __init__(self, decant):
        # The rules as they are, but for their patience: seconds where they wait for minutes.
        rules = ALERTS.read_text().replace("> 600", "> 4").replace("for: 10m", "for: 1s").replace("for: 30m", "for: 1s")
        decant.write("alerts.yml", rules)
        for run in RUNS:
            decant.path(f"{run}/metrics").mkdir(parents=True)  # Prometheus watches folders that are there when it starts
        user, password = SECRET.split(":")
        config = {"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"}, "rule_files": ["alerts.yml"],
                  "scrape_configs": [{"job_name": "decant", "basic_auth": {"username": user, "password": password}, "file_sd_configs": [
                      {"files": [str(decant.path(f"{run}/metrics/targets.json")) for run in RUNS], "refresh_interval": "1s"}]}]}
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


def start(decant, name, *sets):
    secret = decant.write("secret", SECRET)
    os.chmod(secret, 0o600)
    text = TINY_JOB.replace("folder: run", f"folder: {name}")
    text = text.replace("monitoring: {enabled: false}", f"monitoring: {{port: {free_ports(1)[0]}, auth_file: secret}}")
    flags = [word for one in sets for word in ("--set", one)]
    return decant.start("run", decant.write(f"{name}.yaml", text), *flags, ranks=2)


def addresses_of(decant, name):
    found = wait_for("targets.json", lambda: json.loads(decant.path(f"{name}/metrics/targets.json").read_text())[0]["targets"])
    expect(len(found) == 2, f"two ranks serve {found}")
    return found


def end(job):
    job.terminate()
    job.communicate(timeout=60)


def the_documented_configurations_are_valid(decant):
    found = re.findall(r"^```yaml\n(scrape_configs:\n.*?)^```$", (SOURCE / "docs/metrics.md").read_text(), re.MULTILINE | re.DOTALL)
    expect(found, "docs/metrics.md has no scrape_configs")
    for text in found:
        decant.write("documented.yml", text)
        promtool("check", "config", "--syntax-only", "documented.yml", folder=decant.folder)


def with_loss_of(stage, address):
    """A scrape, when it has one."""
    text = fetch(f"http://{address}/metrics", SECRET)
    return re.search(rf'^decant_loss{{.*stage="{stage}"', text, re.MULTILINE) and text


def panels_have_data(decant, server):
    """Of a job from its beginning to its end, what every panel asks is understood, and answered."""
    sets = ["teacher.train.max_steps=8000", "student.train.max_steps=2000", "student.balance.kind=gradient_norm", "student.screening.least_probability=0.01"]
    sets += [f"{side}.train.{key}" for side in ("teacher", "student") for key in ("max_epochs=1000000", "patience=0", "validate_epochs=2")]
    began, job = time.time(), start(decant, "whole", *sets)
    try:
        addresses = addresses_of(decant, "whole")
        for stage in ("teacher", "control", "student"):
            for address in addresses:
                promtool("check", "metrics", text=wait_for(f"the {stage}'s loss", lambda: with_loss_of(stage, address)))
        out, err = job.communicate(timeout=120)
        expect(job.returncode == 0, err[-3000:])
    finally:
        if job.poll() is None:
            end(job)
    for path in DASHBOARDS:
        result = subprocess.run(
            [sys.executable, SOURCE / "examples/python/dashboard_preview.py", path, "--prometheus", server.url, "--out", decant.path("page.html"),
             "--set", "run=whole", "--last", str(time.time() - began)], capture_output=True, text=True)
        expect(result.returncode == 0, f"{path.name}: {result.stderr}")
        empty = set(re.findall("^(.*): 0 series$", result.stdout, re.MULTILINE))
        expect(empty <= MAY_BE_EMPTY, f"{path.name}: no data for {sorted(empty - MAY_BE_EMPTY)}\n{result.stdout}")
        expect(decant.path("page.html").read_text().count("<svg") == len(json.loads(path.read_text())["panels"]), f"{path.name}: panels are missing")


def a_stopped_rank_fires_an_alert(decant, server):
    job = start(decant, "endless", "teacher.train.max_epochs=1000000", "teacher.train.patience=0")
    try:
        addresses_of(decant, "endless")
        wait_for("both ranks' steps", lambda: len(server.query('rate(decant_samples_total{run="endless"}[5s]) > 0')) == 2)
        firing = 'ALERTS{alertname="DecantNoStep",alertstate="firing",run="endless"}'
        expect(not server.query(firing), "an alert fires of a job that runs")
        stopped = ranks_of(job, 2)[-1]
        os.kill(stopped, signal.SIGSTOP)
        try:
            wait_for("the alert", lambda: server.query(firing))
        finally:
            os.kill(stopped, signal.SIGCONT)
    finally:
        end(job)


def test(decant):
    names_are_known()
    if not shutil.which("promtool") or not shutil.which("prometheus"):
        skip("no prometheus and promtool here (Debian: apt-get install prometheus): rules and scraping were not tried")
    promtool("check", "rules", str(ALERTS))
    the_documented_configurations_are_valid(decant)
    promtool("test", "rules", "alerts_test.yml", folder=SOURCE / "tests/monitoring")
    if not have_mpirun():
        skip("no mpirun here")
    decant.ok("synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5)
    server = Prometheus(decant)
    try:
        panels_have_data(decant, server)
        a_stopped_rank_fires_an_alert(decant, server)
    finally:
        server.process.kill()
        server.process.wait()


main(test)
