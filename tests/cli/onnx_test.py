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


def check(decant, job, side, name, rows, items, strangers=False):
    """One side of a job, exported into a folder of that name. `strangers`: its report knows more of users than is asked here."""
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
    expect(strangers or abs(told - mine) < 2e-3, f"{name}: int8 ndcg@10 {told} by decant, {mine} by ONNX Runtime")


# Another family: a recurrent student of the same teacher.
RECURRENT = JOB.replace("{type: sasrec, dim: 8, layers: 2, heads: 2, max_length: 10, table: {kind: projected, first: teacher, save: parts}}",
                        "{type: gru4rec, dim: 8, hidden: 12, layers: 2, max_length: 10}").replace("folder: run,", "folder: recurrent,")


# Students with inputs beside the items: those of items become part of the vectors, those of users inputs of the graph.
WITH_COLUMNS = """    items: {files: [items.csv], columns: {kind: {separator: '|'}, price: {kind: number}}}
    users: {files: [users.csv], columns: {age: {kind: number}, towns: {separator: '|'}}}
"""


def check_columns(decant, rows, items):
    kinds = [f"c{i % 5}|even" if i % 2 == 0 else f"c{i % 5}" for i in range(len(items))]
    decant.write("items.csv", "id,kind,price\n" + "".join(f"{item},{kinds[i]},{i * 1.5}\n" for i, item in enumerate(items)))
    towns = [("Ulm", "Ulm|Bonn", "")[i % 3] for i in range(len(rows))]
    decant.write("users.csv", "id,age,towns\n" + "".join(f"{user},{20 + i % 40},{towns[i]}\n" for i, user in enumerate(rows)))
    for kind, more in (("sasrec", "layers: 2, heads: 2"), ("gru4rec", "hidden: 12, layers: 1")):
        job = decant.write(f"columns-{kind}.yaml", JOB.replace("folder: run,", f"folder: columns-{kind},").replace(
            "data: {import: {files: [log.txt]}}\n", "data:\n  import:\n    files: [log.txt]\n" + WITH_COLUMNS).replace(
            "{type: sasrec, dim: 8, layers: 2, heads: 2, max_length: 10, table: {kind: projected, first: teacher, save: parts}}",
            f"{{type: {kind}, dim: 8, {more}, max_length: 10, columns: [user.age, item.kind, user.towns, item.price]}}"))
        decant.ok("run", job)
        check(decant, job, "student", f"columns-{kind}-student", rows, items, strangers=True)
        folder = decant.path(f"columns-{kind}-student")
        columns = json.loads((folder / "spec.json").read_text())["columns"]
        expect(set(columns) == {"user.age", "user.towns"} and set(columns["user.towns"]["codes"]) == {"Ulm", "Bonn"}, str(columns))
        age, codes = columns["user.age"], columns["user.towns"]["codes"]
        users = list(rows)[:30]
        given = {"user.age": np.array([(20 + i % 40 - age["mean"]) / age["deviation"] for i in range(30)], np.float32),
                 "user.towns": np.array([[codes["Ulm"], 0] if i % 3 == 0 else [codes["Ulm"], codes["Bonn"]] if i % 3 == 1 else [0, 0]
                                         for i in range(30)])}
        export, where = Export(folder), {name: i for i, name in enumerate(items)}
        found = export.scores(export.hidden([[where[item] for item in rows[user]] for user in users], given))
        text = "".join(f"{user} {' '.join(rows[user])}\n" for user in users)
        said = subprocess.run([decant.binary, "recommend", job, "--seen", "keep", "--k", str(len(items))], cwd=decant.folder,
                              input=text, text=True, capture_output=True, check=True).stdout
        wanted = np.full(found.shape, np.nan)
        for line in said.splitlines():
            user, item, score = line.split("\t")
            wanted[users.index(user), where[item]] = float(score)
        worst = np.abs(found - wanted).max()
        expect(worst < 1e-4, f"{kind} with columns of users: ONNX Runtime differs from decant by {worst}")
        unknown = export.scores(export.hidden([[where[item] for item in rows[user]] for user in users]))
        expect(np.abs(unknown - wanted).max() > 1e-3, f"{kind}: the columns of users change nothing")


WITH_EVENTS = """data:
  import:
    files: [events.csv]
    format: interactions
    interactions: {event: kind, keep_time: true, context: {price: {kind: number, transform: log}}}
"""


def coded(columns, histories, window):
    """Events as docs/export.md has their inputs: of the last `window` ones of each history, filled up on the right."""
    longest = max(len(history[-window:]) for history in histories)
    out = {name: np.zeros((len(histories), longest), np.float32 if name == "event.price" else np.int64) for name in columns}
    price = columns["event.price"]
    for row, history in enumerate(histories):
        for place, event in list(enumerate(history))[-window:]:
            at = row, place - max(0, len(history) - window)
            out["event.kind"][at] = columns["event.kind"]["codes"].get(event["event"], columns["event.kind"]["other"])
            out["event.price"][at] = (np.log1p(event["price"]) - price["mean"]) / price["deviation"]
            out["event.gap"][at] = 0 if place == 0 else min(41, 2 + int(np.log2(1 + event["time"] - history[place - 1]["time"])))
    return out


def check_events(decant, rows, items):
    """Columns of events: recommend is told them in its lines, the graph as codes and numbers."""
    kinds, histories = ["view", "cart", "buy"], []
    lines = ["user,item,time,kind,price"]
    for u, (user, row) in enumerate(rows.items()):
        histories.append([{"item": item, "time": 1000 * u + 3 ** min(i, 14) + i, "event": kinds[(u + i) % 3], "price": (u + 7 * i) % 10 / 2}
                          for i, item in enumerate(row)])
        lines += [f"{user},{event['item']},{event['time']},{event['event']},{event['price']}" for event in histories[-1]]
    decant.write("events.csv", "\n".join(lines) + "\n")
    job = decant.write("events.yaml", JOB.replace("folder: run,", "folder: events,").replace(
        "data: {import: {files: [log.txt]}}\n", WITH_EVENTS).replace(
        "{type: sasrec, dim: 8, layers: 2, heads: 2, max_length: 10, table: {kind: projected, first: teacher, save: parts}}",
        "{type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10, columns: [event.kind, event.price, event.gap]}"))
    decant.ok("run", job)
    decant.ok("export", job, "--to", "events-student")
    histories = histories[:40]
    histories[0][-1]["event"] = "return"  # a kind that training has not seen
    export, where = Export(decant.path("events-student")), {name: i for i, name in enumerate(items)}
    columns = json.loads(decant.path("events-student/spec.json").read_text())["columns"]
    numbers = [[where[event["item"]] for event in history] for history in histories]
    found = export.scores(export.hidden(numbers, coded(columns, histories, 10)))
    wanted = scores_of_decant(decant, job, "student", histories, items)
    worst = np.abs(found - wanted).max()
    expect(worst < 1e-4, f"with columns of events: ONNX Runtime differs from decant by {worst}")
    expect(np.abs(export.scores(export.hidden(numbers)) - wanted).max() > 1e-3, "the columns of events change nothing")
    print(f"with columns of events: largest difference {worst:.1e}")


def test(decant):
    job = trained(decant)
    rows, items = read_log(decant.path("log.txt"))
    for side in ("student", "teacher"):
        check(decant, job, side, side, rows, items)
    expect("gru4rec" in RECURRENT and "folder: recurrent" in RECURRENT, "the job has no other student")
    recurrent = decant.write("recurrent.yaml", RECURRENT)
    decant.ok("run", recurrent)
    check(decant, recurrent, "student", "gru", rows, items)
    check_columns(decant, rows, items)
    check_events(decant, rows, items)

    # As a user would: the answers of decant recommend.
    lines = "".join(f"{user} {' '.join(row)} nothing\n" for user, row in list(rows.items())[:40]) + "new nothing\n"
    ask = lambda *command: [line.split("\t") for line in subprocess.run(
        command, cwd=decant.folder, input=lines, text=True, capture_output=True, check=True).stdout.splitlines()]
    theirs, ours = ask(sys.executable, EXAMPLE, "student", "--k", "5"), ask(decant.binary, "recommend", job, "--k", "5")
    expect([a[:2] for a in theirs] == [b[:2] for b in ours] and len(ours) == 200, "recommend_onnx.py answers otherwise")
    expect(all(abs(float(a[2]) - float(b[2])) < 1e-4 for a, b in zip(theirs, ours)), "recommend_onnx.py scores otherwise")


main(test)
