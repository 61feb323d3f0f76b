"""Prototypical modal rebalance.

Fan, Xu, Wang, Wang, Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023, arXiv:2211.07089.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.terms import Terms
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.models.column_modules import ColumnModules
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.options import PrototypesOptions
from mmdistill.training.balances.scores import imbalance, require_classes, true_class_sums
from mmdistill.training.seen import rows_shown


def rebalance(ratios: Tensor, strength: str = "ratio") -> tuple[Tensor, Tensor]:
    """How strongly each column is pulled to its prototypes, and how strongly it is to keep its entropy.

    Args:
        ratios: (M,) how far each column is ahead of the others, > 0; see `scores.imbalance`.
        strength: ``ratio``: clip(1/ρ − 1, 0, 1) and clip(ρ − 1, 0, 1); ``switch``: 1 or 0.

    Returns:
        (M,) each, in [0, 1].
    """
    if strength == "switch":
        return (ratios < 1).to(ratios.dtype), (ratios > 1).to(ratios.dtype)
    return (1 / ratios - 1).clamp(0, 1), (ratios - 1).clamp(0, 1)


class ClassMeans(nn.Module):
    """The prototypes of a column: the mean embedding of every class, renewed from time to time.

    Args:
        classes: how many there are.
        dim: width of the embedding.
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.prototypes: Tensor
        self.known: Tensor
        self.sums: Tensor
        self.counts: Tensor
        self.register_buffer("prototypes", torch.zeros(classes, dim))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(classes, dim))
        self.register_buffer("counts", torch.zeros(classes))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, D) to logits (B, C): minus the Euclidean distance; hardly possible for an unknown class."""
        # Not by a matrix product: in a tight class far from the origin its rounding is as large as the distance.
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(embeddings.float(), self.prototypes, compute_mode=exact)
        return (-distances).masked_fill(~self.known, torch.finfo(distances.dtype).min / 2)

    @torch.no_grad()
    def add(self, embeddings: Tensor, target: Tensor, counts: Tensor) -> None:
        """Take note of the embeddings (B, D) of rows that count, bool (B,), by their classes (B,)."""
        # A product, because scattered additions on an accelerator differ from run to run.
        classes = torch.where(counts, target, 0)
        members = F.one_hot(classes, len(self.counts)).to(torch.float32) * counts.unsqueeze(1)
        self.sums += _sums_by_class(members, embeddings.float())
        self.counts += members.sum(dim=0)

    @torch.no_grad()
    def renew(self, momentum: float) -> None:
        """Make the means of what was added into prototypes, keeping a part of the old ones, and forget it."""
        there = self.counts > 0
        means = self.sums / self.counts.clamp(min=1).unsqueeze(1)
        kept = (there & self.known).unsqueeze(1)
        renewed = torch.where(kept, torch.lerp(means, self.prototypes, momentum), means)
        self.prototypes.copy_(torch.where(there.unsqueeze(1), renewed, self.prototypes))
        self.known |= there
        self.sums.zero_()
        self.counts.zero_()


class Prototypes(ModalityBalance):
    """Pulls slow columns to the prototypes of their classes, and early on keeps fast ones from being too sure.

    Prototypes are the means of what the encoders gave during an epoch, renewed at its end with momentum; the paper runs
    the model over a tenth of the rows once more for them. So there is nothing to be pulled to in the first epoch.

    Args:
        training: of a model of several columns.
        options: see `PrototypesOptions`.

    Raises:
        InputError: when targets are not one class a row.
    """

    def __init__(self, training: Training, options: PrototypesOptions) -> None:
        super().__init__(training)
        require_classes(training, "prototypes")
        self.options = options
        classes = training.head_sizes[training.task]
        self.means = ColumnModules({one: ClassMeans(classes, training.model.dims[one]) for one in self.columns})

    def terms(
        self,
        batch: TensorDict,
        outputs: Mapping[str, Tensor],
        signals: Mapping[str, Tensor],  # noqa: ARG002
        terms: Terms,
        step: int,
    ) -> Terms:
        """See `ModalityBalance`; adds `prototypes/<column>`."""
        training, options = self.training_of, self.options
        target, labelled = batch["target"][training.task], batch["labelled"][training.task]
        shown = rows_shown(batch, outputs, self.columns)
        logits: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        for column in self.columns:
            means = self.means[column]
            assert isinstance(means, ClassMeans)
            there = shown[column] & labelled
            means.add(outputs[column].detach(), target, there)
            counts[column] = there & means.known[torch.where(there, target, 0)]
            logits[column] = means(outputs[column])
        with torch.no_grad():
            pulls, holds = rebalance(imbalance(*true_class_sums(logits, target, counts)), options.strength)
        weight = options.alpha if options.holds(step, training.total_steps) else 0.0
        entropy = options.mu if step < options.entropy_until * training.total_steps else 0.0
        parts = {
            f"prototypes/{column}": weight * pull * _distance(logits[column], target, counts[column])
            - entropy * hold * _entropy(logits[column], counts[column])
            for column, pull, hold in zip(self.columns, pulls.unbind(), holds.unbind(), strict=True)
        }
        return Terms.sum({**terms.parts, **parts}, terms.teacher)

    def after_backward(self, step: int) -> None:
        """See `ModalityBalance`; renews the prototypes at the last step of an epoch, once for all its batches."""
        if (step + 1) % self.training_of.steps_per_epoch == 0:
            for column in self.columns:
                means = self.means[column]
                assert isinstance(means, ClassMeans)
                means.renew(self.options.momentum)


@without_autocast
def _sums_by_class(members: Tensor, embeddings: Tensor) -> Tensor:
    """Sums (C, D) of embeddings (B, D) over the rows that belong to each class, (B, C)."""
    return members.T @ embeddings


def _distance(logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """The prototypical cross-entropy of the rows that count, a scalar."""
    classes = torch.where(counts, target, -1)
    return F.cross_entropy(logits, classes, ignore_index=-1, reduction="sum") / counts.sum().clamp(min=1)


def _entropy(logits: Tensor, counts: Tensor) -> Tensor:
    """The mean entropy of the rows that count, a scalar."""
    log_probabilities = logits.log_softmax(dim=1)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return weighted_mean(entropies, counts.to(entropies.dtype))
