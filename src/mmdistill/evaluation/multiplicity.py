"""P-values of several gains that are told together."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that hold for all gains at once, by Holm's step-down method.

    The i-th smallest of m p-values is multiplied by m − i + 1 and is at least as large as those before it. Below a
    level α, the chance that any of the gains found there is none is at most α, however the gains depend on each other,
    as they do when students share a baseline and test rows. Never less powerful than Bonferroni's p · m.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.

    Args:
        p_values: one for each gain, from 0 to 1, in any order.

    Returns:
        The adjusted ones in the same order, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, least = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = least
    return adjusted
