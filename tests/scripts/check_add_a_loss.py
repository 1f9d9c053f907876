#!/usr/bin/env python3
"""check_add_a_loss.py CMAKE BUILD_DIR PAGE: follows docs/add_a_loss.md. The files that the page shows are written outside
the source tree, built against an installed decant, and a small job is run with the losses that the page names.
"""
import pathlib
import re
import shutil
import subprocess
import sys

JOB = """version: 1
run: {folder: run, device: cpu, threads: 1}
data: {import: {files: [log.txt]}}
batch: {sequences: 32}
teacher: {gate: warn, model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
student: {model: {type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
labels: {k: 20}
monitoring: {enabled: false}
"""


def block(page, language, after):
    """The first fenced block of a language after a text."""
    found = re.search(rf"{re.escape(after)}.*?\n```{language}\n(.*?)```", page, re.DOTALL)
    if not found:
        sys.exit(f"FAILED: the page has no {language} block after '{after}'")
    return found.group(1)


def run(*command, cwd=None):
    result = subprocess.run([str(c) for c in command], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        sys.exit(f"FAILED: {' '.join(map(str, command))}: exit code {result.returncode}\n{result.stdout[-4000:]}")
    return result.stdout


def main():
    cmake, build, page = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text()
    work = build / "tests" / "add_a_loss"
    shutil.rmtree(work, ignore_errors=True)
    source = work / "own_loss"
    source.mkdir(parents=True)
    (source / "list_mle.cpp").write_text(block(page, "cpp", "`trainer/losses/list_mle.cpp`:"))
    (source / "main.cpp").write_text(block(page, "cpp", "`main.cpp`:"))
    (source / "CMakeLists.txt").write_text(block(page, "cmake", "`CMakeLists.txt`:"))
    run(cmake, "--install", build, "--prefix", work / "install")
    run(cmake, "-S", source, "-B", work / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={work / 'install'}",
        "-DCMAKE_BUILD_TYPE=Release")
    run(cmake, "--build", work / "build")
    program = work / "build" / "own_loss"
    if "list_mle" not in run(program, "config", "--markdown"):
        sys.exit("FAILED: `config` does not know the loss")
    (work / "job.yaml").write_text(JOB + block(page, "yaml", "Now a job file can say"))
    run(program, "synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5, cwd=work)
    run(program, "run", "job.yaml", cwd=work)
    if '"list_mle"' not in (work / "run" / "report.json").read_text():
        sys.exit("FAILED: the report knows nothing of the loss")
    shutil.rmtree(work)
    print("passed")


if __name__ == "__main__":
    main()
