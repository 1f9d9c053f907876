#!/usr/bin/env python3
"""decant's gradient reducer beside PyTorch's DistributedDataParallel (gloo): the same traced model, batch and ranks, one
thread a rank, in turn (ours, theirs, ours, theirs, ...). A step is forward, backward and exchange, without an optimiser.

  python benchmarks/reducer_vs_ddp.py build/release/benchmarks/bench_reducer_bench [--links memory slow] [--ranks 2 4]

`exposed` is a step's time less that of the same step without exchange, which is taken in the same processes, every other
step: what the exchange costs beside what backward hides. The slow link needs root (see slow_link.py); its ranks are on two
hosts. The Python that runs this needs torch.
"""
import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import slow_link

WARMUP = 3
# A deep model with few items, whose gradients become ready one by one; a shallow one with many.
MODELS = {
    "deep": {"items": 500, "dim": 256, "layers": 4, "heads": 2, "batch": 8, "length": 51},
    "wide": {"items": 20000, "dim": 128, "layers": 1, "heads": 1, "batch": 4, "length": 51},
}


def write_model(path, items, dim, layers, heads, batch, length):
    """Next-item transformer with its loss over all items: ids [batch, length] -> a number. Traced, so that both sides run
    the same operators in the same order."""
    import torch
    from torch import nn

    class NextItem(nn.Module):
        def __init__(self):
            super().__init__()
            self.item = nn.Embedding(items, dim)
            self.position = nn.Parameter(0.02 * torch.randn(length - 1, dim))
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0, activation="gelu", batch_first=True, norm_first=True)
                for _ in range(layers))
            self.norm = nn.LayerNorm(dim)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length - 1))
            nn.init.normal_(self.item.weight, std=0.02)

        def forward(self, ids):
            hidden = self.item(ids[:, :-1]) + self.position
            for block in self.blocks:
                hidden = block(hidden, src_mask=self.mask)
            scores = self.norm(hidden).flatten(0, 1) @ self.item.weight.T
            return nn.functional.cross_entropy(scores, ids[:, 1:].flatten())

    torch.manual_seed(1)
    ids = torch.arange(batch * length).view(batch, length) % items
    torch.jit.trace(NextItem().train(), (ids,), check_trace=False).save(str(path))


def ddp(model, items, batch, length, steps, dtype):
    """One rank of the other side; what it prints is what bench_reducer_bench prints."""
    import torch
    import torch.distributed as dist
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch._C._set_graph_executor_optimize(False)  # else a subgraph's gradients come all at once
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    module = torch.jit.load(model)
    module.train()
    body = DistributedDataParallel(module, gradient_as_bucket_view=True, broadcast_buffers=False)
    if dtype == "bf16":
        body.register_comm_hook(None, bf16_compress_hook)
    ids = ((torch.arange(batch * length) * 7919 + rank * 104729) % items).view(batch, length)
    times = {True: [], False: []}
    for step in range(2 * (steps + WARMUP)):
        exchanges = step % 2 == 0
        dist.barrier()
        started = time.perf_counter()
        body.zero_grad(set_to_none=True)
        if exchanges:
            body(ids).backward()
        else:
            with body.no_sync():
                body(ids).backward()
        if step >= 2 * WARMUP:
            times[exchanges].append((time.perf_counter() - started) * 1e3)
    largest = {}
    for name, exchanges in (("with", True), ("without", False)):
        values = torch.tensor(times[exchanges])
        dist.all_reduce(values, dist.ReduceOp.MAX)
        largest[name] = values.tolist()
    if rank == 0:
        width = 2 if dtype == "bf16" else 4
        print(json.dumps({**largest, "bytes": width * sum(p.numel() for p in module.parameters())}), flush=True)
    dist.destroy_process_group()


def clean(**more):
    return {**slow_link.environment(), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


def last_json(text, what):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{what} printed no result:\n{text[-3000:]}")
    return json.loads(lines[-1])


def run_ours(folder, program, arguments, ranks, slow):
    command = [program, *arguments]
    if slow:
        command = slow_link.across(folder, *command, each=ranks // 2)
    else:
        command = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *command]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean())
    return last_json(done.stdout, "the reducer")


def run_theirs(arguments, ranks, slow):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    processes = []
    for rank in range(ranks):
        host = rank * 2 // ranks
        address = f"{slow_link.NETWORK}.1" if slow else "127.0.0.1"
        more = {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": address, "MASTER_PORT": str(port)}
        more["GLOO_SOCKET_IFNAME"] = "va" if slow else "lo"
        command = [*(slow_link.enter(slow_link.HOSTS[host]) if slow else []), sys.executable, __file__, "--ddp", *arguments]
        processes.append(subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean(**more)))
    outputs = [process.communicate()[0] for process in processes]
    return last_json(outputs[0], "DDP")


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def compare(folder, options, name, dtype, ranks, slow):
    shape = MODELS[name]
    path = folder / f"{name}.pt"
    if not path.exists():
        write_model(path, **shape)
    arguments = [str(path), *(str(shape[key]) for key in ("items", "batch", "length")), str(options.steps), dtype]
    found = {"decant": [], "DDP": []}
    for _ in range(options.pairs):
        found["decant"].append(run_ours(folder, options.program, arguments, ranks, slow))
        found["DDP"].append(run_theirs(arguments, ranks, slow))
    step = {side: [statistics.median(one["with"]) for one in runs] for side, runs in found.items()}
    exposed = {side: [statistics.median(one["with"]) - statistics.median(one["without"]) for one in runs]
               for side, runs in found.items()}
    own = [statistics.median(one["waited"]) for one in found["decant"]]
    way = [statistics.median(one["on_the_way"]) for one in found["decant"]]
    ratios = [theirs / ours for ours, theirs in zip(step["decant"], step["DDP"])]
    print(f"{'slow link' if slow else 'memory'}, {ranks} ranks, {name}, {dtype}: {found['decant'][0]['bytes'] / 1e6:.2f} MB "
          f"(DDP {found['DDP'][0]['bytes'] / 1e6:.2f})\n"
          f"  step ms    decant {spread(step['decant'])}, DDP {spread(step['DDP'])}; DDP / decant {spread(ratios, 2)}\n"
          f"  exposed ms decant {spread(exposed['decant'])}, DDP {spread(exposed['DDP'])}\n"
          f"  the reducer's own count: waited {spread(own)} ms of {spread(way)} ms on the way; relative error of the "
          f"gradient {found['decant'][0]['error']:.2g}", flush=True)


def main():
    if sys.argv[1:2] == ["--ddp"]:
        model, items, batch, length, steps, dtype = sys.argv[2:]
        return ddp(model, int(items), int(batch), int(length), int(steps), dtype)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda text: str(pathlib.Path(text).resolve()))
    parser.add_argument("--links", nargs="+", default=["memory", "slow"], choices=["memory", "slow"])
    parser.add_argument("--rate", default="1gbit", help="of the slow link, as tc writes it")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # by way of what cleans up
    with tempfile.TemporaryDirectory(prefix="decant_reducer_") as name:
        folder = pathlib.Path(name)

        def all_of(slow):
            for ranks in options.ranks:
                for model in options.models:
                    for dtype in options.dtypes:
                        compare(folder, options, model, dtype, ranks, slow)

        if "memory" in options.links:
            all_of(slow=False)
        if "slow" in options.links:
            if os.geteuid() != 0:
                sys.exit("network namespaces need root")
            with slow_link.two_hosts():
                slow_link.slow_down(options.rate)
                all_of(slow=True)


if __name__ == "__main__":
    main()
