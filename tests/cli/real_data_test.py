"""Real logs, where the environment variable DECANT_DATA names the folder that has them: what an import must find."""
import json
import os
import pathlib

from _support import expect, main, skip

# folder/file -> users, items, events: what those who published the cut say of it.
LOGS = {
    "amazon-beauty/Beauty.seq.txt": (22363, 12101, 198502),
    "movielens-1m/sequences.txt": (6040, 3416, 999611),
}


def test(decant):
    data = os.environ.get("DECANT_DATA")
    if not data:
        skip("DECANT_DATA names no folder of real data")
    tried = 0
    for name, counts in LOGS.items():
        log = pathlib.Path(data) / name
        if not log.exists():
            print(f"not tried, it is not there: {name}")
            continue
        tried += 1
        decant.ok("import", "--out", "d", log)
        found = json.loads(decant.ok("inspect", "d", "--json"))
        expect((found["rows"], found["items"], found["events"]) == counts, f"{name}: {found}, expected {counts}")
    if tried == 0:
        skip(f"none of the logs is in {data}")


main(test)
