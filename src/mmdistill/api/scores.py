"""What the models of a distillation are worth on some rows, and what the student gained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmdistill.api.batches import TASK
from mmdistill.errors import InputError
from mmdistill.evaluation.significance import paired_gain_of_scores, task_gain
from mmdistill.models.any_model import AnyModel
from mmdistill.models.modes import evaluating
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.classification import ClassificationTask
from mmdistill.training.loop import BatchSource

Metric: TypeAlias = "str | Callable[[Tensor, Tensor], float]"
RESAMPLES = 2000
RESAMPLES_OF_A_FUNCTION = 400


@dataclass(frozen=True)
class Scorer:
    """A metric.

    Args:
        metric: of classification, or a function of outputs and targets.
        higher_is_better: direction of a function.

    Raises:
        InputError: when there is no such metric.
    """

    metric: Metric
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.metric, str):
            known = ClassificationTask().directions
            if self.metric not in known:
                ClassificationTask().metrics(np.zeros((1, 2)), np.zeros(1), _state(2), [self.metric])
            object.__setattr__(self, "higher_is_better", known[self.metric])

    @property
    def name(self) -> str:
        """Of the metric."""
        return self.metric if isinstance(self.metric, str) else getattr(self.metric, "__name__", "metric")

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric of outputs (N, …) and targets (N, …), both on the host."""
        if not isinstance(self.metric, str):
            return float(self.metric(outputs, targets))
        task = ClassificationTask(ClassificationOptions())
        value = task.metrics(outputs, targets, _state(outputs.shape[-1]), [self.metric])[self.metric]
        if value is None:
            raise InputError(
                f"The metric {self.metric!r} is not defined on these rows",
                where="metric",
                fix="Give rows of every class with their targets, or another metric",
            )
        return value

    def gain(self, student: Tensor, baseline: Tensor, targets: Tensor) -> dict[str, Any]:
        """The gain of a student over its baseline, with its interval over the rows."""
        names = {"student": "student", "baseline": "baseline", "metric": self.name}
        if isinstance(self.metric, str):
            state, task = _state(student.shape[-1]), ClassificationTask()
            known = targets >= 0
            return task_gain(
                task, self.metric, [student[known]], [baseline[known]], targets[known], state, resamples=RESAMPLES
            )

        def drawn(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            rows = [torch.from_numpy(np.repeat(np.arange(len(each)), each.astype(np.int64))) for each in counts]
            return _each(self.score, student, targets, rows), _each(self.score, baseline, targets, rows)

        gain = paired_gain_of_scores(
            drawn, len(targets), higher_is_better=self.higher_is_better, resamples=RESAMPLES_OF_A_FUNCTION
        )
        return {**names, **gain}


def outputs_and_targets(model: AnyModel, batches: BatchSource) -> tuple[Tensor, Tensor]:
    """The logits of a model and the targets, for every row of a loader, on the host.

    Raises:
        InputError: when the loader gives no targets.
    """
    outputs, targets = [], []
    with torch.inference_mode(), evaluating(model):
        for batch in batches.batches(0):
            if TASK not in batch["target"].keys():  # noqa: SIM118 (a TensorDict refuses `in` on itself)
                raise InputError("Rows without targets cannot be scored", where="loader", fix="Give (inputs, target)")
            outputs.append(model(batch["features"], {})["logits"].float().cpu())
            targets.append(batch["target"][TASK].cpu())
    return torch.cat(outputs), torch.cat(targets)


def _each(
    score: Callable[[Tensor, Tensor], float], outputs: Tensor, targets: Tensor, rows: list[Tensor]
) -> NDArray[np.float64]:
    return np.array([[score(outputs[chosen], targets[chosen])] for chosen in rows])


def _state(classes: int) -> dict[str, Any]:
    return {"classes": [str(number) for number in range(classes)], "counts": [1] * classes}
