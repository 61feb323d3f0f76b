"""Early stopping branch by branch: a column that has stopped getting better is frozen, the others go on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mmdistill.models.column_modules import ColumnModules
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.options import BranchStoppingOptions
from mmdistill.training.validation import Validation

BEST, SINCE, FROZEN = range(3)


class BranchStopping(ModalityBalance):
    """Freezes the encoder of a column whose probe has not got better for some looks at the validation rows.

    A frozen encoder takes no step any more, and its batch statistics stand still; fusion and heads go on learning. Its
    backward pass is still computed. With `restore` it is put back to the look at which its probe was best.

    Args:
        training: with probes.
        options: see `BranchStoppingOptions`.
    """

    def __init__(self, training: Training, options: BranchStoppingOptions) -> None:
        super().__init__(training)
        self.options = options
        # Best goodness so far, looks since then, whether it is frozen. Kept on the host: no step may wait to know.
        self._state = torch.tensor([[torch.nan, 0, 0]] * len(self.columns), dtype=torch.float64)
        encoders = training.model.encoders
        self.best: nn.Module | None = None
        if options.restore:
            copies = {column: copy.deepcopy(encoders[column]).requires_grad_(False) for column in self.columns}
            self.best = ColumnModules(copies)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The columns that learn no more."""
        return tuple(one for one, row in zip(self.columns, self._state.tolist(), strict=True) if row[FROZEN])

    def get_extra_state(self) -> Tensor:
        """Where each column stands, (M, 3), for a checkpoint."""
        return self._state.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """From a checkpoint."""
        self._state = state.cpu().clone()

    def train(self, mode: bool = True) -> BranchStopping:
        """Keep frozen encoders in evaluation mode; the loop calls this after the model is in training mode."""
        super().train(mode)
        for column in self.frozen:
            self.training_of.model.encoders[column].eval()
        return self

    def after_backward(self, step: int) -> None:  # noqa: ARG002
        """See `ModalityBalance`; without a gradient an optimiser leaves a parameter as it is."""
        for column in self.frozen:
            for parameter in self.training_of.model.encoders[column].parameters():
                parameter.grad = None

    def validated(self, epoch: int, look: Validation) -> None:  # noqa: ARG002
        """See `ModalityBalance`."""
        for column, row in zip(self.columns, self._state, strict=True):
            goodness = look.goodness_of(column)
            if row[FROZEN] or goodness is None:
                continue
            if not row[BEST] >= goodness:  # also where there was no look before: then it is NaN
                row[BEST], row[SINCE] = goodness, 0
                self._keep(column)
                continue
            row[SINCE] += 1
            if row[SINCE] >= self.options.patience:
                row[FROZEN] = 1
                self._put_back(column)

    def _keep(self, column: str) -> None:
        if isinstance(self.best, ColumnModules):
            self.best[column].load_state_dict(self.training_of.model.encoders[column].state_dict())

    def _put_back(self, column: str) -> None:
        if isinstance(self.best, ColumnModules):
            self.training_of.model.encoders[column].load_state_dict(self.best[column].state_dict())
