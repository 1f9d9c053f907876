"""Who may read the metrics (monitoring.auth_file), and where they are pushed (monitoring.pushgateway): to a real Pushgateway where
there is one."""
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.parse

from _metrics import fetch, free_ports, status, wait_for
from _support import TINY_JOB, expect, have_mpirun, main

SECRET = "reader:open:sesame"
RANKS = 2 if have_mpirun() else 0


def job(decant, name, **monitoring):
    text = TINY_JOB.replace("folder: run", f"folder: {name}")
    return decant.write(f"{name}.yaml", text.replace("monitoring: {enabled: false}", f"monitoring: {json.dumps(monitoring)}"))


def secret_file(decant, name, text=SECRET, rights=0o600):
    path = decant.write(name, text + "\n")
    os.chmod(path, rights)
    return path


def files_are_refused(decant):
    for name, text, rights, says in (
            ("open", SECRET, 0o644, "chmod 600"), ("group", SECRET, 0o640, "chmod 600"), ("wordless", "reader", 0o600, "user:password")):
        for key in ("auth_file", "push_auth_file"):
            path = secret_file(decant, name, text, rights)
            said = decant.fails(2, "run", job(decant, "refused", pushgateway="http://127.0.0.1:1", **{key: path}), says=[f"monitoring.{key}", path, says])
            expect("sesame" not in said, said)
    decant.fails(2, "run", job(decant, "refused", auth_file="nowhere"), says=["monitoring.auth_file", "nowhere", "No such file"])
    decant.fails(2, "run", job(decant, "refused", pushgateway="gateway:9091"), says=["monitoring.pushgateway", "http://host:9091"])
    said = decant.fails(2, "run", job(decant, "refused", pushgateway="http://reader:sesame@gateway"), says=["push_auth_file"])
    expect("sesame" not in said, said)
    expect(not decant.path("refused").exists(), "a job that was refused has made a run folder")


def readers_are_asked(decant):
    path = job(decant, "asked", port=free_ports(1)[0], address="0.0.0.0", auth_file=secret_file(decant, "secret"))
    running = decant.start("run", path, "--set", "teacher.train.max_epochs=1000000", "--set", "teacher.train.patience=0", ranks=RANKS)
    try:
        found = decant.path("asked/metrics/targets.json")
        targets = wait_for("targets.json", lambda: json.loads(found.read_text())[0]["targets"])
        expect(len(targets) == max(RANKS, 1) and not any("0.0.0.0" in one for one in targets), f"targets {targets}")
        for url in (f"http://{one}/metrics" for one in targets):
            wait_for("a step", lambda: "decant_step{" in fetch(url, SECRET))
            answers = [status(url, one) for one in (None, "reader:wrong", "other:open:sesame", SECRET)]
            expect(answers == [401, 401, 401, 200], f"{url}: {answers}")
    finally:
        running.terminate()
        running.communicate(timeout=60)
    for written in decant.path("asked").rglob("*"):
        if written.is_file():
            expect(b"sesame" not in written.read_bytes(), f"{written} holds the password")


class FakeGateway(http.server.BaseHTTPRequestHandler):
    """Keeps the last body of each path."""

    def do_PUT(self):
        self.server.groups[self.path] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.count += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def groups_of_ranks(groups):
    """Checks the labels of each group, and returns rank -> text."""
    found = {}
    for path, text in groups.items():
        match = re.fullmatch(r"/metrics/job@base64/bmlnaHRseQ==/instance@base64/[\w=-]+/run@base64/cHVzaGVk/rank/(\d)", urllib.parse.unquote(path))
        expect(match, f"a group's path: {path}")
        found[int(match[1])] = text
    return found


def pushes_to_a_server_of_ours(decant):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeGateway)
    server.groups, server.count = {}, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    decant.ok("run", job(decant, "pushed", enabled=False, pushgateway=url, push_job="nightly", push_seconds=0.2),
              "--set", "student.train.max_epochs=200", "--set", "student.train.patience=0", ranks=RANKS)
    found = groups_of_ranks(server.groups)
    expect(sorted(found) == list(range(max(RANKS, 1))), f"groups of ranks {sorted(found)}")
    for rank, text in found.items():
        expect(re.search(rf'decant_last_success_timestamp_seconds{{rank="{rank}",run="pushed"', text), f"rank {rank} has not pushed at its end:\n{text}")
        expect(re.search(rf'decant_samples_total{{rank="{rank}",run="pushed",stage="student"}} \d', text), text)
    expect(server.count > len(found), f"{server.count} pushes of {len(found)} ranks: none on the interval")
    server.shutdown()


def pushes_to_a_pushgateway(decant):
    program = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if not program:
        print("no Pushgateway here (Debian: apt-get install prometheus-pushgateway): pushed to a server of our own only")
        return
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    server = subprocess.Popen([program, f"--web.listen-address={url[7:]}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the Pushgateway", lambda: fetch(f"{url}/metrics"))
        for name in ("pushed", "other"):
            decant.ok("run", job(decant, name, enabled=False, pushgateway=url), "--set", "run.seed=2", ranks=RANKS)
        text = fetch(f"{url}/metrics")
        for run in ("pushed", "other"):
            for rank in range(max(RANKS, 1)):
                series = re.findall(rf'^decant_last_success_timestamp_seconds{{(.*rank="{rank}",run="{run}".*)}} \S+$', text, re.MULTILINE)
                expect(len(series) == 1 and 'job="decant"' in series[0] and f'instance="' in series[0] and decant.folder.name in series[0],
                       f"{run}, rank {rank}: {series}\n{text}")
        failed = re.findall(r"^push_failure_time_seconds{.*} ([^0]\S*)$", text, re.MULTILINE)
        expect(not failed, f"the Pushgateway refused pushes: {text}")
        if shutil.which("promtool"):
            ours = "".join(line + "\n" for line in text.splitlines() if re.match(r"(# (HELP|TYPE) )?decant_", line))
            result = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, text=True)
            expect(result.returncode == 0, f"promtool check metrics: {result.stdout}{result.stderr}")
    finally:
        server.kill()
        server.wait()


def a_gateway_that_is_not_there_costs_nothing(decant):
    began = time.monotonic()
    result = decant.run("run", job(decant, "alone", pushgateway=f"http://127.0.0.1:{free_ports(1)[0]}", port=free_ports(1)[0], push_seconds=0.2), ranks=RANKS)
    expect(result.returncode == 0, f"exit code {result.returncode}: {result.stderr[-2000:]}")
    expect(result.stderr.count("metrics are not pushed") == 1, f"one warning was expected:\n{result.stderr}")
    for log in sorted(decant.path("alone/log").glob("*.log")):
        expect(log.read_text().count("metrics are not pushed") == 1, f"{log.name}: {log.read_text()}")
    expect(time.monotonic() - began < 60, "the job took a minute")


def test(decant):
    decant.ok("synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5)
    files_are_refused(decant)
    readers_are_asked(decant)
    pushes_to_a_server_of_ours(decant)
    pushes_to_a_pushgateway(decant)
    a_gateway_that_is_not_there_costs_nothing(decant)


main(test)
