"""Teachers weighted for each row by how well they know it.

Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022, arXiv:2201.00007, equations 3
and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.distill.combinations.combination import Combination

if TYPE_CHECKING:
    from tensordict import TensorDict


class ByConfidence(Combination):
    """w = (1 − softmax(cross-entropy / temperature)) / (K − 1): a teacher that gives the row's target counts for more.

    The paper has a target for every row. A row without one is weighted by the entropy of each teacher instead, which is
    the cross-entropy that the teacher itself expects.
    """

    def weights(
        self,
        task: str,
        log_probabilities: Tensor,
        batch: TensorDict,
        outputs: Mapping[str, Tensor],  # noqa: ARG002
    ) -> Tensor:
        """See `Combination`."""
        doubt = _by_row(-(log_probabilities.exp() * log_probabilities).sum(dim=-1))
        target, labelled = batch["target"][task], batch["labelled"][task]
        if target.is_floating_point() or target.shape != log_probabilities.shape[1:-1]:
            return 1 - torch.softmax(doubt / self.options.temperature, dim=0)
        known = (target >= 0) & labelled.view(-1, *[1] * (target.dim() - 1))
        index = target.clamp(min=0).expand(log_probabilities.shape[:-1]).unsqueeze(-1)
        wrong = -log_probabilities.gather(-1, index).squeeze(-1) * known
        error = _by_row(wrong) * known[0].numel() / known.flatten(1).sum(1).clamp_min(1) if known.dim() > 1 else wrong
        rows = known.flatten(1).any(dim=1) if known.dim() > 1 else known
        return 1 - torch.softmax(torch.where(rows, error, doubt) / self.options.temperature, dim=0)


def _by_row(values: Tensor) -> Tensor:
    """(K, B, …) → (K, B), the mean over positions."""
    return values.flatten(2).mean(dim=2) if values.dim() > 2 else values
