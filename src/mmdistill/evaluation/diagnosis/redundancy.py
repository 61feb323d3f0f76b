"""How much of what one modality tells another one tells too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.evaluation.diagnosis.estimates import Estimate, Floats, Indices, weighted_sum
from mmdistill.evaluation.diagnosis.shapley import Subset
from mmdistill.tasks.class_metrics import predicted

_LEAST_ROWS = 4


def linear_cka(first: Floats, second: Floats) -> float | None:
    """Linear centred kernel alignment of two embeddings of the same rows, without bias.

    Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019, with the
    unbiased estimator of HSIC (Song, Smola, Gretton, Bedo, Borgwardt, 2012), so that wide embeddings of few rows do
    not look alike by chance. It never holds a matrix of rows × rows.

    Args:
        first: (N, D).
        second: (N, E).

    Returns:
        1 for equal embeddings up to rotation and scale, about 0 (also slightly below) for unrelated ones; None with
        less than four rows or where an embedding is the same for all rows.
    """
    if len(first) < _LEAST_ROWS:
        return None
    one, other = (np.asarray(each, dtype=np.float64) for each in (first, second))
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    between, own, others = _unbiased(one, other), _unbiased(one, one), _unbiased(other, other)
    scale = own * others
    return float(between / np.sqrt(scale)) if min(own, others) > 0 and scale > 0 else None


def _unbiased(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """n (n − 3) times the unbiased HSIC of two linear kernels whose diagonals count as zero."""
    rows = len(one)
    diagonals = [np.square(each).sum(axis=1) for each in (one, other)]
    sums = [each @ each.sum(axis=0) - diagonal for each, diagonal in zip((one, other), diagonals, strict=True)]
    products = np.square(one.T @ other).sum() - diagonals[0] @ diagonals[1]
    totals = sums[0].sum() * sums[1].sum() / ((rows - 1) * (rows - 2))
    return float(products + totals - 2 / (rows - 2) * (sums[0] @ sums[1]))


def cohen_kappa(first: Indices, second: Indices) -> float | None:
    """Agreement of two sets of answers beyond what their frequencies give by chance (Cohen, 1960).

    Returns:
        1 for the same answers, 0 for agreement by chance; None where chance alone agrees everywhere.
    """
    size = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(answers, minlength=size) / len(answers) for answers in (first, second)]
    expected = float(shares[0] @ shares[1])
    return None if expected >= 1 else float(((first == second).mean() - expected) / (1 - expected))


def answers_of_two(first: Floats, second: Floats, targets: Indices) -> dict[str, Any]:
    """How the answers of two models go together.

    Args:
        first: logits (N, C).
        second: logits (N, C).
        targets: (N,) class indices.

    Returns:
        ``agreement``, the share of rows with the same answer; ``kappa``; ``both_right``, ``only_first_right``,
        ``only_second_right`` and ``both_wrong``, which sum up to 1.
    """
    answers = [predicted(np.asarray(logits)) for logits in (first, second)]
    one, other = (given == targets for given in answers)
    return {
        "agreement": float((answers[0] == answers[1]).mean()),
        "kappa": cohen_kappa(*answers),
        "both_right": float((one & other).mean()),
        "only_first_right": float((one & ~other).mean()),
        "only_second_right": float((~one & other).mean()),
        "both_wrong": float((~one & ~other).mean()),
    }


def interactions(scores: Mapping[Subset, Estimate], columns: Sequence[str]) -> dict[tuple[str, str], Estimate]:
    """Of every pair: score of both − score of each + score of none.

    Below zero the two tell the same (redundancy), above zero they tell more together than one by one (synergy). Pairs
    that were not scored are left out.
    """
    return {
        (first, second): weighted_sum(
            scores,
            {frozenset((first, second)): 1, frozenset((first,)): -1, frozenset((second,)): -1, frozenset(): 1},
        )
        for first, second in combinations(columns, 2)
        if frozenset((first, second)) in scores
    }
