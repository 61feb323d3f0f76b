"""Classical probes: how well a linear classifier does with a column, without training a network."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmdistill.evaluation.diagnosis.plain import Matrix

Indices = NDArray[np.int64]
ClassWeight = Literal["balanced"] | dict[int, float] | None
STRENGTHS = (0.03, 0.3, 3.0)
"""Inverse strengths of the penalty that are tried."""
_LEAST_LOG_PROBABILITY = -30.0
_FOLD = 5
_ITERATIONS = 200


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier.

    Args:
        classifier: scikit-learn's; None where all training rows had one class.
        known: the classes that it was shown, as indices.
        classes: how many there are.
        strength: inverse strength of its penalty.
    """

    classifier: Any
    known: Indices
    classes: int
    strength: float

    def logits(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-probabilities (rows, classes), at least −30; classes that the probe has not seen are there with −30."""
        found = np.full((matrix.shape[0], self.classes), _LEAST_LOG_PROBABILITY)
        said = 0.0 if self.classifier is None else self.classifier.predict_log_proba(matrix)
        found[:, self.known] = np.maximum(said, _LEAST_LOG_PROBABILITY)
        return found


def fit_probe(
    matrix: Matrix,
    targets: Indices,
    classes: int,
    class_weight: ClassWeight = None,
    strength: float | None = None,
) -> Probe:
    """A logistic regression with an L2 penalty, whose strength every fifth training row chooses.

    Args:
        matrix: (N, features), standardised.
        targets: (N,) class indices.
        classes: how many classes there are.
        class_weight: as scikit-learn takes it.
        strength: inverse strength of the penalty; chosen when None.
    """
    known = np.unique(targets).astype(np.int64)
    if len(known) < 2:
        return Probe(None, known, classes, strength or STRENGTHS[1])
    usable = None if not isinstance(class_weight, dict) else {one: class_weight.get(one, 1.0) for one in known.tolist()}
    balance = class_weight if usable is None else usable
    chosen = _strength(matrix, targets, balance) if strength is None else strength
    return Probe(_fitted(matrix, targets, chosen, balance), known, classes, chosen)


def _strength(matrix: Matrix, targets: Indices, balance: Any) -> float:
    """The strength under which a model of four fifths of the rows gives the others the highest likelihood."""
    held = np.zeros(len(targets), dtype=bool)
    # Every fifth row of each class, so that none is left out of the four fifths.
    order = np.argsort(targets, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(targets[order], targets[order])
    held[order[place % _FOLD == _FOLD - 1]] = True
    if held.sum() < 2 or len(np.unique(targets[~held])) < 2:
        return STRENGTHS[1]
    losses = []
    for strength in STRENGTHS:
        model = _fitted(matrix[~held], targets[~held], strength, balance)
        said = np.maximum(model.predict_log_proba(matrix[held]), _LEAST_LOG_PROBABILITY)
        own = said[np.arange(held.sum()), np.searchsorted(model.classes_, targets[held])]
        losses.append(-float(own.mean()))
    return STRENGTHS[int(np.argmin(losses))]


def _fitted(matrix: Matrix, targets: Indices, strength: float, balance: Any) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=balance)
    with warnings.catch_warnings():
        # A probe that stops a little early is still a probe; which strength is best is judged on other rows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, targets)
