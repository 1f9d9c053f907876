"""decant's losses as plain formulas over dense logits [rows, items]: for reading, and as an oracle for the tests.

Each returns (sum over rows of weight * loss, sum of weights). A teacher's label is some `ids` [rows, k], best first, and
its raw logits there [rows, k]; a row with fewer has ids of -1 and logits of -inf. Losses with a tail also need the
log-sum-exp of its logits / temperature over all other items [rows]. Losses with a temperature carry its square.
"""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Sums = tuple[Tensor, Tensor]


def total(losses: Tensor, weights: Tensor | None) -> Sums:
    weights = torch.ones_like(losses) if weights is None else weights.to(losses.dtype)
    return (weights * losses).sum(), weights.sum()


def divergence(log_q: Tensor, log_p: Tensor, direction: str = 'forward', beta: float = 0.5,
               scaled: bool = False) -> Tensor:
    """KL(q || p), KL(p || q) or a generalised Jensen-Shannon divergence of each row, q the teacher's."""
    some = (log_q > -torch.inf) & (log_p > -torch.inf)  # a class of which either side has nothing adds nothing
    log_q, log_p = log_q.masked_fill(~some, 0), log_p.masked_fill(~some, 0)
    q, p = log_q.exp(), log_p.exp()
    if direction == 'forward':
        terms = q * (log_q - log_p)
    elif direction == 'reverse':
        terms = p * (log_p - log_q)
    else:
        log_m = (beta * q + (1 - beta) * p).log()
        terms = beta * q * (log_q - log_m) + (1 - beta) * p * (log_p - log_m)
        terms = terms / (beta * (1 - beta)) if scaled else terms
    return torch.where(some, terms, 0.0).sum(1)


def take(logits: Tensor, ids: Tensor) -> Tensor:
    """Logits of `ids`, -inf where there is none."""
    return logits.gather(1, ids.clamp_min(0)).masked_fill(ids < 0, -torch.inf)


def rest_of(logits: Tensor, ids: Tensor) -> Tensor:
    """log-sum-exp over the items that `ids` do not name; -inf where they name all."""
    named = (ids[:, :, None] == torch.arange(logits.shape[1])).any(1)
    left = logits.masked_fill(named, -torch.inf)
    return torch.where(named.all(1), -torch.inf, left.masked_fill(named.all(1, keepdim=True), 0).logsumexp(1))


def with_tail(logits: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_rest_lse: Tensor,
              temperature: float) -> tuple[Tensor, Tensor]:
    """log q and log p over the stored ids, and all other items as one."""
    student, teacher = logits / temperature, teacher_logits / temperature
    log_p = torch.column_stack([take(student, ids), rest_of(student, ids)])
    log_q = torch.column_stack([teacher, teacher_rest_lse])
    return log_q.log_softmax(1), log_p - student.logsumexp(1, keepdim=True)


def ce(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Sums:
    return total(F.cross_entropy(logits, targets, reduction='none'), weights)


def kl_tail(logits: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_rest_lse: Tensor, temperature: float,
            weights: Tensor | None = None, **direction) -> Sums:
    """k + 1 classes: the stored ids, and all other items as one."""
    log_q, log_p = with_tail(logits, ids, teacher_logits, teacher_rest_lse, temperature)
    return total(temperature**2 * divergence(log_q, log_p, **direction), weights)


def soft_ce(logits: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_rest_lse: Tensor, temperature: float,
            weights: Tensor | None = None) -> Sums:
    """Cross-entropy over the same classes: the gradient of kl_tail, and the teacher's entropy in the value."""
    log_q, log_p = with_tail(logits, ids, teacher_logits, teacher_rest_lse, temperature)
    some = (log_q > -torch.inf) & (log_p > -torch.inf)
    return total(-temperature**2 * (log_q.exp() * log_p.masked_fill(~some, 0)).sum(1), weights)


def kl_renormalised(logits: Tensor, ids: Tensor, teacher_logits: Tensor, temperature: float,
                    weights: Tensor | None = None, **direction) -> Sums:
    """Teacher and student as distributions over the stored ids only. Over candidates it is list_kl."""
    log_p = (take(logits, ids) / temperature).log_softmax(1)
    log_q = (teacher_logits / temperature).log_softmax(1)
    return total(temperature**2 * divergence(log_q, log_p, **direction), weights)


def kl_truncated(logits: Tensor, ids: Tensor, teacher_logits: Tensor, temperature: float,
                 weights: Tensor | None = None) -> Sums:
    """The teacher over the stored ids only, the student over all items."""
    log_p = take((logits / temperature).log_softmax(1), ids)
    return total(temperature**2 * divergence((teacher_logits / temperature).log_softmax(1), log_p), weights)


def kl_sampled(logits: Tensor, ids: Tensor, draw_weights: Tensor, temperature: float,
               weights: Tensor | None = None) -> Sums:
    """Cross-entropy of the teacher's distribution, estimated from ids drawn from it."""
    log_p = take((logits / temperature).log_softmax(1), ids)
    return total(-temperature**2 * (draw_weights * log_p.masked_fill(ids < 0, 0)).sum(1), weights)


def mse(logits: Tensor, ids: Tensor, teacher_logits: Tensor, weights: Tensor | None = None) -> Sums:
    """Squared difference of the logits at the stored ids, each side centred over them."""
    if ids.shape[1] < 2:
        raise ValueError('mse needs k of at least 2: one logit less its own mean is always 0')
    some, count = ids >= 0, (ids >= 0).sum(1, keepdim=True).clamp_min(1)

    def centred(z: Tensor) -> Tensor:
        z = z.masked_fill(~some, 0)
        return (z - z.sum(1, keepdim=True) / count).masked_fill(~some, 0)

    gap = centred(take(logits, ids)) - centred(teacher_logits)
    return total((gap.square() / count).sum(1), weights)


def logit_std(logits: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_mean: Tensor, teacher_variance: Tensor,
              temperature: float, weights: Tensor | None = None) -> Sums:
    """Over the stored ids, after each side is standardised by its moments over the whole catalogue."""
    def standard(z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        z = (z.masked_fill(ids < 0, 0) - mean[:, None]) / (variance.clamp_min(1e-12).sqrt() * temperature)[:, None]
        return z.masked_fill(ids < 0, -torch.inf)

    log_p = standard(take(logits, ids), logits.mean(1), logits.var(1, unbiased=False)).log_softmax(1)
    log_q = standard(teacher_logits, teacher_mean, teacher_variance).log_softmax(1)
    return total(temperature**2 * divergence(log_q, log_p), weights)


def dkd(logits: Tensor, targets: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_rest_lse: Tensor,
        teacher_target_logit: Tensor, temperature: float, alpha: float = 1, beta: float = 8,
        weights: Tensor | None = None) -> Sums:
    """Target against all others, and the others among themselves: stored ids but the target, and the rest as one."""
    student, teacher = logits / temperature, teacher_logits / temperature
    is_target = ids == targets[:, None]
    own = teacher_target_logit / temperature
    stored = is_target.any(1)
    rest = torch.where(stored, teacher_rest_lse, teacher_rest_lse + torch.log1p(-(own - teacher_rest_lse).exp()))
    others_q = torch.column_stack([teacher.masked_fill(is_target, -torch.inf), rest])
    others_p = torch.column_stack([take(student, ids).masked_fill(is_target, -torch.inf),
                                   rest_of(student, torch.column_stack([ids, targets]))])
    pair_q = torch.column_stack([own, others_q.logsumexp(1)]).log_softmax(1)
    pair_p = torch.column_stack([student.gather(1, targets[:, None]), others_p.logsumexp(1)]).log_softmax(1)
    among = divergence(others_q.log_softmax(1), others_p.log_softmax(1))
    return total(temperature**2 * (alpha * divergence(pair_q, pair_p) + beta * among), weights)


def rrd(logits: Tensor, ids: Tensor, uninteresting: Tensor, weights: Tensor | None = None) -> Sums:
    """The teacher's order of `ids`, drawn from themselves and the items marked in `uninteresting` [rows, items]."""
    scores, losses = take(logits, ids), torch.zeros(len(ids), dtype=logits.dtype)
    for row, (s, drawn) in enumerate(zip(scores, uninteresting)):
        for k in range(int((ids[row] >= 0).sum())):
            left = torch.cat([s[k:], logits[row][drawn]])
            losses[row] = losses[row] + left.logsumexp(0) - s[k]
    return total(losses, weights)


def rd(logits: Tensor, targets: Tensor, ids: Tensor, depth: int, drawn: Tensor, lam: float = 1, mu: float = 0.1,
       weights: Tensor | None = None) -> Sums:
    """-log sigmoid of the teacher's best but the target, weighted by place and by how much deeper the student has them;
    that is estimated from the items marked in `drawn` [rows, items]."""
    losses = []
    for row in range(len(ids)):
        best = [i for i in ids[row].tolist() if i >= 0 and i != targets[row]][:depth]
        place = torch.arange(1, len(best) + 1)
        static = torch.exp(-place / lam).to(logits.dtype)
        scores, others = logits[row][best], logits[row][drawn[row]].detach()
        above = (others[None, :] > scores.detach()[:, None]).sum(1)
        rank = ((logits.shape[1] - 1) * above).div(max(len(others), 1), rounding_mode='floor')
        w = static / static.sum() * torch.tanh(mu * (rank - place).to(logits.dtype)).clamp_min(0)
        losses.append((-F.logsigmoid(scores) * w).sum())
    return total(torch.stack(losses), weights)


def pairs(logits: Tensor, ids: Tensor, teacher_logits: Tensor, depth: int, weights: Tensor | None = None,
          margin: float | str | None = None, tie: float = 1e-6) -> Sums:
    """Mean over pairs that the teacher tells apart: bpr without a margin, else a hinge ('teacher': its difference)."""
    losses = []
    for s, t, row in zip(take(logits, ids), teacher_logits, ids):
        best = [j for j in t.argsort(descending=True).tolist() if row[j] >= 0][:depth]
        found = []
        for i in best:
            for j in best:
                if t[i] - t[j] > tie:
                    gap = s[i] - s[j]
                    wanted = t[i] - t[j] if margin == 'teacher' else margin
                    found.append(-F.logsigmoid(gap) if margin is None else (wanted - gap).clamp_min(0))
        losses.append(torch.stack(found).mean() if found else logits.sum() * 0)
    return total(torch.stack(losses), weights)


def margin_mse(logits: Tensor, targets: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_target_logit: Tensor,
               weights: Tensor | None = None) -> Sums:
    """How far the target stands above each stored item, as in the teacher."""
    some = (ids >= 0) & (ids != targets[:, None])
    student = logits.gather(1, targets[:, None]) - take(logits, ids).masked_fill(~some, 0)
    teacher = teacher_target_logit[:, None] - teacher_logits.masked_fill(~some, 0)
    gap = (student - teacher).masked_fill(~some, 0).square().sum(1) / some.sum(1).clamp_min(1)
    return total(gap, weights)


# Between a tap of the student [rows, d] and the teacher's vectors [rows, e]; `mapped` is the learned linear map of the tap.

def hint(mapped: Tensor, vectors: Tensor, weights: Tensor | None = None) -> Sums:
    return total((mapped - vectors).square().mean(1), weights)


def cosine(mapped: Tensor, vectors: Tensor, weights: Tensor | None = None) -> Sums:
    return total(1 - F.cosine_similarity(mapped, vectors), weights)


def pkd(mapped: Tensor, vectors: Tensor, weights: Tensor | None = None) -> Sums:
    return total((F.normalize(mapped) - F.normalize(vectors)).square().sum(1), weights)


def rkd_distance(tap: Tensor, vectors: Tensor, weights: Tensor | None = None) -> Sums:
    """Distances between rows, in units of their mean; of a row, the mean over all rows."""
    def distances(x: Tensor) -> Tensor:
        d = torch.cdist(x, x, compute_mode='donot_use_mm_for_euclid_dist')
        return d / d[d > 0].mean() if (d > 0).any() else d

    return total(F.smooth_l1_loss(distances(tap), distances(vectors), reduction='none').mean(1), weights)


def info_nce(mapped: Tensor, vectors: Tensor, temperature: float = 0.07, symmetric: bool = False,
             weights: Tensor | None = None) -> Sums:
    similarity = F.normalize(mapped) @ F.normalize(vectors).T / temperature
    own = torch.arange(len(similarity))
    losses = F.cross_entropy(similarity, own, reduction='none')
    if symmetric:
        losses = (losses + F.cross_entropy(similarity.T, own, reduction='none')) / 2
    return total(losses, weights)


def crd(student: Tensor, teacher: Tensor, student_bank: Tensor, teacher_bank: Tensor, rows: Tensor, drawn: Tensor,
        temperature: float = 0.07, weights: Tensor | None = None) -> Sums:
    """Mapped rows [rows, width], the two banks [samples, width], the sample of each row, the samples drawn as negatives.
    The normalisers are those of these very scores, as in the first step."""
    losses = 0
    for own, bank in ((F.normalize(student), teacher_bank), (F.normalize(teacher), student_bank)):
        positive, negative = (own * bank[rows]).sum(1) / temperature, own @ bank[drawn].T / temperature
        other = drawn[None, :] != rows[:, None]
        with torch.no_grad():
            z = torch.cat([positive.exp(), negative[other].exp()]).mean() * len(bank)
        noise = len(drawn) / len(bank)
        p, n = positive.exp() / z, negative.exp() / z
        losses = losses - (p / (p + noise)).log() - torch.where(other, (noise / (n + noise)).log(), 0.0).sum(1)
    return total(losses, weights)
