"""From the logits of a classifier to what a user reads. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def log_softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Logarithms of the class probabilities in float64, (…, C) to (…, C); finite for any finite logits."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Class probabilities in float64, (…, C) to (…, C); each row sums to 1."""
    return np.exp(log_softmax(logits, temperature))


def top_k(scores: Floats, k: int) -> NDArray[np.int64]:
    """Indices of the k highest scores of each row, best first, (N, C) to (N, min(k, C)); ties go to the first class."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), axis=-1, kind="stable")
    return order[:, :k].astype(np.int64)


def above_threshold(logits: Floats, state: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which rows count as positive at a model's operating point, (N, 2) to (N,).

    Args:
        logits: of the two classes.
        state: the state of a trained model that has an ``operating_point``.
    """
    point = state["operating_point"]
    return np.asarray(softmax(logits)[:, state["classes"].index(point["positive"])] >= point["threshold"])


def decode(
    outputs: Mapping[str, Floats], state: Mapping[str, Any], *, k: int = 1, temperature: float = 1.0
) -> dict[str, list[str] | NDArray[np.float64]]:
    """Columns of a table of predictions, one value a row.

    Args:
        outputs: ``logits`` (N, C).
        state: the task's state, of which ``classes`` is read, and ``operating_point`` where it has one: then the
            prediction is the positive class from its threshold on, whatever the temperature.
        k: how many classes to name.
        temperature: divides the logits; 1 leaves the probabilities as the model gives them.

    Returns:
        ``prediction`` and its ``probability``; with k above 1 also ``prediction_2``, ``probability_2`` and so on; then
        ``probability[<class>]`` for every class.

    Raises:
        ValueError: when the logits have another number of classes than the state.
    """
    classes: Sequence[str] = state["classes"]
    logits = np.asarray(outputs["logits"])
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise ValueError(f"logits of shape {logits.shape} for {len(classes)} classes")
    probabilities = softmax(logits, temperature)
    columns: dict[str, list[str] | NDArray[np.float64]] = {}
    ranked = top_k(logits, k)
    if "operating_point" in state:
        positive = classes.index(state["operating_point"]["positive"])
        first = np.where(above_threshold(logits, state), positive, 1 - positive)
        ranked = np.stack([first, 1 - first], axis=1)[:, :k]
    for rank, chosen in enumerate(ranked.T, start=1):
        suffix = "" if rank == 1 else f"_{rank}"
        columns[f"prediction{suffix}"] = [classes[index] for index in chosen]
        columns[f"probability{suffix}"] = np.take_along_axis(probabilities, chosen[:, None], axis=1)[:, 0]
    for index, name in enumerate(classes):
        columns[f"probability[{name}]"] = probabilities[:, index]
    return columns
