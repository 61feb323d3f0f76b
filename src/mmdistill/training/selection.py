"""Which weights are kept, and whether the validation score says that training is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from mmdistill.recipe.schema import StopSpec

Weights = dict[str, dict[str, Tensor]]


class Selection:
    """The best validation score so far, with a copy of the weights that reached it.

    Args:
        modules: whose weights are kept.
        higher_is_better: direction of the score.
        keep: whether weights are copied; they are not when those of the last epoch are wanted.
    """

    def __init__(self, modules: Mapping[str, nn.Module], *, higher_is_better: bool, keep: bool) -> None:
        self._modules, self._higher_is_better, self._keep = modules, higher_is_better, keep
        self.best_score: float | None = None
        self.best_epoch = 0
        self.last_score: float | None = None
        self._weights: Weights | None = None

    def offer(self, epoch: int, score: float) -> bool:
        """Take the score after `epoch` epochs; keep the weights and say so if it is the best. NaN never is."""
        self.last_score = score
        if math.isnan(score) or not self._beats(score):
            return False
        self.best_score, self.best_epoch = score, epoch
        if self._keep:
            self._weights = {
                name: {key: value.detach().to("cpu", copy=True) for key, value in module.state_dict().items()}
                for name, module in self._modules.items()
            }
        return True

    def says_stop(self, stop: StopSpec, epoch: int, score: float) -> Literal["target", "patience"] | None:
        """Why training should end after `epoch` epochs with this score, or None."""
        if stop.target is not None and self._reaches(score, stop.target):
            return "target"
        if stop.patience is not None and epoch - self.best_epoch >= stop.patience:
            return "patience"
        return None

    def apply(self, last_epoch: int) -> tuple[int, float | None]:
        """Put the selected weights into the modules; gives their epoch and score."""
        if self._weights is None:
            return last_epoch, self.last_score
        for name, module in self._modules.items():
            module.load_state_dict(self._weights[name])
        return self.best_epoch, self.best_score

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "last_score": self.last_score,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best_score, self.best_epoch = state["best_score"], state["best_epoch"]
        self.last_score, self._weights = state["last_score"], state["weights"]

    def _beats(self, score: float) -> bool:
        if self.best_score is None:
            return True
        return score > self.best_score if self._higher_is_better else score < self.best_score

    def _reaches(self, score: float, wanted: float) -> bool:
        return score >= wanted if self._higher_is_better else score <= wanted
