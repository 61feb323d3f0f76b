"""The supervised loss of single-label classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NO_TARGET = -1


class CrossEntropy(nn.Module):
    """Cross-entropy over the rows that have a target, with class weights and label smoothing.

    The mean is over the sum of the class weights of those rows, as in `torch.nn.CrossEntropyLoss`, and zero when there
    are none. Computed in float32 or wider. Nothing here waits for the device.

    Args:
        class_weights: (C,) positive weights, or None.
        label_smoothing: share of each target that is spread evenly over the classes, in [0, 1).
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Tensor, target: Tensor, labelled: Tensor, mixed: Mapping[str, Any] | None = None
    ) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, C).
            target: (B,) class indices; anything where `labelled` is false.
            labelled: (B,) true where a row has a target.
            mixed: of a batch under mixup: ``partner`` int64 (B,), the row that each was mixed with, and ``share``
                (B,) in [0, 1], the part of the row itself. Each row then counts for its own target with its share and
                for its partner's with the rest.

        Returns:
            A scalar, at least 0.
        """
        wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        target = torch.where(labelled, target, NO_TARGET)
        if mixed is None and self.class_weights is None:
            known = labelled.sum()
            total = F.cross_entropy(
                wide, target, reduction="sum", ignore_index=NO_TARGET, label_smoothing=self.label_smoothing
            )
            return total / known.clamp(min=1)
        losses, weights = self._parts(wide, target)
        if mixed is not None:
            share = mixed["share"].to(wide.dtype)
            other_losses, other_weights = self._parts(wide, target[mixed["partner"]])
            losses = share * losses + (1 - share) * other_losses
            weights = share * weights + (1 - share) * other_weights
        total = weights.sum()
        return losses.sum() / torch.where(total > 0, total, 1)

    def rows(self, logits: Tensor, target: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of every row and what it counts, (B,) each, zero without a target; arguments as in `forward`."""
        wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        return self._parts(wide, torch.where(labelled, target, NO_TARGET))

    def _parts(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted loss and weight of each row, both (B,) and zero for rows without target."""
        class_weights = self.class_weights
        losses = F.cross_entropy(
            logits,
            target,
            weight=None if class_weights is None else class_weights.to(logits.dtype),
            reduction="none",
            ignore_index=NO_TARGET,
            label_smoothing=self.label_smoothing,
        )
        known = (target != NO_TARGET).to(logits.dtype)
        if class_weights is None:
            return losses, known
        return losses, known * class_weights.to(logits.dtype)[target.clamp(min=0)]
