"""The exported graphs in ONNX Runtime: decant's scores, on histories of any length at once; int8 as documented."""
import json
import pathlib
import subprocess
import sys

try:
    import numpy as np
    import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from _export import JOB, read_log, tensors, trained
from _support import expect, main


EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python" / "recommend_onnx.py"
sys.path.insert(0, str(EXAMPLE.parent))
import recommend_onnx  # noqa: E402


class Export(recommend_onnx.Recommender):
    """All three graphs of a folder, on histories of original ids."""

    def __init__(self, folder, mark=""):
        super().__init__(folder, int8=bool(mark))
        self.scorer = onnxruntime.InferenceSession(str(folder / f"scores{mark}.onnx"))

    def states(self, histories):
        return self.hidden([[self.ids[item] for item in history] for history in histories])

    def scores(self, hidden):
        return self.scorer.run(["scores"], {"hidden": hidden})[0]

    def best(self, hidden, k):
        return self.topk.run(["items", "scores"], {"hidden": hidden, "k": np.array([k])})


def scores_of_decant(decant, job, side, histories, ids):
    """[histories, items], by `decant recommend` of the whole catalogue."""
    where = {name: i for i, name in enumerate(ids)}
    text = "".join(json.dumps({"items": history}) + "\n" for history in histories)
    result = subprocess.run([decant.binary, "recommend", job, "--side", side, "--seen", "keep", "--k", str(len(ids)), "--json"],
                            cwd=decant.folder, input=text, text=True, capture_output=True, check=True)
    out = np.full((len(histories), len(ids)), np.nan)
    for row, line in enumerate(result.stdout.splitlines()):
        for entry in json.loads(line)["items"]:
            out[row, where[entry["item"]]] = entry["score"]
    expect(not np.isnan(out).any(), f"{side}: recommend left items out")
    return out


def integer_scores(folder, hidden):
    """The arithmetic that docs/export.md promises of int8 scores."""
    small, _ = tensors(folder / "model.int8.safetensors")
    (_, shape, values), (_, _, scales) = small["item.weight"], small["item.weight_scale"]
    scale = np.abs(hidden).max(1, keepdims=True) / np.float32(127)
    query = np.round(hidden / scale).astype(np.int64)
    products = query @ np.array(values, np.int64).reshape(shape).T
    return products.astype(np.float32) * scale * np.array(scales, np.float32)


def ndcg(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    ranks = (scores > own).sum(1) + ((scores == own).sum(1) - 1) // 2
    return float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())


def check(decant, job, side, name, rows, items):
    """One side of a job, exported into a folder of that name."""
    longs = [row for row in rows.values() if len(row) >= 3]
    histories = [row[:-1] for row in longs] + [row[:1] for row in longs[:20]]
    expect(len({min(len(history), 10) for history in histories}) > 3, "histories of few lengths tell little")
    folder = decant.path(name)
    decant.ok("export", job, "--side", side, "--to", name, "--int8")
    plain, wanted = Export(folder), scores_of_decant(decant, job, side, histories, items)
    hidden = plain.states(histories)
    found = plain.scores(hidden)
    worst = np.abs(found - wanted).max()
    expect(worst < 1e-4 and np.abs(wanted).max() > 0.1, f"{name}: ONNX Runtime differs from decant by {worst}")
    print(f"{name}: largest difference {worst:.1e} of scores up to {np.abs(wanted).max():.2f}")

    # The filling does not matter, nor who else is in the batch.
    for row in (0, len(histories) - 1):
        alone = plain.states(histories[row:row + 1])
        expect(np.abs(alone - hidden[row]).max() < 1e-5, f"{name}: history {row} alone has another state")
    best, scores = plain.best(hidden, 7)
    expect((scores == -np.sort(-found, 1)[:, :7]).all() and (np.take_along_axis(found, best, 1) == scores).all(),
           f"{name}: topk.onnx is not the best of scores.onnx")

    small = Export(folder, ".int8")
    rounded = small.states(histories)
    quick = small.scores(rounded)
    expect(np.abs(quick - integer_scores(folder, rounded)).max() < 1e-6, f"{name}: int8 scores are not those documented")
    expect(0 < np.abs(quick - wanted).max() < 0.1, f"{name}: int8 differs by {np.abs(quick - wanted).max()}")
    expect((small.best(rounded, 7)[1] == -np.sort(-quick, 1)[:, :7]).all(), f"{name}: topk.int8.onnx")
    where = {name: i for i, name in enumerate(items)}
    told = json.loads((folder / "spec.json").read_text())["quality"]["int8"]["test"]["ndcg@10"]
    mine = ndcg(quick[:len(longs)], np.array([where[row[-1]] for row in longs]))
    expect(abs(told - mine) < 2e-3, f"{name}: int8 ndcg@10 {told} by decant, {mine} by ONNX Runtime")


# Another family: a recurrent student of the same teacher.
RECURRENT = JOB.replace("{type: sasrec, dim: 8, layers: 2, heads: 2, max_length: 10, table: {kind: projected, first: teacher, save: parts}}",
                        "{type: gru4rec, dim: 8, hidden: 12, layers: 2, max_length: 10}").replace("folder: run,", "folder: recurrent,")


def test(decant):
    job = trained(decant)
    rows, items = read_log(decant.path("log.txt"))
    for side in ("student", "teacher"):
        check(decant, job, side, side, rows, items)
    expect("gru4rec" in RECURRENT and "folder: recurrent" in RECURRENT, "the job has no other student")
    recurrent = decant.write("recurrent.yaml", RECURRENT)
    decant.ok("run", recurrent)
    check(decant, recurrent, "student", "gru", rows, items)

    # As a user would: the answers of decant recommend.
    lines = "".join(f"{user} {' '.join(row)} nothing\n" for user, row in list(rows.items())[:40]) + "new nothing\n"
    ask = lambda *command: [line.split("\t") for line in subprocess.run(
        command, cwd=decant.folder, input=lines, text=True, capture_output=True, check=True).stdout.splitlines()]
    theirs, ours = ask(sys.executable, EXAMPLE, "student", "--k", "5"), ask(decant.binary, "recommend", job, "--k", "5")
    expect([a[:2] for a in theirs] == [b[:2] for b in ours] and len(ours) == 200, "recommend_onnx.py answers otherwise")
    expect(all(abs(float(a[2]) - float(b[2])) < 1e-4 for a, b in zip(theirs, ours)), "recommend_onnx.py scores otherwise")


main(test)
