"""What the tests of the export share: a job whose student has parts of the teacher's, and a reader of safetensors."""
import array
import json
import math
import struct

from _support import TINY_JOB, tiny_job

# A student with the teacher's item vectors and a loss with parameters of its own: neither may leave with it.
STUDENT = """student:
  model: {type: sasrec, dim: 8, layers: 2, heads: 2, max_length: 10, table: {kind: projected, first: teacher, save: parts}}
  optimizer: {type: adamw, lr: 0.01}
  train: {max_epochs: 2}
losses: {ce: {weight: 1}, hint: {weight: 1, labels: [states]}, kl_tail: {weight: 1, temperature: 2, labels: [teacher]}}
labels: {k: 10, sets: {states: {kind: hidden}}}
"""
JOB = "".join(line + "\n" for line in TINY_JOB.splitlines() if not line.startswith(("student", "losses", "labels"))) + STUDENT
CODES = {"F32": "f", "I8": "b"}


def trained(decant):
    job = tiny_job(decant, text=JOB)
    decant.ok("run", job)
    return job


def read_log(path):
    """Histories and original ids by first appearance, as the import numbers them."""
    rows, items = {}, {}
    for line in path.read_text().splitlines():
        user, *events = line.split()
        rows.setdefault(user, []).extend(events)
        for event in events:
            items.setdefault(event, len(items))
    return rows, list(items)


def tensors(path):
    """Name -> (dtype, shape, values), and the metadata."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header, body, found = json.loads(data[8:8 + length]), data[8 + length:], {}
    metadata = header.pop("__metadata__")
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = array.array(CODES[entry["dtype"]], body[begin:end])
        assert len(values) == math.prod(entry["shape"])
        found[name] = (entry["dtype"], entry["shape"], values)
    return found, metadata
