"""Makes the golden files of tests/golden/data from the PyTorch twin and the plain formulas in examples/python.

    python generate.py --out data       writes them
    python generate.py --check data     makes them again, compares, and exits with 1 naming the tensor that differs

What the files hold is in README.md. All is computed in float64 from inputs that float32 holds exactly, and stored as
float32. Scores of `catalogue` and `losses` are exact in float32 too, in any order of summation, so that ties are ties.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
    from torch import Tensor
except ImportError as error:
    print(f'skipped: {error} (needs torch, numpy and safetensors)')
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'examples' / 'python'))
import losses  # noqa: E402
from gru4rec import GRU4Rec  # noqa: E402
from sasrec import SASRec, spans  # noqa: E402

Tensors = dict[str, Tensor]
SHAPE = dict(items=37, dim=16, layers=2, heads=2, max_length=12)
SPEC = torch.tensor(list(SHAPE.values()))


def normal(rng: np.random.Generator, *shape: int, std: float = 1.0) -> Tensor:
    """Drawn by numpy, whose stream is the same on every machine; rounded to what float32 holds."""
    return torch.from_numpy(rng.normal(scale=std, size=shape)).float().double()


def on_grid(x: Tensor) -> Tensor:
    """Multiples of 1/64: short sums of products of them are exact in float32."""
    return (x * 64).round() / 64


def best(logits: Tensor, k: int) -> Tensor:
    """Ids of the k highest of each row; among equals the lower id first."""
    return logits.sort(dim=1, descending=True, stable=True).indices[:, :k]


def rest_lse(logits: Tensor, ids: Tensor, temperatures: Sequence[float]) -> Tensor:
    """[rows, temperatures]: log-sum-exp of logits / T over the items not in `ids`; ids of -1 name nothing."""
    listed = (ids[:, :, None] == torch.arange(logits.shape[1])).any(1)
    left = logits.masked_fill(listed, -torch.inf)
    return torch.stack([(left / t).logsumexp(1) for t in temperatures], 1)


def rank(logits: Tensor, targets: Tensor) -> Tensor:
    own = logits.gather(1, targets[:, None])
    return (logits > own).sum(1) + ((logits == own).sum(1) - 1) // 2


def model_golden(model: torch.nn.Module, seed: int, spec: Sequence[int]) -> Tensors:
    """Forward and backward on one packed batch; spec[0] is the number of items, the longest sequence has 12."""
    rng, lengths, items = np.random.default_rng(seed), [1, 12, 5, 2, 12, 7, 3], spec[0]
    model = model.double()
    for name, parameter in model.named_parameters():  # larger than at the start of training: nothing may hide
        is_scale = 'norm' in name and name.endswith('weight')
        parameter.data = normal(rng, *parameter.shape, std=0.3) + (1.0 if is_scale else 0.0)
        parameter.data = parameter.data.float().double()
    ids = torch.from_numpy(rng.integers(0, items, sum(lengths)))
    ids[[0, 1, 2]] = torch.tensor([0, items - 1, items - 1])
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    hidden = model(ids, offsets)
    cotangent = normal(rng, *hidden.shape)
    (hidden * cotangent).sum().backward()
    tensors = dict(spec=torch.tensor(spec), ids=ids, offsets=offsets, hidden=hidden, cotangent=cotangent)
    for name, parameter in model.named_parameters():
        tensors |= {f'weights.{name}': parameter, f'grad.{name}': parameter.grad}
    return tensors


def sasrec_golden() -> Tensors:
    return model_golden(SASRec(**SHAPE), 1, list(SHAPE.values()))


def gru4rec_golden() -> Tensors:
    shape = dict(items=37, dim=12, hidden=20, layers=2, max_length=12)
    return model_golden(GRU4Rec(**shape), 7, list(shape.values()))


def catalogue_golden() -> Tensors:
    rng, rows, items, dim, temperatures = np.random.default_rng(2), 13, 101, 8, (1.0, 1.5, 2.0, 10.0)
    hidden, table = on_grid(normal(rng, rows, dim)), on_grid(normal(rng, items, dim))
    for copy, original in ((7, 3), (50, 3), (100, 3), (61, 60), (99, 98), (0, 64)):
        table[copy] = table[original]
    hidden[4] *= 8     # a confident row
    hidden[5] = 0      # all items equal
    hidden[6] = on_grid(table[3] * 2)  # the four copies are near its top

    def draw(n: int) -> Tensor:
        return torch.stack([torch.from_numpy(rng.permutation(items)[:n]) for _ in range(rows)])

    exclude, gather, targets = draw(5), draw(4), draw(1)[:, 0]
    exclude[0, 3:], exclude[1] = -1, -1          # fewer, and none
    exclude[6] = best(hidden @ table.T, 5)[6]    # the peak is left out
    gather[2, 1], gather[3, 0], gather[7, 2] = -1, exclude[3, 0], gather[7, 0]
    targets[[0, 1, 2, 6]] = torch.tensor([7, 60, 98, 50])
    seen = [sorted(rng.permutation(items)[:n].tolist()) for n in (0, 1, 5, 40, 3, 10, 4, 6, 7, 8, 9, 100, 2)]
    seen[3] = sorted({*seen[3], int(targets[3])})  # the target itself was seen before
    seen[6] = [3, 7, 20, 100]
    tensors = dict(hidden=hidden, table=table, exclude=exclude, gather=gather, targets=targets,
                   temperatures=torch.tensor(temperatures), seen_ids=torch.tensor([i for s in seen for i in s]),
                   seen_offsets=torch.tensor([0, *map(len, seen)]).cumsum(0))

    hidden, table = hidden.requires_grad_(), table.requires_grad_()
    logits = hidden @ table.T
    none = torch.full((rows, 1), -1)

    def at(ids: Tensor) -> Tensor:
        return logits.gather(1, ids.clamp_min(0)).masked_fill(ids < 0, 0.0)

    values = dict(lse=rest_lse(logits, none, temperatures), gathered=at(gather),
                  lse_excluded=rest_lse(logits, exclude, temperatures), excluded_logits=at(exclude))
    parts = {name: normal(rng, *value.shape) for name, value in values.items()}
    tensors |= values | {f'{name}_cotangent': part for name, part in parts.items()}
    for case, names in (('plain', ('lse', 'gathered')), ('excluded', ('lse_excluded', 'excluded_logits', 'gathered'))):
        loss = sum((values[name] * parts[name]).sum() for name in names)
        grads = torch.autograd.grad(loss, (hidden, table), retain_graph=True)
        tensors |= {f'{case}.grad_hidden': grads[0], f'{case}.grad_table': grads[1]}

    scores, ids = logits.detach(), best(logits.detach(), 5)
    unseen = scores.clone()
    for r, s in enumerate(seen):
        unseen[r, [i for i in s if i != targets[r]]] = -torch.inf
    return tensors | dict(topk_ids=ids, topk_logits=scores.gather(1, ids),
                          topk_rest_lse=rest_lse(scores, ids, temperatures),
                          target_logits=scores.gather(1, targets[:, None])[:, 0],
                          rank_all=rank(scores, targets), rank_unseen=rank(unseen, targets))


def loss_case(rng: np.random.Generator, rows: int, items: int, k: int, peak: float = 0, match: bool = False,
              weights: Sequence[float] | None = None, ragged: Sequence[int] | None = None) -> Tensors:
    dim, temperatures = 8, (1.0, 2.0, 4.0)
    hidden, table = on_grid(normal(rng, rows, dim)), on_grid(normal(rng, items, dim, std=0.7))
    teacher = on_grid(normal(rng, rows, items, std=2.0))
    if peak:  # both sides reach it; hidden is scaled, so that the scores are
        hidden, teacher = (on_grid(x * peak / z.abs().amax(1, keepdim=True))
                           for x, z in ((hidden, hidden @ table.T), (teacher, teacher)))
    teacher = hidden @ table.T if match else teacher
    ids = best(teacher, k)
    if ragged:
        ids = ids.masked_fill(torch.arange(k) >= torch.tensor(ragged)[:, None], -1)
    label, rest = losses.take(teacher, ids).float().double(), rest_lse(teacher, ids, temperatures).float().double()
    w = torch.tensor(weights or [1.0] * rows).double()
    targets = torch.from_numpy(rng.integers(0, items, rows))
    targets[0] = ids[0, 0]
    own = teacher.gather(1, targets[:, None])[:, 0].float().double()
    mean, variance = teacher.mean(1).float().double(), teacher.var(1, unbiased=False).float().double()
    draws, shares = sampled(np.random.default_rng(7), teacher, 2.0, 12)
    tensors = dict(hidden=hidden, table=table, targets=targets, weights=w, ids=ids, teacher_logits=label,
                   teacher_rest_lse=rest, teacher_target_logit=own, teacher_mean=mean, teacher_variance=variance,
                   draws=draws, draw_weights=shares)
    row_own = (torch.column_stack([ids, targets])[:, :, None] == torch.arange(items)).any(1)

    def add(name: str, evaluate: Callable[[Tensor, int], losses.Sums], n: int) -> None:
        found: dict[str, list[Tensor]] = {'sum': [], 'weight': [], 'grad_hidden': [], 'grad_table': []}
        for i in range(n):
            h, t = hidden.clone().requires_grad_(), table.clone().requires_grad_()
            value, weight = evaluate(h @ t.T, i)
            for key, tensor in zip(found, (value, weight, *torch.autograd.grad(value, (h, t)))):
                found[key].append(tensor)
        tensors.update({f'{name}.{key}': torch.stack(values) for key, values in found.items()})

    t = temperatures
    add('ce', lambda z, i: losses.ce(z, targets, w), 1)
    add('kl_tail', lambda z, i: losses.kl_tail(z, ids, label, rest[:, i], t[i], w), len(t))
    add('kl_renormalised', lambda z, i: losses.kl_renormalised(z, ids, label, t[i], w), len(t))
    add('kl_truncated', lambda z, i: losses.kl_truncated(z, ids, label, t[i], w), len(t))
    add('soft_ce', lambda z, i: losses.soft_ce(z, ids, label, rest[:, i], t[i], w), len(t))
    add('kl_sampled', lambda z, i: losses.kl_sampled(z, draws, shares, 2.0, w), 1)
    if k > 1:
        reverse, jsd = dict(direction='reverse'), dict(direction='jsd', beta=0.3)
        scaled = dict(direction='jsd', beta=0.9, scaled=True)
        add('mse', lambda z, i: losses.mse(z, ids, label, w), 1)
        add('kl_tail_reverse', lambda z, i: losses.kl_tail(z, ids, label, rest[:, i], t[i], w, **reverse), len(t))
        add('kl_tail_jsd', lambda z, i: losses.kl_tail(z, ids, label, rest[:, i], t[i], w, **jsd), len(t))
        add('kl_tail_scaled', lambda z, i: losses.kl_tail(z, ids, label, rest[:, i], t[i], w, **scaled), len(t))
        add('kl_renormalised_reverse', lambda z, i: losses.kl_renormalised(z, ids, label, t[i], w, **reverse), len(t))
        add('list_kl_jsd', lambda z, i: losses.kl_renormalised(z, ids, label, t[i], w, **jsd), len(t))
        add('logit_std', lambda z, i: losses.logit_std(z, ids, label, mean, variance, t[i], w), len(t))
        add('dkd', lambda z, i: losses.dkd(z, targets, ids, label, rest[:, i], own, t[i], weights=w), len(t))
        add('rrd', lambda z, i: losses.rrd(z, ids[:, :3], ~row_own, w), 1)
        add('rd', lambda z, i: losses.rd(z, targets, ids[:, :4], 3, ~row_own, weights=w), 1)
        add('bpr', lambda z, i: losses.pairs(z, ids, label, 4, w), 1)
        add('margin', lambda z, i: losses.pairs(z, ids, label, 4, w, margin='teacher'), 1)
        add('margin_constant', lambda z, i: losses.pairs(z, ids, label, 4, w, margin=0.5), 1)
        add('margin_mse', lambda z, i: losses.margin_mse(z, targets, ids, label, own, w), 1)
    return tensors


def sampled(rng: np.random.Generator, teacher: Tensor, temperature: float, draws: int) -> tuple[Tensor, Tensor]:
    """Distinct ids [rows, draws] of `draws` draws from the teacher, -1 behind them, and their share of the draws."""
    ids, weights = torch.full((len(teacher), draws), -1), torch.zeros(len(teacher), draws, dtype=torch.float64)
    for row, p in enumerate((teacher / temperature).softmax(1)):
        found, counts = np.unique(rng.choice(len(p), draws, p=p.numpy() / p.numpy().sum()), return_counts=True)
        ids[row, :len(found)], weights[row, :len(found)] = torch.from_numpy(found), torch.from_numpy(counts / draws)
    return ids, weights.float().double()


def losses_golden() -> Tensors:
    rng = np.random.default_rng(3)
    cases = dict(plain=loss_case(rng, 6, 23, 5),
                 weighted=loss_case(rng, 6, 23, 5, weights=[1, 0.5, 0, 2, 0.25, 1.5]),
                 full=loss_case(rng, 5, 7, 7),
                 spread=loss_case(rng, 6, 23, 5, peak=60),
                 single=loss_case(rng, 5, 23, 1),
                 match=loss_case(rng, 4, 23, 5, match=True),
                 ragged=loss_case(rng, 6, 23, 5, ragged=[5, 3, 1, 4, 2, 5]))
    tensors = {f'{case}.{name}': tensor for case, found in cases.items() for name, tensor in found.items()}
    return tensors | dict(temperatures=torch.tensor([1.0, 2.0, 4.0]))


def vectors_golden() -> Tensors:
    """Losses between taps and vectors; the map's weights are given, and the gradient goes to them and to the tap."""
    rng, rows, width, out, samples, bank_width = np.random.default_rng(5), 7, 6, 9, 11, 5
    tap, vectors, w = normal(rng, rows, width), normal(rng, rows, out), torch.tensor([1, .5, 2, 0, 1, .25, 3]).double()
    weight, bias = normal(rng, out, width, std=0.4), normal(rng, out, std=0.1)
    tap[5], vectors[5] = tap[2], vectors[2]  # a distance of 0
    vectors[6] = 0
    tensors = dict(tap=tap, vectors=vectors, weights=w, weight=weight, bias=bias)

    def add(name: str, evaluate: Callable[..., losses.Sums], leaves: Tensors) -> None:
        copies = {key: tensor.clone().requires_grad_() for key, tensor in leaves.items()}
        value, total = evaluate(**copies)
        tensors.update({f'{name}.sum': value, f'{name}.weight': total})
        for key, grad in zip(copies, torch.autograd.grad(value, list(copies.values()))):
            tensors[f'{name}.grad_{key}'] = grad

    mapped = dict(tap=tap, weight=weight, bias=bias)
    for name in ('hint', 'cosine', 'pkd'):
        add(name, lambda tap, weight, bias: getattr(losses, name)(tap @ weight.T + bias, vectors, w), mapped)
    add('info_nce', lambda tap, weight, bias: losses.info_nce(tap @ weight.T + bias, vectors, weights=w), mapped)
    add('info_nce_symmetric', lambda tap, weight, bias: losses.info_nce(
        tap @ weight.T + bias, vectors, 0.5, symmetric=True, weights=w), mapped)
    add('rkd_distance', lambda tap: losses.rkd_distance(tap, vectors, w), dict(tap=tap))

    banks = [torch.nn.functional.normalize(normal(rng, samples, bank_width)) for _ in range(2)]
    own, drawn = torch.tensor([3, 0, 7, 10, 5, 1, 8]), torch.arange(samples)
    maps = dict(student_weight=normal(rng, bank_width, width, std=0.4), student_bias=normal(rng, bank_width, std=0.1),
                teacher_weight=normal(rng, bank_width, out, std=0.4), teacher_bias=normal(rng, bank_width, std=0.1))
    tensors |= maps | dict(student_bank=banks[0].float().double(), teacher_bank=banks[1].float().double(), samples=own)
    add('crd', lambda tap, student_weight, student_bias, teacher_weight, teacher_bias: losses.crd(
        tap @ student_weight.T + student_bias, vectors @ teacher_weight.T + teacher_bias, tensors['student_bank'],
        tensors['teacher_bank'], own, drawn, weights=w), dict(tap=tap) | maps)
    return tensors


def training_golden(dtype: torch.dtype = torch.float64) -> Tensors:
    rng, steps, k, temperature = np.random.default_rng(4), 10, 6, 2.0
    torch.manual_seed(4)
    model = SASRec(**SHAPE).train()
    for table in (model.item, model.position):
        table.weight.data = normal(rng, *table.weight.shape, std=0.02)
    model = model.to(dtype)
    tensors: Tensors = {'spec': SPEC} | {f'initial.{name}': p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01)
    curves: dict[str, list[Tensor]] = {'ce': [], 'kl_tail': [], 'total': []}
    for step in range(steps):
        lengths = rng.integers(1, SHAPE['max_length'] + 1, 4 + step % 3)  # of the inputs; a row has one item more
        rows = [torch.from_numpy(rng.integers(0, SHAPE['items'], n + 1)) for n in lengths]
        ids, targets = torch.cat([r[:-1] for r in rows]), torch.cat([r[1:] for r in rows])
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        teacher = normal(rng, len(ids), SHAPE['items'], std=1.5)
        teacher[torch.arange(len(ids)), targets] += 2
        label_ids = best(teacher, k)
        label = teacher.gather(1, label_ids).float()
        rest = rest_lse(teacher, label_ids, [temperature])[:, 0].float()
        batch = dict(ids=ids, offsets=offsets, targets=targets, label_ids=label_ids, label_logits=label,
                     label_rest_lse=rest)
        tensors |= {f'batch.{step}.{name}': tensor for name, tensor in batch.items()}

        logits = model(ids, offsets) @ model.item.weight.T
        ce, weight = losses.ce(logits, targets)
        kl, _ = losses.kl_tail(logits, label_ids, label.to(dtype), rest.to(dtype), temperature)
        loss = (ce + 1.0 * kl) / weight
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {f'first_grad.{name}': p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        for curve, value in zip(curves.values(), (ce / weight, kl / weight, loss)):
            curve.append(value.detach())
    tensors |= {f'loss.{name}': torch.stack(values) for name, values in curves.items()}
    return tensors | {f'final.{name}': p for name, p in model.named_parameters()}


FILES: dict[str, Callable[[], Tensors]] = {
    'sasrec': sasrec_golden, 'gru4rec': gru4rec_golden, 'catalogue': catalogue_golden, 'losses': losses_golden, 'vectors': vectors_golden,
    'training': training_golden}


def stored(tensors: Tensors) -> Tensors:
    return {name: t.detach().to(torch.float32 if t.is_floating_point() else torch.int64).contiguous().clone()
            for name, t in tensors.items()}


def difference(new: Tensor, old: Tensor) -> str | None:
    """What is wrong between two tensors, to 1e-6 of the largest finite value."""
    if new.dtype != old.dtype or new.shape != old.shape:
        return f'is {new.dtype} {list(new.shape)}, the file has {old.dtype} {list(old.shape)}'
    a, b = new.double(), old.double()
    if not torch.equal(a.isfinite(), b.isfinite()) or not torch.equal(a[~a.isfinite()], b[~b.isfinite()]):
        return 'differs in what is not finite'
    a, b = a[a.isfinite()], b[b.isfinite()]
    off = float((a - b).abs().max()) if a.numel() else 0.0
    limit = 1e-6 * float(b.abs().max()) + 1e-9 if new.is_floating_point() and b.numel() else 0.0
    return f'differs by {off:.3g}, allowed {limit:.3g}' if off > limit else None


def check(path: Path, tensors: Tensors) -> list[str]:
    if not path.is_file():
        return [f'{path}: missing']
    old = load_file(path)
    reports = {name: f'only in the {"file" if name in old else "generator"}' for name in old.keys() ^ tensors.keys()}
    reports |= {name: difference(tensors[name], old[name]) for name in old.keys() & tensors.keys()}
    return [f'{path}: {name}: {report}' for name, report in sorted(reports.items()) if report]


def main() -> int:
    parser = argparse.ArgumentParser(description='Make or check the golden files.')
    parser.add_argument('--out', type=Path, help='folder to write to')
    parser.add_argument('--check', type=Path, help='folder to compare with')
    arguments = parser.parse_args()
    if not arguments.out and not arguments.check:
        parser.error('give --out or --check')
    torch.set_num_threads(1)
    problems = []
    for name, make in FILES.items():
        tensors = stored(make())
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            save_file(tensors, arguments.out / f'{name}.safetensors')
        if arguments.check:
            problems += check(arguments.check / f'{name}.safetensors', tensors)
    print(*problems, sep='\n', end='\n' if problems else '', file=sys.stderr)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
