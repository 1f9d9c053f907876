#!/usr/bin/env python3
"""parity_tables.py BUILD_DIR: runs the tests of N ranks against one at 1, 2, 3 and 4 ranks and prints the tables of
docs/parity.md: the largest difference of a parameter (but keys' biases) from that of one process."""
import collections
import os
import pathlib
import subprocess
import sys
import tempfile

RANKS = (1, 2, 3, 4)
LOSSES = "losses, "  # tables of one loss beside ce are called so, and end with the shape of their steps


class Gaps:
    """The largest of several measurements."""

    def __init__(self):
        self.parameters = self.keys = self.losses = 0.0

    def add(self, parameters, keys, losses):
        self.parameters, self.keys, self.losses = max(self.parameters, parameters), max(self.keys, keys), max(self.losses, losses)


def measure(build):
    """Lines (table, row, ranks, parameters, keys' biases, losses) of all tests."""
    with tempfile.TemporaryDirectory() as folder:
        record = pathlib.Path(folder) / "record"
        for ranks in RANKS:
            done = subprocess.run(
                ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", f"{build}/tests/multirank",
                 "--gtest_filter=*Parity*:ShardedJob*"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "DECANT_EXPECT_RANKS": str(ranks), "DECANT_PARITY_RECORD": str(record)})
            if done.returncode:
                sys.exit(f"{ranks} ranks: exit code {done.returncode}\n{done.stdout[-3000:]}")
        for line in record.read_text().splitlines():
            table, row, ranks, *gaps = line.split("\t")
            yield table, row, int(ranks), *map(float, gaps)


def tables_of(lines):
    """Table -> row -> ranks -> Gaps. Losses are summed up twice: by name over the shapes of steps, and by shape."""
    tables = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(Gaps)))
    for table, row, ranks, *gaps in lines:
        if table.startswith(LOSSES):
            tables["every loss, over all shapes"][row][ranks].add(*gaps)
            tables["shapes, over all losses"][table.removeprefix(LOSSES)][ranks].add(*gaps)
        else:
            tables[table][row][ranks].add(*gaps)
    return tables


def shown(value):
    return f"{value:.1e}".replace("e-0", "e-") if value else "0"


def print_rows(head, rows):
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def print_table(name, rows):
    print(f"\n{name}:\n")
    if all(len(cells) == 1 for cells in rows.values()):  # a row has its number of ranks in its name
        only = {row: next(iter(cells.values())) for row, cells in rows.items()}
        print_rows(["", "parameters", "keys' biases", "mean losses"],
                   [[row, shown(gaps.parameters), shown(gaps.keys), shown(gaps.losses)] for row, gaps in only.items()])
        return
    columns = [ranks for ranks in RANKS if any(ranks in cells for cells in rows.values())]

    def worst(what):
        return [shown(max((getattr(cells[n], what) for cells in rows.values() if n in cells), default=0)) for n in columns]

    lines = [[row, *(shown(cells[n].parameters) if n in cells else "" for n in columns)] for row, cells in rows.items()]
    lines.append(["*keys' biases, the largest*", *worst("keys")])
    if set(worst("losses")) != {"0"}:  # where they were compared
        lines.append(["*mean losses, the largest*", *worst("losses")])
    print_rows(["", *(f"{n} rank{'s' if n > 1 else ''}" for n in columns)], lines)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, rows in tables_of(measure(sys.argv[1])).items():
        print_table(name, rows)


if __name__ == "__main__":
    main()
