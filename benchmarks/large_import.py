#!/usr/bin/env python3
"""Imports a large log with little memory, and says how long it takes and what memory it needs at its peak.

python3 benchmarks/large_import.py build/release/decant --rows 10000000 --memory 128MiB 2GiB
python3 benchmarks/large_import.py build/release/decant --memory 2GiB --ranks 0 1 2 --repeats 3

The log has users who come back all through it, so that no two lines of a user lie together: the worst case for the import. With
--ranks, mpirun starts so many (0: without mpirun), and the peak is that of the largest rank.
"""
import argparse
import os
import pathlib
import random
import shutil
import statistics
import tempfile
import time


def write_log(path, rows, users, items):
    draw = random.Random(1)
    with open(path, "w") as file:
        file.write("user,item,time\n")
        for first in range(0, rows, 100_000):
            count = min(100_000, rows - first)
            who = draw.choices(range(users), k=count)
            what = [int(items * draw.random() ** 3) for _ in range(count)]
            file.write("".join(f"u{u},i{i},{1_600_000_000 + first + n}\n" for n, (u, i) in enumerate(zip(who, what))))


def run(command):
    """Seconds, and MiB at the peak."""
    begin = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("decant")
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--users", type=int, default=500_000)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--memory", nargs="+", default=["128MiB", "2GiB"])
    options.add_argument("--ranks", nargs="+", type=int, default=[0])
    options.add_argument("--repeats", type=int, default=1)
    given = options.parse_args()
    decant = os.path.abspath(given.decant)
    mpirun = shutil.which("mpirun")
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.csv"
        write_log(log, given.rows, given.users, given.items)
        print(f"log: {given.rows} rows, {log.stat().st_size >> 20} MiB")
        print(f"decant --version: {run([decant, '--version'])[1]:.0f} MiB at the peak")
        cases = [(memory, ranks) for memory in given.memory for ranks in given.ranks]
        runs, hashes = {case: [] for case in cases}, set()
        for _ in range(given.repeats):
            for memory, ranks in cases:
                out = f"{folder}/dataset"
                launcher = [mpirun, "-n", str(ranks), "--bind-to", "none"] if ranks else []
                runs[memory, ranks].append(run([*launcher, decant, "import", "--format", "interactions", "--memory", memory,
                                                "--k-core", "5", "--out", out, str(log)]))
                hashes.add(pathlib.Path(out, "manifest.json").read_bytes())
        for memory, ranks in cases:
            seconds, peaks = zip(*runs[memory, ranks])
            by = f", {ranks} ranks of mpirun" if ranks else ""
            spread = f" ({min(seconds):.1f} to {max(seconds):.1f})" if given.repeats > 1 else ""
            print(f"--memory {memory}{by}: {statistics.median(seconds):.1f} s{spread}, {max(peaks):.0f} MiB at the peak")
        if len(hashes) != 1:
            raise SystemExit("the datasets differ")


main()
