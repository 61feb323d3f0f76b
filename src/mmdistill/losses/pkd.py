"""Patient knowledge distillation: the directions of a summary state in several layers.

Sun, Cheng, Gan, Liu, "Patient Knowledge Distillation for BERT Model Compression", EMNLP 2019, arXiv:1908.09355,
equation 7.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.families.hidden_states import PKDOptions
from mmdistill.losses.layers import check_layers
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.token_pairs import check_mask
from mmdistill.losses.unit_vectors import unit_vectors


def pkd(
    student_layers: tuple[Tensor, ...],
    teacher_layers: tuple[Tensor, ...],
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    state: Literal["first", "mean"] = "first",
) -> Tensor:
    """‖student / ‖student‖ − teacher / ‖teacher‖‖² of one state a layer, summed over layers, averaged over rows.

    The paper takes every second or third layer of the teacher (PKD-Skip) or its last ones (PKD-Last): choose them with
    the taps.

    Args:
        student_layers: hidden states of one or more layers, each (B, L, D), or a state of each already, (B, D).
        teacher_layers: as many, of the same shapes; receive no gradient.
        weight: (B,) weight of each row, not negative.
        mask: (B, L), true at real tokens; only the mean of the tokens asks for it.
        state: of (B, L, D), the ``first`` token, which is [CLS] in BERT; or the ``mean`` of the real tokens, for
            models without such a token.

    Returns:
        A scalar from 0, where all directions are equal, to 4 times the number of layers. Typical weight: 10 to 1000
        beside kd and the supervised loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    check_layers(student_layers, teacher_layers)
    distances = []
    for index, (student, teacher) in enumerate(zip(student_layers, teacher_layers, strict=True)):
        if student.shape != teacher.shape or student.dim() not in (2, 3):
            raise InputError(
                f"pkd compares states of equal width, (rows, width) or (rows, tokens, width), but student_layers"
                f"[{index}] has shape {tuple(student.shape)}, teacher_layers[{index}] {tuple(teacher.shape)}",
                fix="Bring the student's width to the teacher's with an adapter",
            )
        ours, theirs = (unit_vectors(_state(layer, mask, state)) for layer in (student, teacher.detach()))
        distances.append((ours - theirs).square().sum(dim=-1))
    return weighted_mean(torch.stack(distances).sum(dim=0), weight)


def _state(layer: Tensor, mask: Tensor | None, state: str) -> Tensor:
    """The state (B, D) of a layer."""
    if layer.dim() == 2:
        return widen(layer)
    if state == "first":
        return widen(layer[:, 0])
    check_mask(mask, *layer.shape[:2])
    # A sum does: only the direction counts.
    tokens = widen(layer)
    return tokens.sum(dim=1) if mask is None else torch.where(mask.bool()[:, :, None], tokens, 0).sum(dim=1)


class PKD(DistillationLoss):
    """`pkd` as a module."""

    options_type = PKDOptions
    state: Literal["first", "mean"]

    def forward(
        self,
        student_layers: tuple[Tensor, ...],
        teacher_layers: tuple[Tensor, ...],
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `pkd`."""
        return pkd(student_layers, teacher_layers, weight, mask, state=self.state)
