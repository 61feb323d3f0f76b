"""Classification metrics on many draws of the test rows at once.

A bootstrap asks for a metric on thousands of draws. Each draw is a line of counts, how often every row was drawn; these
functions take all lines together, by matrix products instead of a loop. They equal the metrics of `class_metrics` on
the rows repeated by their counts, which tests hold them to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.tasks.class_metrics import predicted
from mmdistill.tasks.decode.classification import softmax
from mmdistill.tasks.reliability import ECE_BINS, bin_of

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


def _ratio(part: Floats, whole: Floats) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def macro_scores(
    logits: Floats, targets: Indices, counts: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Macro precision, recall and F1 of each draw, (R,) each, from counts (R, N)."""
    classes = np.eye(logits.shape[1])
    guesses = predicted(logits)
    support = counts @ classes[targets]
    guessed = counts @ classes[guesses]
    right = counts @ (classes[targets] * (guesses == targets)[:, None])
    occurring = ((support + guessed) > 0).sum(axis=1)
    precision, recall = _ratio(right, guessed), _ratio(right, support)
    f1 = _ratio(2 * right, support + guessed)
    return tuple(scores.sum(axis=1) / occurring for scores in (precision, recall, f1))


def auroc(logits: Floats, targets: Indices, counts: Floats) -> NDArray[np.float64]:
    """AUROC of each draw, (R,), NaN where fewer than two classes are drawn."""
    if logits.shape[1] == 2:
        return _binary_auroc(logits[:, 1].astype(np.float64) - logits[:, 0], targets == 1, counts)
    scores = softmax(logits)
    total, occurring = np.zeros(len(counts)), np.zeros(len(counts))
    for index in np.unique(targets):
        positive = targets == index
        drawn = (counts @ positive) > 0
        total += np.where(drawn, _binary_auroc(scores[:, index], positive, counts), 0.0)
        occurring += drawn
    return np.where(occurring > 1, total / np.maximum(occurring, 1), np.nan)


def _binary_auroc(scores: Floats, positive: NDArray[np.bool_], counts: Floats) -> NDArray[np.float64]:
    """The part of (positive, negative) pairs in the right order, ties counting half, by the Mann-Whitney statistic."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered, is_positive = counts[:, order], positive[order]
    positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
    negatives = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
    below = negatives.cumsum(axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((positives * (below + negatives / 2)).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))


def expected_calibration_error(
    logits: Floats, targets: Indices, counts: Floats, bins: int = ECE_BINS
) -> NDArray[np.float64]:
    """Expected calibration error of each draw, (R,)."""
    confidence = softmax(logits).max(axis=1)
    members = np.eye(bins)[bin_of(confidence, bins)]
    gap = (predicted(logits) == targets) - confidence
    return np.asarray(np.abs(counts @ (members * gap[:, None])).sum(axis=1) / counts.sum(axis=1))
