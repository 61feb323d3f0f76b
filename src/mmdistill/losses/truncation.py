"""A distribution that is known by its largest logits and by how much the others weigh together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.precision import widen
from mmdistill.losses.shapes import check_logits

LOG_OF_NOTHING = -1e30
"""Logarithm of the weight of no class at all; finite, so that probability 0 times it is 0."""


class TruncatedLogits(NamedTuple):
    """The k largest logits of every row or position, and the rest as one number.

    Logits are known up to a constant a row, so log-probabilities are logits too; only `values` and `log_remainder` must
    have the same constant.

    Args:
        values: (B, k) or (B, L, k) logits or log-probabilities, at temperature 1; −∞ where a row has fewer.
        indices: int64, the same shape: their classes.
        log_remainder: (B,) or (B, L), the logarithm of the sum of the exponentials of all other logits, at temperature
            1: with log-probabilities, the logarithm of the probability that is left. −∞ where none is.
    """

    values: Tensor
    indices: Tensor
    log_remainder: Tensor


def truncate_logits(logits: Tensor, k: int) -> TruncatedLogits:
    """The k largest logits and the exact weight of the others: what the losses of the top k take for a teacher.

    Args:
        logits: (B, C) or (B, L, C).
        k: how many to keep, at least 1; all of them where there are fewer.

    Raises:
        InputError: when `k` is below 1.
    """
    if k < 1:
        raise InputError("At least one logit must be kept", where=f"k = {k}")
    wide = widen(logits)
    values, indices = wide.topk(min(k, wide.shape[-1]), dim=-1)
    return TruncatedLogits(values, indices, log_weight_of_others(wide, indices))


def log_weight_of_others(logits: Tensor, indices: Tensor) -> Tensor:
    """Log-sum-exp over the classes that are not in `indices`, without the last dimension."""
    return logits.scatter(-1, indices, LOG_OF_NOTHING).logsumexp(dim=-1)


def truncated_teacher(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
    values: Tensor | None,
    indices: Tensor | None,
    log_remainder: Tensor | None,
    *,
    k: int,
    needs_remainder: bool,
) -> TruncatedLogits:
    """The teacher as a loss of the top k sees it, without gradient: as it was stored, or cut from dense logits.

    Args:
        student_logits: (B, C) or (B, L, C).
        teacher_logits: the same shape; not looked at when `values` are there.
        values: see `TruncatedLogits`.
        indices: see `TruncatedLogits`.
        log_remainder: see `TruncatedLogits`; may be left out when it is not needed.
        k: how many logits of a dense teacher are kept; a stored one keeps all it has.
        needs_remainder: whether the loss asks for what is left.

    Raises:
        InputError: when the teacher is missing or incomplete, or shapes do not belong together.
    """
    if values is None or indices is None:
        if teacher_logits is None:
            raise InputError(
                "The loss has no teacher",
                fix="Give teacher_logits, or teacher_values, teacher_indices and teacher_log_remainder",
            )
        check_logits(student_logits, teacher_logits)
        return truncate_logits(teacher_logits.detach(), k)
    if log_remainder is None and needs_remainder:
        raise InputError(
            "The loss counts what the teacher's stored logits leave out, and teacher_log_remainder is not given",
            fix="Store it as truncate_logits gives it, or choose a form that does not need it",
        )
    wide = widen(values.detach()).clamp(min=LOG_OF_NOTHING)
    rest = wide.new_full(wide.shape[:-1], LOG_OF_NOTHING) if log_remainder is None else widen(log_remainder.detach())
    _check_truncated(student_logits, wide, indices, rest)
    return TruncatedLogits(wide, indices.long(), rest.clamp(min=LOG_OF_NOTHING))


def _check_truncated(student_logits: Tensor, values: Tensor, indices: Tensor, log_remainder: Tensor) -> None:
    student, stored = tuple(student_logits.shape), tuple(values.shape)
    if len(student) not in (2, 3):
        raise InputError(f"student_logits has shape {student}, not (rows, classes) or (rows, positions, classes)")
    if stored[:-1] != student[:-1] or stored[-1] > student[-1]:
        raise InputError(
            f"teacher_values has shape {stored}, but student_logits has shape {student}",
            fix="Give the same rows and positions, and no more values than there are classes",
        )
    if tuple(indices.shape) != stored or indices.is_floating_point() or indices.dtype is torch.bool:
        raise InputError(
            f"teacher_indices has shape {tuple(indices.shape)} and type {indices.dtype}, teacher_values shape {stored}",
            fix="Give the class of every value as an integer",
        )
    if tuple(log_remainder.shape) != stored[:-1]:
        raise InputError(
            f"teacher_log_remainder has shape {tuple(log_remainder.shape)}, teacher_values shape {stored}",
            fix="Give one number a row, or a position",
        )
