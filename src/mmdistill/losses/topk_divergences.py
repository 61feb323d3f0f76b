"""Divergences from a teacher of which only the largest logits were kept.

DistillKit, Arcee AI, 2024 to 2026, sparse (top-k) Kullback-Leibler, Jensen-Shannon and total variation losses for
signals stored offline.

**What is exact.** Of a truncated teacher one knows the k largest logits and R, the weight of all other classes
together, at temperature 1. Seen as a distribution over k + 1 outcomes, "one of these k classes, or any other", teacher
and student are both known exactly, and so is every divergence between the two; it is at most the divergence over all
classes, and equal to it where k is the number of classes. **What is not.** At another temperature T the weight of the
other classes is the sum of exp(z / T) over each of them, which R does not tell. The default, `one_outcome`, softens
the k + 1 outcomes instead, the same way on both sides: a well-defined distribution that needs no guess, is zero at
equality and is the same for a dense teacher and its stored truncation. The forms that people use elsewhere are
options:

- `dropped`: the distribution among the k classes alone, on both sides. Exact at every temperature.
- `zero` (DistillKit's default): the teacher's k probabilities are scaled up to 1, as if no other class were possible,
  while the student keeps all of its classes. Not zero at equality: it teaches the student to be surer than its teacher.
- `symmetric_uniform` (DistillKit): one outcome for the rest, but the teacher's is softened as a whole (R to the power
  1/T) and the student's class by class. The same as `one_outcome` at T = 1, and not zero at equality elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.truncated_logits import TopKJSDOptions, TopKKLOptions, TopKTVDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.probabilities import kl_terms
from mmdistill.losses.reduction import mean_of_sums
from mmdistill.losses.truncation import LOG_OF_NOTHING, TruncatedLogits, log_weight_of_others, truncated_teacher

Remainder: TypeAlias = Literal["one_outcome", "dropped", "zero", "symmetric_uniform"]


def topk_kl(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_values: Tensor | None = None,
    teacher_indices: Tensor | None = None,
    teacher_log_remainder: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    k: int = 32,
    temperature: float = 1.0,
    remainder: Remainder = "one_outcome",
) -> Tensor:
    """T² · KL(teacher ‖ student) over the teacher's k likeliest classes and the rest, averaged over rows or positions.

    The teacher is dense (`teacher_logits`, cut here) or truncated already (the three arguments after it, which win
    where both are given). See the module's page for what is exact and for the other forms of the remainder.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        teacher_values: (B, k) or (B, L, k) logits or log-probabilities at temperature 1; receive no gradient.
        teacher_indices: int64, the same shape: their classes.
        teacher_log_remainder: (B,) or (B, L), the log-sum-exp of all other logits at temperature 1 (the logarithm of
            the probability that is left, where the values are log-probabilities). `truncate_logits` gives all three.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        k: how many classes of a dense teacher are kept.
        temperature: above 0.
        remainder: what becomes of the other classes.

    Returns:
        A scalar, at least 0; 0 where student and teacher agree on the k classes and the sum of the rest.
        Typical weight: 1, with or without a supervised loss.

    Raises:
        InputError: when the teacher is missing or incomplete, or shapes do not belong together.
    """
    teacher = (teacher_logits, teacher_values, teacher_indices, teacher_log_remainder)
    return _compare(_kullback_leibler, student_logits, teacher, weight, mask, k, temperature, remainder)


def topk_jsd(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_values: Tensor | None = None,
    teacher_indices: Tensor | None = None,
    teacher_log_remainder: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    k: int = 32,
    temperature: float = 1.0,
    remainder: Remainder = "one_outcome",
) -> Tensor:
    """T² · ½ (KL(teacher ‖ m) + KL(student ‖ m)) with m the mean of the two, over the k likeliest classes and the rest.

    Args:
        student_logits: as in `topk_kl`, like every argument.
        teacher_logits: see there.
        teacher_values: see there.
        teacher_indices: see there.
        teacher_log_remainder: see there.
        weight: see there.
        mask: see there.
        k: see there.
        temperature: see there.
        remainder: see there.

    Returns:
        A scalar from 0 to T² · log 2; 0 where student and teacher agree on the k classes and the sum of the rest.
        Typical weight: 1.

    Raises:
        InputError: as in `topk_kl`.
    """
    teacher = (teacher_logits, teacher_values, teacher_indices, teacher_log_remainder)
    return _compare(_jensen_shannon, student_logits, teacher, weight, mask, k, temperature, remainder)


def topk_tvd(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_values: Tensor | None = None,
    teacher_indices: Tensor | None = None,
    teacher_log_remainder: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    k: int = 32,
    temperature: float = 1.0,
    remainder: Remainder = "one_outcome",
) -> Tensor:
    """T² · ½ Σ |teacher − student| of the probabilities of the k likeliest classes and the rest.

    Args:
        student_logits: as in `topk_kl`, like every argument.
        teacher_logits: see there.
        teacher_values: see there.
        teacher_indices: see there.
        teacher_log_remainder: see there.
        weight: see there.
        mask: see there.
        k: see there.
        temperature: see there.
        remainder: see there.

    Returns:
        A scalar from 0 to T²; 0 where student and teacher agree on the k classes and the sum of the rest.
        Typical weight: 1.

    Raises:
        InputError: as in `topk_kl`.
    """
    teacher = (teacher_logits, teacher_values, teacher_indices, teacher_log_remainder)
    return _compare(_total_variation, student_logits, teacher, weight, mask, k, temperature, remainder)


_Teacher: TypeAlias = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
_Divergence: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _compare(
    divergence: _Divergence,
    student_logits: Tensor,
    teacher: _Teacher,
    weight: Tensor | None,
    mask: Tensor | None,
    k: int,
    temperature: float,
    remainder: Remainder,
) -> Tensor:
    """The mean over rows or positions of a divergence, given by its terms from log-probabilities, times T²."""
    needs_remainder = remainder in ("one_outcome", "symmetric_uniform")
    truncated = truncated_teacher(student_logits, *teacher, k=k, needs_remainder=needs_remainder)
    student, target = _log_probabilities(widen(student_logits), truncated, temperature, remainder)
    return mean_of_sums(divergence(student, target), weight, mask, scale=temperature**2)


def _log_probabilities(
    logits: Tensor, teacher: TruncatedLogits, temperature: float, remainder: Remainder
) -> tuple[Tensor, Tensor]:
    """Softened log-probabilities of student and teacher, (…, k + 1), or (…, k) where the rest is dropped."""
    kept = logits.gather(-1, teacher.indices)
    if remainder == "dropped":
        return F.log_softmax(kept / temperature, dim=-1), F.log_softmax(teacher.values / temperature, dim=-1)
    if remainder == "one_outcome":
        rest = log_weight_of_others(logits, teacher.indices) / temperature
    else:
        rest = log_weight_of_others(logits / temperature, teacher.indices)
    nothing = torch.full_like(teacher.log_remainder, LOG_OF_NOTHING)
    teacher_rest = nothing if remainder == "zero" else teacher.log_remainder / temperature
    return _joined(kept / temperature, rest), _joined(teacher.values / temperature, teacher_rest)


def _joined(kept: Tensor, rest: Tensor) -> Tensor:
    return F.log_softmax(torch.cat((kept, rest[..., None]), dim=-1), dim=-1)


def _kullback_leibler(student: Tensor, teacher: Tensor) -> Tensor:
    return kl_terms(teacher, student)


def _jensen_shannon(student: Tensor, teacher: Tensor) -> Tensor:
    mean = torch.logaddexp(student, teacher) - math.log(2)
    return 0.5 * (kl_terms(teacher, mean) + kl_terms(student, mean))


def _total_variation(student: Tensor, teacher: Tensor) -> Tensor:
    return 0.5 * (teacher.exp() - student.exp()).abs()


class _TopKDivergence(DistillationLoss):
    """What the three modules share: their arguments and options."""

    function: ClassVar[Callable[..., Tensor]]
    k: int
    temperature: float
    remainder: Remainder

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None = None,
        teacher_values: Tensor | None = None,
        teacher_indices: Tensor | None = None,
        teacher_log_remainder: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See the function of the same name."""
        return type(self).function(
            student_logits,
            teacher_logits,
            teacher_values,
            teacher_indices,
            teacher_log_remainder,
            weight,
            mask,
            k=self.k,
            temperature=self.temperature,
            remainder=self.remainder,
        )


class TopKKL(_TopKDivergence):
    """`topk_kl` as a module."""

    options_type = TopKKLOptions
    function = staticmethod(topk_kl)


class TopKJSD(_TopKDivergence):
    """`topk_jsd` as a module."""

    options_type = TopKJSDOptions
    function = staticmethod(topk_jsd)


class TopKTVD(_TopKDivergence):
    """`topk_tvd` as a module."""

    options_type = TopKTVDOptions
    function = staticmethod(topk_tvd)
