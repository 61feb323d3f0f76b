"""Learning-rate schedules: pure functions of the step, so that a resumed run needs no hidden state.

A schedule is built from the number of optimiser steps of the whole training and gives, for the steps 0 … total - 1, the
share of the highest learning rate that is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mmdistill.training.catalog import DecayOptions, ScheduleOptions

Schedule = Callable[[int], float]


def warmup_steps(total_steps: int, warmup: float) -> int:
    """Number of steps of the warm-up: a fraction of `total_steps` below 1, else a number of steps, at most all."""
    steps = round(warmup * total_steps) if warmup < 1 else int(warmup)
    return min(steps, total_steps)


def constant(total_steps: int, options: ScheduleOptions) -> Schedule:
    """The full rate after the warm-up."""
    return _with_warmup(total_steps, options.warmup, lambda _: 1.0)


def linear(total_steps: int, options: DecayOptions) -> Schedule:
    """A straight line from 1 after the warm-up to `end`, which step `total_steps` would reach."""
    return _with_warmup(total_steps, options.warmup, lambda progress: 1 - (1 - options.end) * progress)


def cosine(total_steps: int, options: DecayOptions) -> Schedule:
    """Half a cosine from 1 after the warm-up to `end` (Loshchilov and Hutter, 2017, SGDR, without restarts)."""

    def shape(progress: float) -> float:
        return options.end + (1 - options.end) * (1 + math.cos(math.pi * progress)) / 2

    return _with_warmup(total_steps, options.warmup, shape)


def _with_warmup(total_steps: int, warmup: float, shape: Callable[[float], float]) -> Schedule:
    """`shape` over the progress in [0, 1) after a warm-up whose first step is not 0 and whose last is almost 1."""
    rising = warmup_steps(total_steps, warmup)
    falling = max(total_steps - rising, 1)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return shape(min((step - rising) / falling, 1.0))

    return share
