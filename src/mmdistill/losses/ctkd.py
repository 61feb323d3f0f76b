"""Curriculum temperature: a temperature that is learnt against the student, more and more.

Li, Li, Yang, Zhao, Song, Luo, Li, Yang, "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
arXiv:2211.16231.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmdistill.losses.families.structured_logits import CTKDOptions
from mmdistill.losses.gradient_reversal import reverse_gradient
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import widen, without_autocast
from mmdistill.losses.probabilities import kl_divergence
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.shapes import check_logits


def ctkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: Tensor,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)) with a temperature that is learnt with the student.

    The gradient reaches the temperature through both logits and through T². In the module it is turned round on the way
    (`reverse_gradient`), so that the temperature moves to where the loss is larger, while the student makes it smaller;
    the strength of the reversal rises from nothing along half a cosine, which is the curriculum.

    Args:
        student_logits: (B, C), or (B, L, C) for sequences.
        teacher_logits: the same shape; receives no gradient.
        temperature: above 0; one number, or one a row (B,), or one a position (B, L).
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at positions that count.

    Returns:
        A scalar, at least 0, and 0 where student and teacher agree up to a constant per row. Typical weight: 0.9 beside
        0.1 of the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_logits(student_logits, teacher_logits)
    divisor = temperature[..., None]
    student = (widen(student_logits) / divisor).log_softmax(dim=-1)
    teacher = (widen(teacher_logits.detach()) / divisor).log_softmax(dim=-1)
    return weighted_mean(kl_divergence(teacher, student) * temperature**2, weight, mask)


class GlobalTemperature(nn.Module):
    """One learned number for all rows; the sigmoid of it gives the temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.ones(()))

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:  # noqa: ARG002
        """The number, whatever the logits are."""
        return self.raw


class InstanceTemperature(nn.Module):
    """Two layers that read the predictions of teacher and student, one after the other, and give a number a row.

    They see probabilities, so that the size of the logits does not saturate them, and the student's without gradient:
    the network works against the student, never through it.
    """

    def __init__(self, classes: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * classes, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """(B, C) or (B, L, C) to (B,) or (B, L)."""
        predictions = torch.cat((teacher_logits.softmax(dim=-1), student_logits.softmax(dim=-1)), dim=-1)
        result: Tensor = self.layers(predictions.detach())[..., 0]
        return result


class CTKD(DistillationLoss):
    """`ctkd` with the temperature that it learns: lowest + span · sigmoid(raw).

    The raw number of the global form starts at 1. The authors speak of a range from 1 to 20; the formula, and their
    code, range from `lowest` to `lowest + span`, 1 to 21 with the defaults.
    """

    options_type = CTKDOptions
    form: Literal["global", "instance"]
    lowest: float
    span: float
    strength: float
    rise: float
    hidden: int
    temperature_of: nn.Module

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,  # noqa: ARG002
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """The temperature, or the network that gives it."""
        classes = shapes["student_logits"][-1]
        assert isinstance(classes, int)
        self.temperature_of = (
            GlobalTemperature() if self.form == "global" else InstanceTemperature(classes, self.hidden)
        )

    def reversal(self, progress: float | None) -> float:
        """Strength of the reversal at a share of the training, 0 to 1; the full one where the share is not known."""
        if progress is None or progress >= self.rise:
            return self.strength
        return self.strength * (1 - math.cos(math.pi * progress / self.rise)) / 2

    @without_autocast
    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        progress: float | None = None,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `ctkd`.

        Args:
            student_logits: see there.
            teacher_logits: see there.
            progress: share of the training that is done, 0 to 1.
            weight: see there.
            mask: see there.
        """
        student, teacher = widen(student_logits), widen(teacher_logits.detach())
        require_built(self, "temperature_of")
        raw = reverse_gradient(self.temperature_of(student, teacher), self.reversal(progress))
        return ctkd(student, teacher, self.lowest + self.span * raw.sigmoid(), weight, mask)
