"""decant's losses as plain formulas over dense logits [rows, items]: for reading, and as an oracle for the tests.

Each returns (sum over rows of weight * loss, sum of weights). A teacher's label is its k best `ids` [rows, k] and its
raw logits there [rows, k]; kl_tail also needs the log-sum-exp of its logits / temperature over all other items [rows].
The three KLs carry temperature ** 2.
"""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Sums = tuple[Tensor, Tensor]


def total(losses: Tensor, weights: Tensor | None) -> Sums:
    weights = torch.ones_like(losses) if weights is None else weights.to(losses.dtype)
    return (weights * losses).sum(), weights.sum()


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) of each row; a class without teacher mass adds nothing."""
    q = log_q.exp()
    return torch.where(q > 0, q * (log_q - log_p), 0.0).sum(1)


def ce(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Sums:
    return total(F.cross_entropy(logits, targets, reduction='none'), weights)


def kl_tail(logits: Tensor, ids: Tensor, teacher_logits: Tensor, teacher_rest_lse: Tensor, temperature: float,
            weights: Tensor | None = None) -> Sums:
    """k + 1 classes: the stored ids, and all other items as one."""
    student, teacher = logits / temperature, teacher_logits / temperature
    teacher_lse = torch.logaddexp(teacher.logsumexp(1), teacher_rest_lse)
    log_p, log_q = student.gather(1, ids), teacher
    if ids.shape[1] < logits.shape[1]:
        rest_lse = student.scatter(1, ids, -torch.inf).logsumexp(1)
        log_p, log_q = torch.column_stack([log_p, rest_lse]), torch.column_stack([log_q, teacher_rest_lse])
    log_p, log_q = log_p - student.logsumexp(1, keepdim=True), log_q - teacher_lse[:, None]
    return total(temperature**2 * divergence(log_q, log_p), weights)


def kl_renormalised(logits: Tensor, ids: Tensor, teacher_logits: Tensor, temperature: float,
                    weights: Tensor | None = None) -> Sums:
    """Teacher and student as distributions over the stored ids only."""
    log_p = (logits.gather(1, ids) / temperature).log_softmax(1)
    return total(temperature**2 * divergence((teacher_logits / temperature).log_softmax(1), log_p), weights)


def kl_truncated(logits: Tensor, ids: Tensor, teacher_logits: Tensor, temperature: float,
                 weights: Tensor | None = None) -> Sums:
    """The teacher over the stored ids only, the student over all items."""
    log_p = (logits / temperature).log_softmax(1).gather(1, ids)
    return total(temperature**2 * divergence((teacher_logits / temperature).log_softmax(1), log_p), weights)


def mse(logits: Tensor, ids: Tensor, teacher_logits: Tensor, weights: Tensor | None = None) -> Sums:
    """Squared difference of the logits at the stored ids, each side centred over them."""
    if ids.shape[1] < 2:
        raise ValueError('mse needs k of at least 2: one logit less its own mean is always 0')
    student = logits.gather(1, ids)
    student, teacher = student - student.mean(1, keepdim=True), teacher_logits - teacher_logits.mean(1, keepdim=True)
    return total((student - teacher).square().mean(1), weights)
