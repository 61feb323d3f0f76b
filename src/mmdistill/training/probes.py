"""Linear probes on the columns' embeddings, trained beside a model to see what each column has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules

if TYPE_CHECKING:
    from mmdistill.training.balances.balance import Training


class ColumnProbes(nn.Module):
    """A linear head of the first task on each column's embedding, without gradient into the model.

    A probe's score says what its column could tell alone, with the features that it has learnt so far (Alain and
    Bengio, 2017, "Understanding intermediate layers using linear classifier probes"). A row that lacks a column teaches
    its probe nothing.

    Args:
        training: what they stand beside.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.columns = training.model.columns
        self.task = next(iter(training.losses))
        size = training.head_sizes[self.task]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(training.seed)
            dims = training.model.dims
            self.heads = ColumnModules({column: nn.Linear(dims[column], size) for column in self.columns})
        self._loss = (training.losses[self.task],)

    def forward(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Column → logits (B, outputs) of its probe."""
        return {column: self.heads[column](outputs[column].detach()) for column in self.columns}

    def losses(self, batch: TensorDict, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Column → supervised loss of its probe over the rows that have the column and a target."""
        (loss,) = self._loss
        target, labelled = batch["target"][self.task], batch["labelled"][self.task]
        mixed = batch.get("mixed", None)
        return {
            column: loss(logits, target, labelled & batch["present"][column], mixed)
            for column, logits in self(outputs).items()
        }
