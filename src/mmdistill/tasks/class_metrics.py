"""Metrics of single-label classification from logits and class indices.

All take logits (N, C) and targets (N,) in [0, C) as NumPy arrays and return a fraction or a number, None where it is
not defined. scikit-learn computes what it has; tests hold the rest against scikit-learn and torchmetrics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.tasks.decode.classification import log_softmax, softmax
from mmdistill.tasks.reliability import ECE_BINS, ReliabilityBins, reliability_bins

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


def predicted(logits: Floats) -> Indices:
    """The class with the highest logit, (N,); ties go to the first."""
    return logits.argmax(axis=1).astype(np.int64)


def target_rank(logits: Floats, targets: Indices) -> Indices:
    """How many classes stand before the target, (N,): 0 where the prediction is right; ties go to the first class."""
    own = np.take_along_axis(logits, targets[:, None], axis=1)
    earlier = np.arange(logits.shape[1])[None, :] < targets[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1).astype(np.int64)


def negative_log_likelihood(logits: Floats, targets: Indices) -> NDArray[np.float64]:
    """−log of the target's probability, (N,), in nats."""
    return -np.take_along_axis(log_softmax(logits), targets[:, None], axis=1)[:, 0]


def macro_scores(logits: Floats, targets: Indices) -> tuple[float, float, float]:
    """Precision, recall and F1, each a mean over the classes that occur among targets or predictions.

    A class that is never predicted has precision 0, one without a row recall 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, predicted(logits), average="macro", zero_division=0.0
    )
    return float(precision), float(recall), float(f1)


def per_class(logits: Floats, targets: Indices) -> dict[str, NDArray[Any]]:
    """Precision, recall, F1 and support of every class, (C,) each."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted(logits), labels=np.arange(logits.shape[1]), average=None, zero_division=0.0
    )
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def confusion(logits: Floats, targets: Indices) -> Indices:
    """Rows by true class (first axis) and predicted class (second), (C, C)."""
    classes = logits.shape[1]
    counts = np.bincount(targets * classes + predicted(logits), minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def auroc(logits: Floats, targets: Indices) -> float | None:
    """Area under the ROC curve, in [0, 1].

    Of the second class with two classes; with more, the mean over the classes that occur, each against the rest. None
    when fewer than two classes occur.
    """
    from sklearn.metrics import roc_auc_score

    present = np.unique(targets)
    if len(present) < 2:
        return None
    if logits.shape[1] == 2:
        return float(roc_auc_score(targets == 1, logits[:, 1].astype(np.float64) - logits[:, 0]))
    scores = softmax(logits)
    return float(np.mean([roc_auc_score(targets == index, scores[:, index]) for index in present]))


def reliability(logits: Floats, targets: Indices, bins: int = ECE_BINS) -> ReliabilityBins:
    """Rows by the probability of the predicted class; see `reliability_bins`."""
    return reliability_bins(softmax(logits).max(axis=1), predicted(logits) == targets, bins)
