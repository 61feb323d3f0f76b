"""A score on validation rows with what other draws of those rows would have given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.evaluation.significance import draw_row_counts
from mmdistill.tasks.task import State, Task

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
RESAMPLES = 500
_LEAST_CHANCE = 0.025


@dataclass(frozen=True)
class Estimate:
    """A number that grows with what is good, and the same number on bootstrap draws of the validation rows.

    Draws of two estimates belong together, so that a difference is paired row by row. The interval is about which rows
    were drawn for validation; how another training would have come out is not in it.

    Args:
        value: on the rows as they are.
        draws: float64 (R,), NaN where a draw leaves it undefined.
    """

    value: float
    draws: NDArray[np.float64]

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.draws - other.draws)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % percentile interval; None where the score is undefined on every draw."""
        defined = self.draws[np.isfinite(self.draws)]
        if not len(defined):
            return None
        low, high = np.quantile(defined, [_LEAST_CHANCE, 1 - _LEAST_CHANCE])
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """``value`` and ``ci95``; None where not defined."""
        interval = self.interval
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "ci95": None if interval is None else list(interval),
        }


def weighted_sum(parts: Mapping[Any, Estimate], weights: Mapping[Any, float]) -> Estimate:
    """Σ weight · estimate over the keys of `weights`."""
    return Estimate(
        sum(weight * parts[key].value for key, weight in weights.items()),
        np.sum([weight * parts[key].draws for key, weight in weights.items()], axis=0),
    )


@dataclass(frozen=True)
class Scorer:
    """The primary metric of a task on validation rows.

    Args:
        task: the task.
        state: what it learnt from the training rows.
        targets: (N,) encoded targets, all of rows with a target.
        counts: (R, N), how often each row is in each draw; the same for everything that is scored.
    """

    task: Task
    state: State
    targets: Indices
    counts: NDArray[np.float64]

    @property
    def sign(self) -> float:
        """1 where a higher metric is better, −1 where a lower one is."""
        return 1.0 if self.task.directions[self.task.primary] else -1.0

    def __call__(self, logits: Floats) -> Estimate:
        """The metric of outputs (N, C), with its sign turned where lower is better."""
        found = self.task.quick_metrics(logits, self.targets, self.state)[self.task.primary]
        drawn = self.task.resampled_scores(self.task.primary, logits, self.targets, self.state, self.counts)
        return Estimate(self.sign * (math.nan if found is None else found), self.sign * drawn)

    def score_json(self, score: Estimate) -> dict[str, Any]:
        """A score in the metric's own units: ``value`` and ``ci95``."""
        found = Estimate(self.sign * score.value, self.sign * score.draws)
        return found.to_json()

    def chance(self) -> Estimate:
        """The metric of a model that sees nothing and says how common each class is among the training rows."""
        counts = np.asarray(self.state["counts"], dtype=np.float64)
        return self(np.tile(np.log(counts / counts.sum()), (len(self.targets), 1)))


def make_scorer(
    task: Task,
    state: State,
    targets: Indices,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
) -> Scorer:
    """A scorer with its draws.

    Args:
        task: see `Scorer`.
        state: see `Scorer`.
        targets: see `Scorer`.
        resamples: draws of the rows.
        seed: of the draws.
        groups: (N,) labels of rows that are drawn together, such as a speaker's.
    """
    blocks = draw_row_counts(len(targets), resamples, np.random.default_rng(seed), groups)
    return Scorer(task, state, targets, np.concatenate(list(blocks)))
