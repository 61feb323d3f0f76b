"""Weights of loss terms over training: pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmdistill.errors import InputError
from mmdistill.recipe.loss_weight import LossWeight

WeightSchedule = Callable[[int], float]
RAMP_STEEPNESS = 5.0
"""Of Laine, Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017, arXiv:1610.02242, appendix A."""


def weight_schedule(
    weight: float | LossWeight, total_steps: int, where: str = "weight", *, steps_per_epoch: int | None = None
) -> WeightSchedule:
    """The weight at each optimiser step, counted from 0.

    Args:
        weight: a number, or a change between two moments of the training. ``step`` and ``only_after`` change at
            `begin`, all at once; ``linear``, ``warm_up``, ``cosine`` and ``ramp`` go from `start` at `begin` to `end`
            at `until`; ``constant`` is `end`.
        total_steps: optimiser steps of the whole training.
        where: key of the recipe, for messages.
        steps_per_epoch: optimiser steps of an epoch, for weights that count epochs.

    Raises:
        InputError: when a number is negative or not finite, the change would end before it begins, or it counts epochs
            and nothing says how long one is.
    """
    if not isinstance(weight, LossWeight):
        constant = float(weight)
        if not (math.isfinite(constant) and constant >= 0):
            raise InputError(f"A weight is a number from 0 on, not {weight}", where=where)
        return lambda _: constant
    if weight.shape == "constant":
        return lambda _: weight.end
    unit = _steps_of(weight, total_steps, steps_per_epoch, where)
    begin = weight.begin * unit
    until = float(total_steps) if weight.until is None else weight.until * unit
    if weight.until is not None and until < begin:
        raise InputError(
            f"The change would be complete at {weight.until:g}, before it begins at {weight.begin:g} ({weight.unit})",
            where=where,
            fix="Make `until` at least `begin`",
        )
    at_once = weight.shape in ("step", "only_after") or until <= begin

    def at(step: int) -> float:
        if at_once:
            return weight.end if step >= begin else weight.start
        share = _share(weight, min(max((step - begin) / (until - begin), 0.0), 1.0))
        return weight.start + (weight.end - weight.start) * share

    return at


def _steps_of(weight: LossWeight, total_steps: int, steps_per_epoch: int | None, where: str) -> int:
    """Optimiser steps of what `begin` and `until` count."""
    if weight.unit == "fraction":
        return total_steps
    if weight.unit == "steps":
        return 1
    if steps_per_epoch is None:
        what = "The weight counts epochs, and nothing says how many steps an epoch has"
        raise InputError(what, where=where, fix="Give steps_per_epoch, or count steps or fractions of the training")
    return steps_per_epoch


def _share(weight: LossWeight, progress: float) -> float:
    """How much of the change is made at a share of the time between `begin` and `until`."""
    if weight.shape == "cosine":
        return (1 - math.cos(math.pi * progress)) / 2
    if weight.shape == "ramp":
        return math.exp(-RAMP_STEEPNESS * (1 - progress) ** 2) if progress > 0 else 0.0
    return progress


def always_zero(weight: float | LossWeight) -> bool:
    """Whether a weight is zero at every step."""
    return weight.always_zero if isinstance(weight, LossWeight) else float(weight) == 0
