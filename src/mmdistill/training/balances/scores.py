"""How far each column is: the probability that it gives to the true class, against that of the other columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.balances.balance import Training


def true_class_sums(
    logits: Mapping[str, Tensor], target: Tensor, counts: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The probabilities of the true classes, summed up over the rows that count for a column, and how many these are.

    Args:
        logits: column → (B, C).
        target: int64 (B,), anything where a row does not count.
        counts: column → bool (B,).

    Returns:
        (M,) each, float32, in the order of `logits`.
    """
    known = torch.stack([counts[column] for column in logits])
    index = torch.where(known.any(dim=0), target, 0).unsqueeze(1)
    of_truth = torch.stack([one.float().softmax(dim=1).gather(1, index).squeeze(1) for one in logits.values()])
    return of_truth.masked_fill(~known, 0).sum(dim=1), known.sum(dim=1).float()


def imbalance(scores: Tensor, rows: Tensor | None = None) -> Tensor:
    """How far each column is ahead of the others: its score divided by the mean score of the others.

    With two columns this is the ratio ρ of Peng et al. (CVPR 2022), Eq. 9. A column without rows in the batch is
    neither ahead nor behind, and no part of the others' mean.

    Args:
        scores: (M,) sums over the rows that count, not negative.
        rows: (M,) how many rows these are; equally many when left out.

    Returns:
        (M,), 1 where there is nothing to compare with.
    """
    there = torch.ones_like(scores, dtype=torch.bool) if rows is None else rows > 0
    means = scores if rows is None else scores / rows.clamp(min=1)
    means = torch.where(there, means, 0)
    # Added up one by one: taking a column from the sum of all would leave nothing of much smaller ones.
    apart = ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    others = (apart & there).sum(dim=1)
    mean_of_others = (apart * means).sum(dim=1) / others.clamp(min=1)
    usable = there & (others > 0) & (mean_of_others > 0)
    return torch.where(usable, means / torch.where(usable, mean_of_others, 1), 1)


def require_classes(training: Training, name: str) -> None:
    """Refuse a task whose targets are not one class a row.

    Raises:
        InputError: naming the balance.
    """
    if not isinstance(training.losses[training.task], CrossEntropy):
        raise InputError(
            f"The modality balance {name!r} compares columns by the probability of the true class, and the task "
            f"{training.task!r} has no such class",
            where="modality_balance",
            fix="Choose another balance; `gradient_blending` and `branch_stopping` work for every task",
        )
