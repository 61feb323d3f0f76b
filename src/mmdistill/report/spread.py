"""Mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The mean of some seeds and their sample standard deviation.

    Args:
        mean: arithmetic mean.
        std: sample standard deviation (n − 1); None for a single value.
        count: how many values.
    """

    mean: float
    std: float | None
    count: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of the values that are there, or None when there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))
