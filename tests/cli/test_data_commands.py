"""synthesize, import and inspect: same bytes twice, a summary, malformed rows with file and line."""
import json

from _support import expect, main


def value(text, key):
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key:
            return words[1]
    return None


def test(decant):
    flags = ["--users", 300, "--items", 80, "--categories", 8, "--seed", 7]
    decant.ok("synthesize", "--out", "sub/a.txt", *flags)
    decant.ok("synthesize", "--out", "b.txt", *flags)
    first = decant.path("sub/a.txt").read_bytes()
    expect(first == decant.path("b.txt").read_bytes(), "the same options gave other bytes")
    expect(len(first.splitlines()) == 300, "not a line a user")
    decant.ok("synthesize", "--out", "b.txt", *flags[:-1], 8)
    expect(first != decant.path("b.txt").read_bytes(), "another seed gave the same bytes")

    summary = decant.ok("import", "--format", "sequences", "--out", "d", "sub/a.txt")
    expect("           300  users, with " in summary and "           300  lines read\n" in summary, f"no summary:\n{summary}")
    summary = json.loads(decant.ok("import", "--format", "sequences", "--out", "d", "--json", "sub/a.txt"))
    expect(summary["users"] == 300, f"no summary: {summary}")
    info = json.loads(decant.ok("inspect", "d", "--json"))
    expect("decant-dataset" in json.dumps(info) and info.get("rows") == 300, f"inspect: {info}")
    plain = decant.ok("inspect", "d")
    expect(value(plain, "rows") == "300", f"inspect:\n{plain}")
    decant.ok("import", "--out", "d", "--k-core", 2, "--min-events", 3, "--duplicates", "collapse", "sub/a.txt", "b.txt")

    decant.write("bad.txt", "u1 a b\nu2\nu3 c\n")
    decant.fails(3, "import", "--out", "e", "bad.txt", says=["bad.txt", "2"])
    expect(not decant.path("e").exists(), "a failed import left its folder")
    skipped = decant.ok("import", "--out", "e", "--on-error", "skip", "bad.txt")
    expect("             1  lines dropped: malformed\n" in skipped, f"the line was not counted:\n{skipped}")

    # A log of interactions, by flags and by a job file: the same dataset.
    decant.write("log.csv", "who,what,when,kind\nb,x,2020-01-02,buy\na,y,2020-01-01,buy\nb,z,2020-01-01,buy\nb,w,2020-01-03,view\n")
    flags = ["--user", "who", "--item", "what", "--time", "when", "--event", "kind", "--keep-events", "[buy]"]
    shown = decant.ok("import", "--format", "interactions", "--out", "log", *flags, "log.csv")
    for line in ("1  dropped: of kinds that are not kept", "3  events are left", "from 2020-01-01 00:00:00 to 2020-01-02 00:00:00"):
        expect(line in shown, f"no summary:\n{shown}")
    decant.write("log.yaml", "version: 1\nrun: {folder: run}\ndata: {import: {format: interactions, files: [log.csv], interactions: "
                             "{user: who, item: what, time: when, event: kind, keep_events: [buy]}}}\n")
    decant.ok("import", "log.yaml")
    infos = [json.loads(decant.ok("inspect", folder, "--json")) for folder in ("log", "run/dataset")]
    expect(infos[0]["content_hash"] == infos[1]["content_hash"], f"flags and job file gave two datasets: {infos}")
    decant.fails(3, "import", "--format", "interactions", "--out", "e", "log.csv", says=["log.csv: line 1", "no column 'user'", "who,"])
    decant.fails(2, "import", "--format", "interactions", "--out", "e", *flags, "--from", "soon", "log.csv", says=["'interactions.from'"])

    top = json.loads(decant.ok("inspect", "log", "--json", "--most-frequent", 2))["most_frequent"]
    expect(top == [{"item": "x", "training_events": 1}, {"item": "y", "training_events": 1}], f"most frequent: {top}")
    expect("most_frequent" in decant.ok("inspect", "run", "--most-frequent", 1), "not of a run")
    decant.fails(2, "import", "--json", "log.yaml", says=["--json needs --out"])

    decant.fails(3, "import", "--out", "f", "nothing.txt", says=["nothing.txt", "No such file"])
    decant.fails(2, "import", "--out", "f", "--format", "sequenses", "b.txt", says=["did you mean 'sequences'?"])
    decant.write("mine/thesis.txt", "years of work\n")
    decant.fails(2, "import", "--out", "mine", "b.txt", says=["no dataset"])
    expect(decant.path("mine/thesis.txt").exists(), "an import removed what was not its own")

    decant.fails(2, "inspect", "nothing", says=["nothing", "no such file"])
    decant.fails(2, "inspect", "mine", says=["no dataset"])
    manifest = decant.path("d/manifest.json")
    manifest.write_text(manifest.read_text().replace("300", "301", 1))
    decant.fails(3, "inspect", "d", says=["manifest.json"])


main(test)
