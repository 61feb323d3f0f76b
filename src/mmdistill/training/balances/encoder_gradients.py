"""Changing the gradients of the encoders, column by column, when a step's are complete."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmdistill.models.multimodal import MultimodalModel


def encoder_gradients(
    model: MultimodalModel, column: str, counts: Callable[[Tensor], bool] = lambda _: True
) -> list[Tensor]:
    """The gradients that a column's encoder has; of a parameter that nothing reached there is none.

    Args:
        model: whose encoder.
        column: one of its columns.
        counts: which parameters are meant.
    """
    return [
        parameter.grad
        for parameter in model.encoders[column].parameters()
        if parameter.grad is not None and counts(parameter)
    ]


def scale_gradients(gradients: list[Tensor], factor: Tensor) -> None:
    """Multiply gradients in place by a scalar that stays on the device."""
    if gradients:
        torch._foreach_mul_(gradients, factor)
