"""Mean squared error between logits.

Ba, Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014, arXiv:1312.6184, equation 1.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.families.logits import MSELogitsOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits


def mse_logits(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: float = 1.0,
    reduction: Literal["mean", "half_sum"] = "mean",
) -> Tensor:
    """The squared difference of the logits, reduced over classes, then averaged over rows or positions.

    The paper writes half the sum over classes (``half_sum``); its implementations, and the name, say the mean. The two
    differ by the constant C / 2.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.
        temperature: above 0; divides both logits, so that the loss carries 1/T² (TextBrewer).
        reduction: over the classes of a row, ``mean`` or ``half_sum``.

    Returns:
        A scalar, at least 0, and 0 only where the logits are equal. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    student, teacher = widen(student_logits), widen(teacher_logits.detach())
    scale = (1.0 if reduction == "mean" else student.shape[-1] / 2) / temperature**2
    if weight is None and mask is None and student.numel():
        mean = F.mse_loss(student, teacher)  # one fused operation
        return mean if scale == 1 else mean * scale
    return weighted_mean(F.mse_loss(student, teacher, reduction="none").mean(dim=-1), weight, mask, scale=scale)


class MSELogits(DistillationLoss):
    """`mse_logits` as a module."""

    options_type = MSELogitsOptions
    temperature: float
    reduction: Literal["mean", "half_sum"]

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """See `mse_logits`."""
        return mse_logits(
            student_logits, teacher_logits, weight, mask, temperature=self.temperature, reduction=self.reduction
        )
