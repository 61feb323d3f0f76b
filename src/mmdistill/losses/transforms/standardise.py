"""Logit standardisation.

Sun, Ren, Li, Wang, Cao, "Logit Standardization in Knowledge Distillation", CVPR 2024, arXiv:2403.01427, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.options_module import OptionsModule
from mmdistill.losses.precision import widen
from mmdistill.losses.transforms.catalog import StandardiseOptions

_ADDED = 1e-7
"""What the authors' code adds to the standard deviation."""


def standardise(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(z − mean(z)) / (T · std(z)) over the classes of each row or position, std with the divisor C − 1.

    A loss between standardised logits no longer asks the student for logits as large as the teacher's. In the paper's
    trainer the base temperature divides the standardised logits and kd and dkd carry its square: give it to the loss as
    its own temperature, which brings the T². The temperature here brings none; it is for a loss without one.

    A row whose logits are all equal gives zeros and no gradient, where the authors' code gives one of the order of 1e7.

    Args:
        logits: (B, C), or (B, L, C) for sequences, with C ≥ 2.
        temperature: above 0; the standard deviation of the result is one over it.

    Returns:
        The same shape, in float32 or wider; mean 0 and standard deviation 1 / T over the classes.

    Raises:
        InputError: when there are fewer than two classes.
    """
    classes = logits.shape[-1]
    if classes < 2:
        raise InputError(f"A row of {classes} logits has no standard deviation", where="standardise")
    # One operation forward and one backward; its third result is one over the standard deviation with the divisor C.
    normalised, _, inverse = torch.native_layer_norm(widen(logits), [classes], None, None, _ADDED**2)
    correction = ((classes - 1) / classes) ** 0.5
    deviation = 1 / (inverse.detach() * correction)
    factor = correction / temperature * deviation / (deviation + _ADDED)
    return normalised * torch.where(deviation > 2 * _ADDED, factor, 0)


class Standardise(OptionsModule):
    """`standardise` of both sides, as a transform of a loss term."""

    options_type = StandardiseOptions
    temperature: float

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides standardised each by itself; the teacher's receives no gradient."""
        return (
            standardise(student_logits, temperature=self.temperature),
            standardise(teacher_logits.detach(), temperature=self.temperature),
        )
