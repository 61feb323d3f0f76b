"""Divergence between outputs that each say yes or no."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mmdistill.losses.probabilities import softened


def bernoulli_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL between the yes-or-no distributions of each output, teacher first, in the shape of the logits.

    Everything stays in logarithms of sigmoids, so that a sure output costs no precision and needs no clamp.
    """
    student, teacher = softened(student_logits, temperature), softened(teacher_logits.detach(), temperature)
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return yes + no
