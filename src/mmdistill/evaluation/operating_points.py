"""A model's operating point on the test rows: what its threshold gives there, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmdistill.evaluation.significance import draw_row_counts
from mmdistill.tasks.task import Outputs, State, Task, Values

METRICS = ("sensitivity", "specificity", "auroc")


def operating_point_on_test(
    task: Task,
    outputs: Outputs | Values,
    targets: NDArray[Any],
    state: State,
    *,
    resamples: int = 2000,
    groups: ArrayLike | None = None,
) -> dict[str, Any] | None:
    """What ``results.json`` says about the operating point of one trained model.

    Args:
        task: whose metrics are asked for.
        outputs: on the test rows that have a target.
        targets: their encoded targets.
        state: of the model; its ``operating_point`` was chosen on validation rows.
        resamples: bootstrap draws of the test rows.
        groups: (rows,) labels of rows that are drawn together, such as those of a patient.

    Returns:
        The ``operating_point`` of the state with ``test``: sensitivity, specificity and AUROC, and ``test_ci95``, the
        95 % interval of each over draws of the test rows, [low, high], None where no draw defines it. The interval is
        that of this one trained model: the noise of its training is not in it. None without an operating point.
    """
    if "operating_point" not in state:
        return None
    labels = None if groups is None else np.asarray(groups)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METRICS}
    for counts in draw_row_counts(len(targets), resamples, np.random.default_rng(0), labels):
        for name in METRICS:
            drawn[name].append(task.resampled_scores(name, outputs, targets, state, counts))
    return {
        **state["operating_point"],
        "test": task.metrics(outputs, targets, state, METRICS),
        "test_ci95": {name: _interval(np.concatenate(values)) for name, values in drawn.items()},
    }


def _interval(values: NDArray[np.float64]) -> list[float] | None:
    defined = values[np.isfinite(values)]
    return np.quantile(defined, [0.025, 0.975]).tolist() if len(defined) else None
