"""Columns of items and users: joined, taken by models, kept from students; what a teacher-only column changes, and what not."""
import json
import math
import random
import shutil

from _export import read_log, tensors
from _support import expect, main

JOB = """version: 1
run: {folder: run, device: cpu, threads: 1}
data:
  import:
    files: [log.txt]
    items:
      files: [items.csv]
      columns:
        kind: {separator: '|'}
        price: {kind: number, transform: log}
        margin: {kind: number, teacher_only: true}
        title: {kind: text}
    users: {files: [users.csv], id: user, columns: {age: {kind: number}, town: {min_count: 100}}}
batch: {sequences: 32}
teacher:
  gate: warn
  model: {type: sasrec, dim: 16, layers: 1, heads: 1, max_length: 10, columns: [item.margin, item.kind, user.age]}
  train: {max_epochs: 1}
student:
  model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10, columns: [item.price, user.town, item.kind]}
  train: {max_epochs: 1}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 10}
monitoring: {enabled: false}
"""


def write_files(decant):
    """A log, and attributes of its items and users: a few are absent, empty, unknown or there twice."""
    decant.ok("synthesize", "--out", "log.txt", "--users", 200, "--items", 60, "--categories", 5)
    rows, items = read_log(decant.path("log.txt"))
    draw = random.Random(7)
    lines = ["id,kind,price,margin,title"]
    for item in items[1:]:
        number = int(item[1:])
        kinds = f"c{number % 5}|even" if number % 2 == 0 else f"c{number % 5}"
        lines.append(f"{item},{kinds},{'' if number % 10 == 3 else number * 1.5},{draw.random():.3f},The {item}")
    lines += ["nothing,c1,1,1,x", lines[1], ",c1,1,1,nobody"]
    decant.write("items.csv", "\n".join(lines) + "\n")
    towns = ["Ulm", "Bonn", "Kiel"]
    people = [f"{user},{20 + i % 50},{towns[i % 3] if i else 'Rome'}" for i, user in enumerate(rows) if i % 20 != 5]
    decant.write("users.csv", "\n".join(["user,age,town", *people]) + "\n")
    return rows, items


def check_import(decant, rows, items):
    summary = json.loads((decant.path("run/dataset/manifest.json")).read_text())["import"]["summary"]
    expect(summary["items_read"] == {"lines": len(items) + 2, "malformed_lines": 0, "without_id": 1, "unknown_ids": 1, "repeated": 1,
                                     "absent": 1},
           str(summary))
    expect(summary["users_read"]["absent"] == len([i for i in range(len(rows)) if i % 20 == 5]), str(summary))
    columns = json.loads(decant.ok("inspect", "run/dataset", "--json"))["columns"]
    expect(set(columns) == {"item.kind", "item.price", "item.margin", "item.title", "user.age", "user.town"}, str(columns))
    kind, price = columns["item.kind"], columns["item.price"]
    expect(kind["values"] == 2 + 6 and kind["width"] == 2 and kind["missing"] == 1, str(kind))
    empty = sum(int(item[1:]) % 10 == 3 for item in items[1:])
    expect(price["missing"] == empty + 1 and price["transform"] == "log" and price["deviation"] > 0, str(price))
    expect(columns["item.margin"]["role"] == "teacher_only" and columns["item.title"]["role"] == "shown", str(columns))
    expect(columns["user.town"]["values"] == 2 + 3, "Rome has one user, and is other")


def weights(decant, run, stage):
    return decant.path(f"{run}/{stage}/weights.safetensors").read_bytes()


def check_permuted(decant):
    """The teacher-only column of the items in another order: the teacher is another one; whatever has no teacher, and
    whoever has the same teacher, is the same to the bit."""
    lines = decant.path("items.csv").read_text().splitlines()
    fields = [line.split(",") for line in lines]
    margins = [row[3] for row in fields[1:]]
    for row, margin in zip(fields[1:], margins[7:] + margins[:7]):
        row[3] = margin
    decant.write("items.csv", "\n".join(",".join(row) for row in fields) + "\n")
    decant.ok("run", "job.yaml", "--set", "run.folder=permuted")
    decant.write("items.csv", "\n".join(lines) + "\n")
    expect(weights(decant, "run", "teacher") != weights(decant, "permuted", "teacher"), "the teacher does not read its column")
    expect(weights(decant, "run", "control") == weights(decant, "permuted", "control"), "the control reads a teacher-only column")
    expect(weights(decant, "run", "student") != weights(decant, "permuted", "student"), "the student learns nothing of the teacher")
    for run in ("run", "permuted"):
        decant.ok("run", "job.yaml", "--set", f"run.folder={run}-blind", "--set", f"data.dataset={run}/dataset",
                  "--set", "teacher.model.columns=[item.kind]")
    for stage in ("teacher", "student", "control"):
        expect(weights(decant, "run-blind", stage) == weights(decant, "permuted-blind", stage), f"{stage} reads a teacher-only column")

    # An export of the student says nothing of it, and does not depend on it.
    decant.ok("export", "run-blind", "--to", "a", "--set", "data.dataset=run/dataset")
    decant.ok("export", "permuted-blind", "--to", "b", "--set", "data.dataset=permuted/dataset")
    for path in decant.path("a").iterdir():
        data = path.read_bytes()
        expect(data == (decant.path("b") / path.name).read_bytes(), f"{path.name} depends on a teacher-only column")
        expect(b"margin" not in data, f"{path.name} speaks of a teacher-only column")


def check_answers(decant, rows):
    """recommend's answers for the test split have the report's hit rate: the users' columns count."""
    report = json.loads(decant.path("run/report.json").read_text())
    for side in ("teacher", "student"):
        longs = {user: row for user, row in rows.items() if len(row) >= 3}
        histories = "".join(f"{user} {' '.join(row[:-1])}\n" for user, row in longs.items())
        decant.write("histories.txt", histories)
        said = decant.ok("recommend", "job.yaml", "histories.txt", "--side", side, "--seen", "keep", "--k", 10)
        best = {}
        for line in said.splitlines():
            user, item, _ = line.split("\t")
            best.setdefault(user, []).append(item)
        hits = sum(row[-1] in best[user] for user, row in longs.items())
        told = report[side]["metrics"]["test"]["recall@10"]
        expect(abs(hits / len(longs) - told) < 1e-9, f"{side}: {hits / len(longs)} by recommend, {told} by the report")
        nobody = "".join(f"x{line}" for line in histories.splitlines(keepends=True))
        decant.write("nobody.txt", nobody)
        strangers = decant.ok("recommend", "job.yaml", "nobody.txt", "--side", side, "--seen", "keep", "--k", 10)
        expect(strangers.replace("x", "") != said, f"{side}: who asks does not count")


def check_refusals(decant):
    asks = ("run", "job.yaml", "--set")
    decant.fails(2, *asks, "student.model.columns=[item.margin]", says=["student.model.columns", "item.margin", "teacher_only"])
    missing = ["'teacher.model.columns'", "'item.colour' is no column", "item.kind", "user.age"]
    decant.fails(2, *asks, "teacher.model.columns=[item.colour]", says=missing)
    decant.fails(2, *asks, "teacher.model.columns=[item.knd]", says=["'item.knd' is no column", "did you mean 'item.kind'?"])
    decant.fails(2, *asks, "teacher.model.columns=[event.gap]", says=["'event.gap' is no column", "interactions.keep_time"])
    decant.fails(2, *asks, "teacher.model.columns=[event.kind]", says=["'event.kind' is no column", "interactions.event"])
    decant.write("planned.yaml", EVENTS)
    # Before anything is imported: a column of events that the import will not make, and one for teachers alone.
    decant.fails(2, "run", "planned.yaml", "--set", "teacher.model.columns=[event.prce]", says=["did you mean 'event.price'?"])
    decant.fails(2, "run", "planned.yaml", "--set", "student.model.columns=[event.price]", says=["event.price", "teacher_only"])
    expect(not decant.path("events").exists(), "a job that cannot run has imported")
    decant.fails(2, *asks, "teacher.model.columns=[item.colour]", "--set", "data.dataset=run/dataset", "--set", "run.folder=other",
                 says=missing)
    decant.fails(2, *asks, "teacher.model.columns=[colour]", says=["'colour' is no name of a column"])
    decant.fails(2, *asks, "teacher.model.columns=[item.kind, item.kind]", says=["item.kind", "twice"])
    decant.fails(2, *asks, "data.import.items.columns.price.missing=drop", says=["items.columns.price", "drop"])
    decant.fails(2, *asks, "data.import.items.columns.kind.transform=log", says=["items.columns.kind", "transform"])
    decant.fails(2, *asks, "data.import.items.files=[]", says=["items.columns", "no 'items.files'"])
    decant.fails(3, *asks, "data.import.items.columns.price.missing=stop", "--set", "run.folder=other", says=["items.csv: line", "item.price", "missing: stop"])
    # The dataset says it too, where the job imports nothing.
    decant.fails(2, *asks, "student.model.columns=[item.margin]", "--set", "data.dataset=run/dataset", "--set", "run.folder=other",
                 "--set", "data.import.items.columns.margin.teacher_only=false", says=["item.margin", "teacher_only"])
    said = decant.ok("import", "log.txt", "--out", "fine", "--set", "items.files=[items.csv]",
                     "--set", "items.columns={price: {kind: number}}")
    expect("lines about items; 1 without id; 1 unknown ids" in said, said)
    decant.write("bad.csv", "id,price\ni2,dear\n")
    decant.fails(3, "import", "log.txt", "--out", "bad", "--set", "items.files=[bad.csv]", "--set",
                 "items.columns={price: {kind: number}}", says=["bad.csv: line 2", "item.price", "'dear' is no finite number"])
    decant.fails(3, "import", "log.txt", "--out", "bad", "--set", "items.files=[bad.csv]", "--set", "items.columns={brand: {}}",
                 says=["bad.csv", "no column 'brand'", "id, price"])


def check_damage(decant):
    """Every byte of the columns counts: a flipped one is found by whoever reads the column."""
    shutil.copytree(decant.path("run/dataset"), decant.path("damaged"))
    path = decant.path("damaged/columns.h5")
    good = path.read_bytes()
    found = 0
    for at in range(0, len(good), max(1, len(good) // 40)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
        result = decant.run("inspect", "damaged", "--json")
        if result.returncode == 0:  # bytes of the file format that mean nothing
            expect(json.loads(result.stdout)["columns"] == json.loads(decant.ok("inspect", "run/dataset", "--json"))["columns"], "changed")
            continue
        expect(result.returncode == 3 and "columns.h5" in result.stderr, f"byte {at}: {result.stderr}")
        found += 1
    expect(found > 5, "no damage was found")
    path.write_bytes(good[:-1])
    decant.fails(3, "inspect", "damaged", says=["columns.h5", "cut short"])


# Events with a kind, a time and a price: the teacher takes all, the student the gaps. What follows which kind is planted.
EVENTS = """version: 1
run: {folder: events, device: cpu, threads: 1}
data:
  import:
    format: interactions
    files: [events.csv]
    interactions:
      event: kind
      event_weights: [purchase=1, view=0.25]
      keep_time: true
      context: {price: {kind: number, teacher_only: true, negative: stop}, shop: {column: place, min_count: 3}}
batch: {sequences: 32}
teacher:
  gate: warn
  model: {type: gru4rec, dim: 16, max_length: 10, columns: [event.kind, event.price, event.gap]}
  optimizer: {type: adamw, lr: 0.01}
  train: {max_epochs: 30, patience: 0}
student:
  model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10, columns: [event.gap, event.shop]}
  train: {max_epochs: 1}
losses: {ce: {weight: 1}, kl_tail: {weight: 1, temperature: 2}}
labels: {k: 10}
monitoring: {enabled: false}
"""


def check_event_answers(decant, report):
    """recommend's answers to the histories of the log, rewritten as JSON with their values, have the report's metrics: what
    events are told of counts, in whatever order they come."""
    rows, draw = {}, random.Random(5)
    for line in decant.path("events.csv").read_text().splitlines()[1:]:
        user, item, time, kind, price, place = line.split(",")
        rows.setdefault(user, []).append({"item": item, "time": int(time), "event": kind, "price": float(price), "shop": place})
    last = {user: row.pop()["item"] for user, row in rows.items()}
    texts = {"plain": "".join(f"{user} {' '.join(event['item'] for event in row)}\n" for user, row in rows.items())}
    for name, told in (("full", lambda event: event), ("items", lambda event: {"item": event["item"]})):
        lines = [{"id": user, "items": [told(event) for event in row]} for user, row in rows.items()]
        texts[name] = "".join(json.dumps(line) + "\n" for line in lines)
        for line in lines:
            if "time" in line["items"][0]:
                draw.shuffle(line["items"])
        texts[name + "-shuffled"] = "".join(json.dumps(line) + "\n" for line in lines)
    for name, text in texts.items():
        decant.write(f"{name}.txt", text)
    for side in ("teacher", "student"):
        found = {name: decant.run("recommend", "events.yaml", f"{name}.txt", "--side", side, "--seen", "keep") for name in texts}
        said = {name: result.stdout for name, result in found.items()}
        expect(said["full"] == said["full-shuffled"], f"{side}: the order of a history's events counts, beside their times")
        expect(said["plain"] == said["items"] and said["plain"] != said["full"], f"{side}: values of events do not count")
        expect("400 histories without values of event." in found["items"].stderr and "without values" not in found["full"].stderr,
               found["items"].stderr)
        best = {}
        for line in said["full"].splitlines():
            user, item, _ = line.split("\t")
            best.setdefault(user, []).append(item)
        places = [best[user].index(item) for user, item in last.items() if item in best[user]]
        ours = {"recall@10": len(places) / len(last), "ndcg@10": sum(1 / math.log2(place + 2) for place in places) / len(last)}
        for metric, value in ours.items():
            told = report[side]["metrics"]["test"][metric]
            expect(abs(value - told) < 1e-9, f"{side}: {metric} {value} by recommend, {told} by the report")

    # What the import refuses, and what is misspelt, is named; the student does not look at what it does not take.
    for event, side, says in (({"item": "i1", "price": -1}, "teacher", "event 2: price: '-1' is below 0"),
                              ({"item": "i1", "tiem": 1}, "student", "event 2: 'tiem' is no field of an event (known: item, time, event, price, shop)"),
                              ({"item": "i1", "time": "noon"}, "student", "event 2: time 'noon' is no time of the format 'auto'")):
        decant.write("wrong.txt", "u1 i1\n" + json.dumps({"items": [{"item": "i1"}, event]}) + "\n")
        decant.fails(3, "recommend", "events.yaml", "wrong.txt", "--side", side, says=["wrong.txt: line 2: " + says])
    decant.write("fine.txt", json.dumps({"items": [{"item": "i1", "price": -1}]}) + "\n")
    expect(decant.ok("recommend", "events.yaml", "fine.txt").count("\n") == 10, "a price, which the student does not take")


def check_events(decant):
    """After a purchase comes one partner of the item, after a view another: who sees kinds knows which."""
    draw, lines = random.Random(3), ["user,item,time,kind,price,place"]
    for user in range(400):
        item, time = draw.randrange(40), 1000000 * user
        for _ in range(draw.randrange(4, 12)):
            kind = draw.choice(["view", "purchase"])
            lines.append(f"u{user},i{item},{time},{kind},{draw.random():.2f},{draw.choice(['north', 'south', '', f'p{user}'])}")
            item = (item + (7 if kind == "purchase" else 12)) % 40
            time += draw.choice([1, 60, 4000, 90000])
    decant.write("events.csv", "\n".join(lines) + "\n")
    decant.write("events.yaml", EVENTS)
    decant.ok("run", "events.yaml")
    columns = json.loads(decant.ok("inspect", "events/dataset", "--json"))["columns"]
    expect(set(columns) == {"event.kind", "event.weight", "event.price", "event.shop", "event.time", "event.gap"}, str(columns))
    found, metadata = tensors(decant.path("events/student/weights.safetensors"))
    expect(found["columns.event.gap"][1][1] == 8 and metadata["columns"] == "event.gap,event.shop", str(metadata))
    report = json.loads(decant.path("events/report.json").read_text())
    seeing = report["teacher"]["metrics"]["test"]["ndcg@10"]
    decant.ok("run", "events.yaml", "--set", "run.folder=blind", "--set", "data.dataset=events/dataset", "--set", "teacher.model.columns=[]")
    blind = json.loads(decant.path("blind/report.json").read_text())["teacher"]["metrics"]["test"]["ndcg@10"]
    print(f"ndcg@10 {seeing:.3f} with the kinds of events, {blind:.3f} without", flush=True)
    expect(seeing > blind + 0.1, f"ndcg@10 {seeing} with the kinds of events, {blind} without")

    check_event_answers(decant, report)

    # Weights count: the same log without them is another dataset, whose control learns otherwise.
    decant.ok("run", "events.yaml", "--set", "run.folder=even", "--set", "data.import.interactions.event_weights=[]")
    expect(weights(decant, "even", "control") != weights(decant, "events", "control"), "the weights of events do not count")
    decant.fails(2, "run", "events.yaml", "--set", "student.model.columns=[event.price]", "--set", "data.dataset=events/dataset",
                 "--set", "run.folder=other", says=["event.price", "teacher_only"])
    decant.fails(2, "run", "events.yaml", "--set", "student.augment={rate: 0.5, crop: 0.5}", "--set", "losses={ce: {weight: 1}}",
                 "--set", "run.folder=other", says=["student.augment", "event.gap"])


def test(decant):
    rows, items = write_files(decant)
    decant.write("job.yaml", JOB)
    decant.ok("run", "job.yaml")
    check_import(decant, rows, items)
    found, metadata = tensors(decant.path("run/student/weights.safetensors"))
    expect({name for name in found if name.startswith("columns.")} == {"columns.item.price", "columns.user.town", "columns.item.kind"},
           str(sorted(found)))
    expect(found["columns.item.kind"][1] == [8, 8] and found["columns.item.price"][1] == [8], "shapes")
    expect(metadata["columns"] == "item.price,user.town,item.kind", str(metadata))
    expect(not any(found["columns.item.kind"][2][:8]), "the vector of no category is not zero")
    expect("skip" in decant.ok("run", "job.yaml", "--dry-run"), "a second run has nothing to do")
    check_answers(decant, rows)
    check_permuted(decant)
    check_refusals(decant)
    check_damage(decant)
    check_events(decant)


main(test)
