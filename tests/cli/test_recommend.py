"""recommend: the ranking of the evaluation, original ids, filters, both forms of lines, what is unknown."""
import json
import subprocess

from _support import expect, main, tiny_job


def recommend(decant, job, text, *more, code=0):
    result = subprocess.run([decant.binary, "recommend", job, *map(str, more)], cwd=decant.folder, input=text, text=True,
                            capture_output=True)
    expect(result.returncode == code, f"recommend {more}: exit code {result.returncode}\n{result.stderr[-2000:]}")
    return result


def lists(result):
    found = {}
    for line in result.stdout.splitlines():
        name, item, score = line.split("\t")
        found.setdefault(name, []).append((item, float(score)))
    return found


def test(decant):
    job = tiny_job(decant)
    decant.ok("run", job)
    log = [line.split() for line in decant.path("log.txt").read_text().splitlines()]
    histories = "".join(" ".join(words[:-1]) + "\n" for words in log)
    last = {words[0]: words[-1] for words in log}
    decant.write("histories.txt", histories)

    # As many hits among the ten best as the evaluation counted, for test: all but the last event are the history.
    report = json.loads(decant.path("run/report.json").read_text())
    users = [words[0] for words in log if len(words) > 3]
    for side in ("student", "teacher"):
        for seen, split in (("drop", "test_unseen"), ("keep", "test")):
            found = lists(recommend(decant, job, None, "histories.txt", "--side", side, "--seen", seen))
            hits = sum(last[user] in [item for item, score in found[user]] for user in users)
            if seen == "drop":  # a target that the history has is ranked by the evaluation, and never recommended
                again = sum(last[words[0]] in words[1:-1] for words in log if len(words) > 3)
                expected = report[side]["metrics"][split]["recall@10"] * len(users)
                expect(expected - again - 0.5 <= hits <= expected + 0.5, f"{side}: {hits} hits, {expected} of the evaluation")
            else:
                expect(abs(hits - report[side]["metrics"][split]["recall@10"] * len(users)) < 0.5, f"{side}: {hits} hits")
            for user, items in found.items():
                scores = [score for item, score in items]
                expect(len(items) == 10 and scores == sorted(scores, reverse=True), f"{user}: {items}")
            if seen == "drop":
                for words in log:
                    mine = {item for item, score in found[words[0]]}
                    expect(not mine & set(words[1:-1]), f"{words[0]}: seen items came back: {mine}")

    # Lists of one line are those of many; JSON is the same as text.
    one = lists(recommend(decant, job, " ".join(log[0]) + "\n", "--k", 5))
    answer = json.loads(recommend(decant, job, json.dumps({"id": log[0][0], "items": [*log[0][1:], "nothing"]}) + "\n", "--json", "--k", 5).stdout)
    expect([entry["item"] for entry in answer["items"]] == [item for item, score in one[log[0][0]]], str(answer))
    expect(answer["unknown"] == 1, str(answer))
    said = recommend(decant, job, "new nothing\n\n")
    expect(said.stdout == "" and "1 history, 1 of them without an item" in said.stderr, said.stderr)

    # Filters.
    best = [item for item, score in lists(recommend(decant, job, " ".join(log[0]) + "\n", "--k", 20))[log[0][0]]]
    decant.write("block.txt", "\n".join(best[:15]) + "\n")
    decant.write("allow.txt", "\n".join(best[10:20]) + "\nnothing\n")
    decant.write("categories.txt", "".join(f"{item}\t{'first' if place < 10 else 'rest'}\n" for place, item in enumerate(best)))

    def with_flags(*flags):
        return [item for item, score in lists(recommend(decant, job, " ".join(log[0]) + "\n", "--k", 5, *flags))[log[0][0]]]

    expect(with_flags("--block", "block.txt") == best[15:20], "blocked items")
    expect(with_flags("--allow", "allow.txt") == best[10:15], "allowed items")
    expect(with_flags("--allow", "allow.txt", "--block", "block.txt") == best[15:20], "allowed but blocked")
    chosen = with_flags("--categories", "categories.txt", "--per-category", 2)
    expect(chosen[:2] == best[:2] and chosen[2:4] == best[10:12], f"two of a category: {chosen} of {best}")
    varied = with_flags("--diversity", 0.7)
    expect(len(varied) == 5 and varied[0] == best[0] and varied != best[:5], f"diversity: {varied}")

    # What is wrong is named.
    expect("line 2" in recommend(decant, job, "a " + log[0][1] + "\n{\"id\": 1}\n", code=3).stderr, "a history without items")
    decant.write("bad.txt", "no tab\n")
    expect("bad.txt: line 1" in recommend(decant, job, "", "--categories", "bad.txt", code=3).stderr, "categories without a tab")
    decant.fails(2, "recommend", job, "--per-category", 1, "/dev/null", says=["--categories"])
    decant.fails(3, "recommend", job, "--block", "none.txt", "/dev/null", says=["none.txt"])
    decant.fails(2, "recommend", says=["give a job file"])
    decant.fails(6, "recommend", job, "--set", "run.folder=other", "--set", "data.dataset=run/dataset", "/dev/null",
                 says=["no finished student", "decant run"])


if __name__ == "__main__":
    main(test)
