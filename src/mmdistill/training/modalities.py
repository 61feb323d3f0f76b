"""How a model of several columns is shown them while it learns: dropout, balance, probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.training.balances.balance import ModalityBalance
from mmdistill.training.probes import ColumnProbes
from mmdistill.training.seen import SEEN

__all__ = ["SEEN", "ModalityTraining", "Sight", "sight"]

Sight = Callable[[TensorDict, int], dict[str, Tensor]]


@dataclass(frozen=True)
class ModalityTraining:
    """What happens to the columns of a model while it learns.

    Args:
        always_present: columns that every training row has; they need no masking.
        dropout: hides columns of a row from the model, never from its teacher.
        balances: keep one column from drowning out the others, in this order.
        probes: linear probes beside the model, which do not change it.
    """

    always_present: tuple[str, ...] = ()
    dropout: ModalityDropout | None = None
    balances: tuple[ModalityBalance, ...] = ()
    probes: ColumnProbes | None = None

    def modules(self) -> dict[str, nn.Module]:
        """What is moved, saved in checkpoints and left behind at the end, by name."""
        parts: dict[str, nn.Module | None] = {
            "dropout": self.dropout,
            "balances": nn.ModuleList(self.balances) if self.balances else None,
            "probes": self.probes,
        }
        return {name: module for name, module in parts.items() if module is not None}

    @property
    def hides(self) -> bool:
        """Whether a row's columns may be hidden from the model."""
        overridden = any(type(one).shown is not ModalityBalance.shown for one in self.balances)
        return self.dropout is not None or overridden

    def shown(self, present: Mapping[str, Tensor], rows: Tensor, step: int) -> Mapping[str, Tensor]:
        """What the model is shown of the columns that it reads: column → bool (B,)."""
        if self.dropout is not None:
            present = self.dropout(present, rows, step)
        for balance in self.balances:
            present = balance.shown(present, rows, step)
        return present


def sight(model: nn.Module, modalities: ModalityTraining) -> Sight:
    """A function from a batch and the number of the step to what a model makes of it while it learns.

    Args:
        model: called as ``model(features, present)``.
        modalities: which columns it is shown.
    """
    columns: list[str] = list(getattr(model, "columns", ()))
    unsure = [column for column in columns if column not in modalities.always_present]
    hides = modalities.hides

    def see(batch: TensorDict, index: int) -> dict[str, Tensor]:
        present = batch["present"]
        if hides:
            mine = {column: present[column] for column in columns}
            shown = modalities.shown(mine, batch["row"], index)
            outputs: dict[str, Tensor] = model(batch["features"], shown)
            outputs[SEEN] = torch.stack([shown[column] for column in columns], dim=1)
            return outputs
        if columns:
            present = {column: present[column] for column in unsure}
        plain: dict[str, Tensor] = model(batch["features"], present)
        return plain

    return see
