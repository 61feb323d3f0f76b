"""What a task is: how targets are encoded, the head, the supervised loss and the metrics.

A task knows nothing about distillation, models or tables. Everything learned from the targets of the training rows is
its *state*, a JSON-able mapping that is kept beside the model, so that a finished model is scored and decoded without
the training data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmdistill.data.cells import Cell

State: TypeAlias = dict[str, Any]
Values: TypeAlias = Tensor | NDArray[Any]
Outputs: TypeAlias = Mapping[str, Values]
Where: TypeAlias = Callable[[int], str]


class Task(Protocol):
    """The seam between what is predicted and everything else.

    Attributes:
        taps: the outputs that metrics and decoder read, without the task's name in front.
        decoder: ``module:function`` of the NumPy-only decoder: ``decode(outputs, state) -> columns``.
        primary: the metric that selects models and states the gain.
        directions: whether higher is better, by metric.
        loss: the supervised loss, a module: ``loss(logits, target, labelled, mixed=None) -> scalar``. It is registered
            in the objective, so that its buffers and parameters move, train and are saved with everything else. Its
            ``rows(logits, target, labelled)`` gives the loss of every row and what the row counts, (B,) each.
    """

    taps: tuple[str, ...]
    decoder: str

    @property
    def primary(self) -> str: ...

    @property
    def directions(self) -> dict[str, bool]: ...

    @property
    def loss(self) -> nn.Module: ...

    @property
    def chooses_on_validation(self) -> bool:
        """Whether something of every trained model, such as a threshold, is chosen on the validation rows."""

    def check_validation(self, targets: Values, state: State) -> None:
        """Refuse encoded targets of validation rows on which nothing can be chosen."""

    def state_of_model(self, outputs: Outputs | Values, targets: Values, state: State) -> State:
        """The state of one trained model: with what is chosen from its outputs for the validation rows."""

    def fit(self, cells: Sequence[Cell], train: Sequence[int] | NDArray[np.int64], where: Where = ...) -> State:
        """Learn the state from the targets of the training rows."""

    def restore(self, state: State) -> None:
        """Take up a state that `fit` gave earlier."""

    def encode(self, cells: Sequence[Cell], state: State, where: Where = ...) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Targets of all rows as one array, and which rows have one."""

    def output_size(self, state: State) -> int:
        """Size of the head's output."""

    def head(self, dim: int, state: State) -> nn.Module:
        """The layer on top of a fused embedding of `dim` numbers."""

    def metrics(
        self, outputs: Outputs | Values, targets: Values, state: State, names: Collection[str] | None = None
    ) -> dict[str, float | None]:
        """All metrics, or those named, over the rows that have a target; None where one is not defined."""

    def quick_metrics(self, outputs: Outputs | Values, targets: Values, state: State) -> dict[str, float | None]:
        """The primary metric alone, cheap enough for every epoch."""

    def row_scores(self, metric: str, outputs: Outputs | Values, targets: Values) -> NDArray[np.float64] | None:
        """Parts of the rows with a target whose mean is the metric; None when it is no such mean."""

    def resampled_scores(
        self, metric: str, outputs: Outputs | Values, targets: Values, state: State, counts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The metric on many draws of the rows, (R,) from counts (R, rows); NaN where it is not defined."""

    def details(self, outputs: Outputs | Values, targets: Values, state: State) -> dict[str, Any]:
        """What a report shows beside the metrics, JSON-able."""


def row_number(row: int) -> str:
    """How a row is named when the table cannot name it."""
    return f"row {row}"
