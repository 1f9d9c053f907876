"""Students trained by decant, loaded into their twins in examples/python: a twin ranks as decant's report says."""
import math
import pathlib
import subprocess
import sys

try:
    import safetensors  # noqa: F401
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from _job import JOB, Run, make_log
from _support import expect, main

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"
sys.path.insert(0, str(EXAMPLES))
import gru4rec  # noqa: E402
import sasrec  # noqa: E402

# Scores closer than this may change places between float32 and the twin's float64.
CLOSE = 1e-5
LEARNT = JOB.replace("student:\n", "student:\n  optimizer: {type: adamw, lr: 0.01}\n")  # far from its start
RECURRENT = LEARNT.replace("{type: sasrec, dim: 4, layers: 1, heads: 1, max_length: 10}",
                           "{type: gru4rec, dim: 4, hidden: 6, layers: 2, max_length: 10}")
MAX_LENGTH = 10


def read_log(path):
    """Rows and items numbered by first appearance, as the import does it."""
    rows, items = {}, {}
    for line in path.read_text().splitlines():
        user, *events = line.split()
        rows.setdefault(user, []).extend(items.setdefault(event, len(items)) for event in events)
    return list(rows.values()), len(items)


@torch.no_grad()
def all_scores(model, rows, back):
    """Scores [rows, items] after all but the last `back` events."""
    windows = [torch.tensor(row[:-back][-MAX_LENGTH:]) for row in rows]
    ends = torch.tensor([0, *map(len, windows)]).cumsum(0)
    return model(torch.cat(windows), ends)[ends[1:] - 1] @ model.item.weight.T


def ndcg(all_rows, rows, back, unseen):
    """NDCG@10 of the target `back` events from the end: the lowest and the highest that close scores allow."""
    low = high = 0.0
    for row, scores in zip(rows, all_rows.clone()):
        target = row[-back]
        own = scores[target].item()
        if unseen:
            scores[list(set(row[:-back]) - {target})] = -torch.inf
        scores[target] = -torch.inf  # is itself no other item
        for close in (CLOSE, -CLOSE):
            rank = int((scores > own - close).sum())
            gain = 1 / math.log2(rank + 2) if rank < 10 else 0.0
            low, high = (low + gain, high) if close > 0 else (low, high + gain)
    return low / len(rows), high / len(rows)


def check(decant, twin, name, job):
    run = Run(decant, name, 1, job).run()
    weights = run.folder / "student" / "weights.safetensors"
    model, report = twin.load(weights).double(), run.report()
    rows, items = read_log(decant.path("log.txt"))
    expect(model.item.num_embeddings == items == report["dataset"]["items"], "another number of items")
    ranked = [row for row in rows if len(row) >= 3]
    scores = {back: all_scores(model, ranked, back) for back in (1, 2)}
    for split, back, unseen in (("valid", 2, False), ("test", 1, False), ("valid_unseen", 2, True),
                                ("test_unseen", 1, True)):
        low, high = ndcg(scores[back], ranked, back, unseen)
        told = report["student"]["metrics"][split]["ndcg@10"]
        print(f"{name}, {split}: the twin {low:.6f} to {high:.6f}, decant {told:.6f}")
        expect(high - low < 1e-4, f"{split}: too many scores are close to tell anything")
        expect(low - 1e-6 <= told <= high + 1e-6, f"{split}: ndcg@10 is {told} in the report, {low} to {high} by the twin")

    # As a user would: the ten best of a history.
    history = rows[5][:-1]
    said = subprocess.run([sys.executable, twin.__file__, weights, *map(str, history)], check=True, capture_output=True, text=True)
    best = [int(line.split("\t")[0]) for line in said.stdout.splitlines()]
    with torch.no_grad():
        window = torch.tensor(history[-MAX_LENGTH:])
        wanted = (model(window, torch.tensor([0, len(window)]))[-1] @ model.item.weight.T).topk(10).indices.tolist()
    expect(best == wanted, f"{name}: the twin printed {best}, expected {wanted}")


def test(decant):
    make_log(decant, users=1100)
    check(decant, sasrec, "sasrec", LEARNT)
    expect(RECURRENT != LEARNT, "the job has another student")
    check(decant, gru4rec, "gru4rec", RECURRENT)


main(test)
