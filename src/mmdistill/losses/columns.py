"""Representations of several columns, given as a tuple: one tensor a column, the columns in sorted order."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.precision import widen


def stack_columns(columns: tuple[Tensor, ...], name: str, *, at_least: int = 1) -> Tensor:
    """The tensors of all columns as one, in float32 or wider.

    Args:
        columns: (B, D) each, of the same rows and width.
        name: of the argument, for messages.
        at_least: how many columns there must be.

    Returns:
        (B, columns, D).

    Raises:
        InputError: when there are too few, or their shapes differ.
    """
    if isinstance(columns, Tensor) or len(columns) < at_least:
        found = "a single tensor" if isinstance(columns, Tensor) else f"{len(columns)}"
        raise InputError(f"{name} takes a tuple of {at_least} columns or more, not {found}")
    shapes = [tuple(column.shape) for column in columns]
    if len(shapes[0]) != 2 or any(shape != shapes[0] for shape in shapes):
        raise InputError(
            f"{name} takes tensors of one shape (rows, width), not {', '.join(map(str, shapes))}",
            fix="Give the columns' encoders the same width, or project them",
        )
    return torch.stack([widen(column) for column in columns], dim=1)


def stack_pairs(
    first: tuple[Tensor, ...], first_name: str, second: tuple[Tensor, ...], second_name: str
) -> tuple[Tensor, Tensor]:
    """Two representations of the same columns, each as (B, columns, D).

    Raises:
        InputError: when either is not a tuple of equal shapes, or the two differ.
    """
    stacked = stack_columns(first, first_name), stack_columns(second, second_name)
    if stacked[0].shape != stacked[1].shape:
        shown = [f"{len(some)} of shape {tuple(some[0].shape)}" for some in (first, second)]
        raise InputError(f"{first_name} and {second_name} differ: {shown[0]} and {shown[1]}")
    return stacked
