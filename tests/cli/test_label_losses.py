"""Losses on label sets of every kind, from a job file: an epoch each, and what the sets share."""
import json

from _support import TINY_JOB, expect, main, tiny_job

SETS = """teachers:
  second: {gate: warn, model: {type: sasrec, dim: 8, layers: 1, heads: 1, max_length: 10}, train: {max_epochs: 1}}
labels:
  k: 10
  sets:
    hidden: {kind: hidden}
    nucleus: {kind: top_p, p: 0.5}
    whole: {kind: dense}
    drawn: {kind: sampled, draws: 12, drawn_at: 2}
    list: {kind: candidates, negatives: 9}
    second: {teacher: second, k: 8}"""
LOSSES = {
    "hint": {}, "cosine": {"tap": "embedding"}, "pkd": {}, "rkd_distance": {}, "info_nce": {},
    "kl_sampled": {"labels": ["drawn"], "temperature": 2},
    "margin_mse": {"labels": ["list"]}, "list_kl": {"labels": ["list"]}, "mse": {"labels": ["list"]},
    "logit_std": {"labels": ["teacher", "nucleus", "whole"]}, "kl_tail": {"labels": ["whole"], "temperature": 2},
    "rrd": {"labels": ["nucleus"], "interesting": 5, "uninteresting": 20},
}
SHARED = {"labels": ["teacher", "second"], "temperature": 2}


def student(decant, job, losses):
    """The loss by its name over the epoch, and the weights."""
    decant.ok("distill", job, "--set", "losses=" + json.dumps({"ce": {"weight": 1}, **losses}))
    record = json.loads(decant.path("run/stages/student.json").read_text())["result"]
    return record["curve"][-1]["loss"], decant.path("run/student/weights.safetensors").read_bytes()


def test(decant):
    job = tiny_job(decant, text=TINY_JOB.replace("labels: {k: 10}", SETS))
    decant.ok("run", job)
    seen = {}
    for name, options in LOSSES.items():
        loss, seen[name] = student(decant, job, {name: options})
        expect(loss[name] > 0 and loss["ce"] > 0, f"{name}: {loss}")
    for sharing in ("fixed", "confidence", "disagreement", "gate"):
        loss, seen[sharing] = student(decant, job, {"kl_tail": {**SHARED, "sharing": sharing}})
        expect(loss["kl_tail"] > 0, f"{sharing}: {loss}")
    expect(len(set(seen.values())) == len(seen), "two losses led to one student")
    fails = lambda losses, *says: decant.fails(2, "distill", job, "--set", "losses=" + json.dumps({"ce": {}, **losses}), says=says)
    fails({"hint": {"labels": ["teacher"]}}, "loss 'hint'", "label set 'teacher' is of kind topk")
    fails({"kl_sampled": {"labels": ["drawn"], "temperature": 1}}, "loss 'kl_sampled'", "drawn at 2.0")


main(test)
