"""Linear probes on the columns' embeddings, trained beside a model to see what each column has learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.training.seen import rows_shown


class ColumnProbes(nn.Module):
    """A linear head of one task on each column's embedding, without gradient into the model.

    A probe's score says what its column could tell alone, with the features that it has learnt so far (Alain and
    Bengio, 2017, "Understanding intermediate layers using linear classifier probes"). A row that lacks a column, or was
    not shown it, teaches its probe nothing.

    Args:
        columns: of the model, in its order.
        dims: column → width of its embedding.
        size: number of outputs.
        task: whose targets they learn.
        loss: of that task.
        seed: of the first weights.
    """

    def __init__(
        self, columns: Sequence[str], dims: Mapping[str, int], size: int, task: str, loss: nn.Module, seed: int = 0
    ) -> None:
        super().__init__()
        self.columns, self.task = tuple(columns), task
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.heads = ColumnModules({column: nn.Linear(dims[column], size) for column in self.columns})
        # In a tuple, so that what the loss holds is not saved a second time.
        self._loss = (loss,)
        # Loss times rows, and rows, of each column since the last look at the validation rows.
        self.loss_sums: Tensor
        self.row_counts: Tensor
        self.register_buffer("loss_sums", torch.zeros(len(self.columns)))
        self.register_buffer("row_counts", torch.zeros(len(self.columns)))

    def forward(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Column → logits (B, outputs) of its probe."""
        return {column: self.heads[column](outputs[column].detach()) for column in self.columns}

    def losses(self, batch: TensorDict, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Column → supervised loss of its probe over the rows that were shown with the column and have a target."""
        (loss,) = self._loss
        target, labelled = batch["target"][self.task], batch["labelled"][self.task]
        shown, mixed = rows_shown(batch, outputs, self.columns), batch.get("mixed", None)
        counts = {column: labelled & shown[column] for column in self.columns}
        found = {column: loss(logits, target, counts[column], mixed) for column, logits in self(outputs).items()}
        self._remember(list(found.values()), list(counts.values()))
        return found

    def loss_on(self, logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """The supervised loss of some logits over the rows that count, a scalar."""
        (loss,) = self._loss
        value: Tensor = loss(logits, target, counts)
        return value

    @torch.no_grad()
    def _remember(self, losses: list[Tensor], counts: list[Tensor]) -> None:
        rows = torch.stack(counts).sum(dim=1)
        self.loss_sums += torch.stack(losses) * rows
        self.row_counts += rows

    @torch.no_grad()
    def take_train_losses(self) -> dict[str, float]:
        """Column → mean loss over the training rows since the last call, NaN where there were none; waits."""
        means = (self.loss_sums / self.row_counts).tolist()
        self.loss_sums.zero_()
        self.row_counts.zero_()
        return dict(zip(self.columns, means, strict=True))
