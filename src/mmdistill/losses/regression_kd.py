"""Distillation of numbers: a distance to the teacher's values, or the teacher as a bound on the error.

Chen, Choi, Yu, Han, Chandraker, "Learning Efficient Object Detection Models with Knowledge Distillation", NIPS 2017,
section 3.3 (teacher bounded regression). The distances are those of plain regression; dividing by the teacher's
standard deviation is the divergence between Gaussians of the teacher's variance.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.families.task_outputs import BoundedRegressionOptions, RegressionKDOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import mean_of_sums, weighted_mean
from mmdistill.losses.shapes import check_logits


def regression_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    teacher_variance: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    distance: Literal["l2", "l1", "huber"] = "l2",
    delta: float = 1.0,
    heteroscedastic: bool = False,
    smallest_variance: float = 1e-4,
) -> Tensor:
    """The distance between the values that student and teacher give, averaged over values and rows or positions.

    With d = student − teacher: l2 is d², l1 is |d|, huber is ½ d² up to |d| = delta and delta · (|d| − ½ delta) beyond.
    `heteroscedastic` counts d in the teacher's standard deviations, so that values of which the teacher is unsure pull
    less; half of its l2 is the KL divergence between Gaussians of the teacher's variance.

    Args:
        student_logits: (B, D), or (B, L, D) for sequences: the values of a head, whose tap is called logits for every
            task; in the units that the task scales its targets to.
        teacher_logits: the same shape; receives no gradient.
        teacher_variance: the same shape, not negative, in squared units: how unsure the teacher is, from a head of its
            own or from several teachers; receives no gradient. Needed with `heteroscedastic`, and unused without.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        distance: see above.
        delta: where huber turns from squared to absolute, above 0.
        heteroscedastic: whether `teacher_variance` is used.
        smallest_variance: what is added to the variance, above 0.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree. Typical weight: 1 beside 1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together, or the variance is needed and missing.
    """
    _check_values(student_logits, teacher_logits)
    student, teacher = widen(student_logits), widen(teacher_logits.detach())
    if heteroscedastic:
        per_deviation = _precision(teacher_variance, teacher, smallest_variance).sqrt()
        student, teacher = student * per_deviation, teacher * per_deviation
    alike = weight is None and mask is None and student.numel() > 0
    reduction = "mean" if alike else "none"  # one fused operation where it can be
    if distance == "l2":
        values = F.mse_loss(student, teacher, reduction=reduction)
    elif distance == "l1":
        values = F.l1_loss(student, teacher, reduction=reduction)
    else:
        values = F.huber_loss(student, teacher, reduction=reduction, delta=delta)
    return values if alike else mean_of_sums(values, weight, mask, scale=1 / max(student.shape[-1], 1))


def bounded_regression(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    labelled: Tensor | None = None,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    margin: float = 0.0,
) -> Tensor:
    """The student's squared error against the target, where it is not better than the teacher's by a margin.

    ‖student − target‖² where ‖student − target‖² + margin > ‖teacher − target‖², and 0 elsewhere: the teacher's value
    can point away from the target, so it is no goal but a bound. Once a row is inside it, the row teaches no more.

    Args:
        student_logits: (B, D), or (B, L, D) for sequences: the values of a head; one vector, such as a box, a row.
        teacher_logits: the same shape; receives no gradient.
        target: the same shape, in the same units.
        labelled: (B,), true where a row has a target; rows without one get weight zero.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        margin: by how much the student must be better, in squared units, at least 0.

    Returns:
        A scalar, at least 0; with margin 0 it is 0 where student and teacher agree. Typical weight: 0.5 beside 1 of the
        supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    _check_values(student_logits, teacher_logits)
    if target.shape != student_logits.shape:
        raise InputError(
            f"target has shape {tuple(target.shape)}, but student_logits has shape {tuple(student_logits.shape)}",
            fix="Give one number for each value; a task with classes has no such targets",
        )
    truth = widen(target.detach())
    student_error = (widen(student_logits) - truth).square().sum(dim=-1)
    teacher_error = (widen(teacher_logits.detach()) - truth).square().sum(dim=-1)
    outside = student_error.detach() + margin > teacher_error
    if labelled is not None:
        weight = labelled if weight is None else weight * labelled
    return weighted_mean(student_error * outside, weight, mask)


def _check_values(student: Tensor, teacher: Tensor) -> None:
    if student.dim() < 2:
        raise InputError(
            f"student_logits has shape {tuple(student.shape)}, not (rows, values)",
            fix="Give a single value a row the shape (rows, 1)",
        )
    check_logits(student, teacher)


def _precision(variance: Tensor | None, teacher: Tensor, smallest: float) -> Tensor:
    if variance is None or variance.shape != teacher.shape:
        found = "is not given" if variance is None else f"has shape {tuple(variance.shape)}"
        raise InputError(
            f"teacher_variance {found}, and the loss counts in the teacher's standard deviations",
            fix=f"Give one for each value, shape {tuple(teacher.shape)}, or leave heteroscedastic out",
        )
    return 1 / (widen(variance.detach()) + smallest)


class RegressionKD(DistillationLoss):
    """`regression_kd` as a module."""

    options_type = RegressionKDOptions
    distance: Literal["l2", "l1", "huber"]
    delta: float
    heteroscedastic: bool
    smallest_variance: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        teacher_variance: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `regression_kd`."""
        return regression_kd(
            student_logits,
            teacher_logits,
            teacher_variance,
            weight,
            mask,
            distance=self.distance,
            delta=self.delta,
            heteroscedastic=self.heteroscedastic,
            smallest_variance=self.smallest_variance,
        )


class BoundedRegression(DistillationLoss):
    """`bounded_regression` as a module."""

    options_type = BoundedRegressionOptions
    margin: float

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        target: Tensor,
        labelled: Tensor | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `bounded_regression`."""
        return bounded_regression(student_logits, teacher_logits, target, labelled, weight, mask, margin=self.margin)
