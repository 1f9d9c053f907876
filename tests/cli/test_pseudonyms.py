"""Pseudonyms: a keyed hash that other software can compute, no raw id left anywhere, a map on request only."""
import hashlib
import json
import os
import stat

from _support import TINY_JOB, expect, main
from test_recommend import lists, recommend

MARKS = (b"customer-", b"article-")


def key_of(secret):
    return hashlib.blake2b(secret, digest_size=32).digest()


def pseudonym(secret, kind, name):
    return hashlib.blake2b(f"{kind}\0{name}".encode(), digest_size=16, key=key_of(secret)).hexdigest()


def raw_ids(folder):
    """Files below that have an original id in them."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and any(mark in path.read_bytes() for mark in MARKS)]


def key_file(decant, name, secret):
    path = decant.write(name, secret)
    os.chmod(path, 0o600)
    return path


def test(decant):
    secret = os.urandom(32)
    key, other = key_file(decant, "key", secret), key_file(decant, "other", b"sixteen bytes ok")
    decant.ok("synthesize", "--out", "plain.txt", "--users", 200, "--items", 60, "--categories", 5)
    rows = [line.split() for line in decant.path("plain.txt").read_text().splitlines()]
    rows = [["customer-" + row[0], *("article-" + item for item in row[1:])] for row in rows]
    decant.write("log.txt", "".join(" ".join(row) + "\n" for row in rows))

    # Users alone, then both; the map has what the formula says, of those that are left, for its owner alone.
    def imported(out, *flags):
        decant.ok("import", "--out", out, "--k-core", 5, "--key-file", key, *flags, "log.txt")
        return json.loads(decant.path(f"{out}/manifest.json").read_text())["import"]

    plain = decant.ok("import", "--out", "plain", "--k-core", 5, "log.txt")
    both = imported("both", "--set", "pseudonyms.items=true", "--map", "map.tsv")
    expect(raw_ids(decant.path("both")) == [], f"raw ids in {raw_ids(decant.path('both'))}")
    expect(both["pseudonyms"]["users"] and both["pseudonyms"]["items"] and len(both["pseudonyms"]["key_fingerprint"]) == 16, str(both))
    pairs = [line.split("\t") for line in decant.path("map.tsv").read_text().splitlines()]
    expect(all(hashed == pseudonym(secret, kind, name) for kind, hashed, name in pairs), "the map does not follow the formula")
    counts = both["summary"]
    expect([sum(pair[0] == kind for pair in pairs) for kind in ("user", "item")] == [counts["users"], counts["items"]],
           f"the map has {len(pairs)} ids, the dataset {counts['users']} users and {counts['items']} items")
    expect(counts["users"] < 200, "nothing was dropped: the test shows less than it should")
    expect(stat.S_IMODE(os.stat(decant.path("map.tsv")).st_mode) == 0o600, "others may read the map")
    hashed = {pair[1].encode() for pair in pairs if pair[0] == "user"}
    expect(all(text in decant.path("both/part-00000.h5").read_bytes() for text in list(hashed)[:20]), "the users are not there")
    users = imported("users")
    expect(b"customer-" not in decant.path("users/part-00000.h5").read_bytes(), "raw users")
    expect(raw_ids(decant.path("users")) == [str(decant.path("users/catalogue.h5"))], "items were to stay as they are")
    expect(users["pseudonyms"]["key_fingerprint"] == both["pseudonyms"]["key_fingerprint"] and users["key"] != both["key"], "facts")
    shown = decant.ok("inspect", "users")
    expect("user_ids" in shown and "pseudonyms" in shown and "as they came" in shown, shown)

    # What is refused.
    decant.write("short", b"fifteen bytes..")
    os.chmod(decant.path("short"), 0o600)
    decant.write("open", secret)
    os.chmod(decant.path("open"), 0o640)
    for code, flags, says in ((2, ["--key-file", "short"], "short: a key has 16 to 65,536 bytes"),
                              (2, ["--key-file", "open"], "open: others than its owner may use this key: chmod 600 it"),
                              (3, ["--key-file", "none"], "none: cannot open the key: No such file"),
                              (2, ["--map", "map.tsv"], "'pseudonyms.map' needs a key"),
                              (2, ["--key-file", key, "--map", "e/../e/map.tsv"], "which lies in the dataset"),
                              (2, ["--key-file", key, "--set", "pseudonyms.users=false"], "neither users nor items"),
                              (3, ["--key-file", key, "--map", "none/map.tsv"], "none/map.tsv.tmp: cannot make the map")):
        decant.fails(code, "import", "--out", "e", *flags, "log.txt", says=[says], alone=False)
        expect(not decant.path("e").exists(), f"{flags}: a dataset was left behind")
    decant.write("bad.txt", "customer-1 article-1\ncustomer-2\n")
    expect("customer" not in decant.fails(3, "import", "--out", "e", "bad.txt"), "an error shows an id")

    # A whole run leaves no raw id in what it writes or says.
    text = TINY_JOB.replace("{files: [log.txt]}", f"{{files: [log.txt], pseudonyms: {{key_file: {key}, items: true}}}}")
    job = decant.write("job.yaml", text)
    result = decant.run("run", job)
    expect(result.returncode == 0, result.stderr[-2000:])
    expect(raw_ids(decant.path("run")) == [], f"raw ids in {raw_ids(decant.path('run'))}")
    expect(not any(mark.decode() in result.stdout + result.stderr for mark in MARKS), "raw ids in what the run said")
    expect(secret not in b"".join(path.read_bytes() for path in decant.path("run").rglob("*") if path.is_file()), "the key was stored")

    # Ids that come in are replaced; those that go out are pseudonyms.
    row = next(row for row in rows if len(row) > 4)
    line = " ".join(row) + "\n"
    found = lists(recommend(decant, job, line, "--key-file", key))
    mine = lists(recommend(decant, job, " ".join([row[0], *(pseudonym(secret, "item", item) for item in row[1:])]) + "\n"))
    expect(found == mine and len(found[row[0]]) == 10, f"with the key {found}, with its pseudonyms {mine}")
    expect("--key-file" in recommend(decant, job, line).stderr, "nothing says that the ids are pseudonyms")
    expect("is another key" in recommend(decant, job, line, "--key-file", other, code=2).stderr, "another key was taken")


if __name__ == "__main__":
    main(test)
