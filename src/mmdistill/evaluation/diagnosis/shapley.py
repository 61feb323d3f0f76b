"""What each modality contributes to a score: Shapley values over the subsets of modalities.

Shapley, "A value for n-person games", 1953. The game is the score on validation rows when only a subset of the
modalities is there; nothing at all scores what class frequencies alone give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

from mmdistill.evaluation.diagnosis.estimates import Estimate, weighted_sum
from mmdistill.evaluation.modalities import MOST_COLUMNS_FOR_ALL

Subset = frozenset[str]


def shapley(scores: Mapping[Subset, Estimate], columns: Sequence[str]) -> dict[str, Estimate]:
    """The mean gain that a modality brings over all orders in which the modalities could be added.

    With up to five columns all subsets are used, and the values sum up to the score of all modalities minus that of
    none. With more, a value is the mean of what the column brings alone and what is lost without it, which is the
    Shapley value exactly where no three modalities interact.

    Args:
        scores: subset → score; the empty subset is there, and all subsets of up to five columns, else those of one
            column, of all, and of all but one.
        columns: the modalities.
    """
    return {column: weighted_sum(scores, _weights(column, columns)) for column in columns}


def unique(scores: Mapping[Subset, Estimate], columns: Sequence[str]) -> dict[str, Estimate]:
    """What is lost without a modality when all others are there."""
    every = frozenset(columns)
    return {column: scores[every] - scores[every - {column}] for column in columns}


def _weights(column: str, columns: Sequence[str]) -> dict[Subset, float]:
    others = [one for one in columns if one != column]
    many = len(columns) > MOST_COLUMNS_FOR_ALL
    sizes = (0, len(others)) if many else range(len(columns))
    weights: dict[Subset, float] = {}
    for size in sizes:
        share = 0.5 if many else factorial(size) * factorial(len(others) - size) / factorial(len(columns))
        for chosen in combinations(others, size):
            weights[frozenset(chosen)] = -share
            weights[frozenset(chosen) | {column}] = share
    return weights
