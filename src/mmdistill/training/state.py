"""Where a training stands: plain numbers, apart from the modules and optimisers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StoppedBy = Literal["epochs", "steps", "patience", "target"]


@dataclass
class TrainState:
    """Position of a training.

    Args:
        epoch: epochs that are over, their validation included.
        batch: batches of the current epoch that are done.
        step: optimiser steps that are done.
        stopped_by: why training is over, None while it is not.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    stopped_by: StoppedBy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a checkpoint."""
        return asdict(self)


@dataclass(frozen=True)
class TrainResult:
    """What a finished training tells.

    Args:
        steps: optimiser steps taken; the budget of a baseline.
        epochs: epochs begun and ended.
        best_epoch: epoch, from 1, whose weights the modules now hold.
        best_score: validation score of those weights, None without validation.
        seconds: of training, over all of its sittings, without validation and checkpoints.
        stopped_by: epochs, steps, patience or target.
        history: rows as in history.csv.
    """

    steps: int
    epochs: int
    best_epoch: int
    best_score: float | None
    seconds: float
    stopped_by: StoppedBy
    history: list[dict[str, float | int | None]] = field(repr=False)
