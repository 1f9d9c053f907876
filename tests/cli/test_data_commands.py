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
    expect(value(summary, "users") == "300", f"no summary:\n{summary}")
    info = json.loads(decant.ok("inspect", "d", "--json"))
    expect("decant-dataset" in json.dumps(info) and info.get("rows") == 300, f"inspect: {info}")
    plain = decant.ok("inspect", "d")
    expect(value(plain, "rows") == "300", f"inspect:\n{plain}")
    decant.ok("import", "--out", "d", "--k-core", 2, "--min-events", 3, "--duplicates", "collapse", "sub/a.txt", "b.txt")

    decant.write("bad.txt", "u1 a b\nu2\nu3 c\n")
    decant.fails(3, "import", "--out", "e", "bad.txt", says=["bad.txt", "2"])
    expect(not decant.path("e").exists(), "a failed import left its folder")
    skipped = decant.ok("import", "--out", "e", "--on-error", "skip", "bad.txt")
    expect(value(skipped, "malformed_lines") == "1", f"the line was not counted:\n{skipped}")

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
