"""Weights of loss terms over training: pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmdistill.errors import InputError
from mmdistill.recipe.schema import LossWeight

WeightSchedule = Callable[[int], float]


def weight_schedule(weight: float | LossWeight, total_steps: int, where: str = "weight") -> WeightSchedule:
    """The weight at each optimiser step, counted from 0.

    Args:
        weight: a number, or a change between two fractions of the steps. ``step`` changes at `begin`, all at once;
            ``linear`` and ``cosine`` go from `start` at `begin` to `end` at `until`.
        total_steps: optimiser steps of the whole training.
        where: key of the recipe, for messages.

    Raises:
        InputError: when a number is negative or not finite, or the change would end before it begins.
    """
    if not isinstance(weight, LossWeight):
        constant = float(weight)
        if not (math.isfinite(constant) and constant >= 0):
            raise InputError(f"A weight is a number from 0 on, not {weight}", where=where)
        return lambda _: constant
    if weight.until < weight.begin:
        raise InputError(
            f"The change would be complete at {weight.until} of the steps, before it begins at {weight.begin}",
            where=where,
            fix="Make `until` at least `begin`",
        )
    begin, until = weight.begin * total_steps, weight.until * total_steps

    def at(step: int) -> float:
        if weight.shape == "step" or until == begin:
            return weight.end if step >= begin else weight.start
        share = min(max((step - begin) / (until - begin), 0.0), 1.0)
        if weight.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return weight.start + (weight.end - weight.start) * share

    return at


def always_zero(weight: float | LossWeight) -> bool:
    """Whether a weight is zero at every step."""
    if isinstance(weight, LossWeight):
        return weight.start == 0 and weight.end == 0
    return float(weight) == 0
