"""Gradient blending: losses weighted by how much each generalises and overfits.

Wang, Tran, Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020, arXiv:1905.12681.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.objective import term_name
from mmdistill.distill.terms import Terms
from mmdistill.models.column_modules import ColumnModules
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.options import FUSED, GradientBlendingOptions
from mmdistill.training.seen import rows_shown
from mmdistill.training.validation import Validation


def blend(
    before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]], smallest_overfitting: float = 0.01
) -> list[float] | None:
    """The weight of each loss: w ∝ ΔG / ΔO², summing up to 1 (Eq. 2 and Proposition 1).

    ΔG is by how much the validation loss fell, at least 0, and ΔO by how much the gap between validation and training
    loss grew.

    Args:
        before: (training loss, validation loss) of each, at the earlier look.
        now: the same, at the later look.
        smallest_overfitting: lower bound of \\|ΔO\\|, > 0.

    Returns:
        The weights; None when nothing got better, or a loss is not finite.
    """
    shares = []
    for (train_before, before_it), (train_now, now_it) in zip(before, now, strict=True):
        generalised = max(before_it - now_it, 0.0)
        overfitted = (now_it - train_now) - (before_it - train_before)
        shares.append(generalised / max(abs(overfitted), smallest_overfitting) ** 2)
    total = math.fsum(shares)
    if not math.isfinite(total) or total <= 0:
        return None
    return [share / total for share in shares]


class GradientBlending(ModalityBalance):
    """A linear head with a loss on each column, and weights of these losses and the model's own.

    The paper estimates the weights by training a copy of each branch alone for a while. Here they come from the one
    training there is: the losses of the columns are those of their probes, which are the same linear heads without a
    say in the encoders; training losses are means over the steps since the last look, dropout included. The first
    estimate needs two looks; until then all weights are equal.

    Args:
        training: with probes.
        options: see `GradientBlendingOptions`.

    Raises:
        InputError: when a weight is given for what is no column, or left out.
    """

    def __init__(self, training: Training, options: GradientBlendingOptions) -> None:
        super().__init__(training)
        self.options = options
        names = [*self.columns, FUSED]
        options.check(self.columns, "modality_balance.gradient_blending")
        size = training.head_sizes[training.task]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(training.seed)
            self.heads = ColumnModules({one: nn.Linear(training.model.dims[one], size) for one in self.columns})
        given = torch.tensor([options.weights.get(name, 1.0) for name in names])
        self.weights: Tensor
        self.losses_before: Tensor
        self.looks: Tensor
        self.sums: Tensor
        self.register_buffer("weights", given / given.sum())
        # Training and validation loss of each at the look that the next estimate compares with.
        self.register_buffer("losses_before", torch.zeros(len(names), 2, dtype=torch.float64))
        self.register_buffer("looks", torch.zeros((), dtype=torch.int64))
        # Loss of the model times rows, and rows, since the last look.
        self.register_buffer("sums", torch.zeros(2))
        tasks = tuple(training.losses)
        self._supervised = {term_name("supervised", task, tasks) for task in tasks}

    def terms(
        self,
        batch: TensorDict,
        outputs: Mapping[str, Tensor],
        signals: Mapping[str, Tensor],  # noqa: ARG002
        terms: Terms,
        step: int,  # noqa: ARG002
    ) -> Terms:
        """See `ModalityBalance`; weighs the supervised losses and adds `blended/<column>`."""
        training = self.training_of
        loss, mixed = training.losses[training.task], batch.get("mixed", None)
        target, labelled = batch["target"][training.task], batch["labelled"][training.task]
        with torch.no_grad():
            rows = labelled.sum()
            own = loss(outputs[training.logits[training.task]], target, labelled, mixed)
            self.sums += torch.stack([own * rows, rows])
        *of_columns, of_model = self.weights.clone().unbind()
        parts = {name: part * of_model if name in self._supervised else part for name, part in terms.parts.items()}
        shown = rows_shown(batch, outputs, self.columns)
        for column, weight in zip(self.columns, of_columns, strict=True):
            logits = self.heads[column](outputs[column])
            parts[f"blended/{column}"] = weight * loss(logits, target, labelled & shown[column], mixed)
        return Terms.sum(parts, terms.teacher)

    @torch.no_grad()
    def validated(self, epoch: int, look: Validation) -> None:  # noqa: ARG002
        """See `ModalityBalance`; estimates the weights anew."""
        total, rows = self.sums.tolist()
        self.sums.zero_()
        if self.options.weights:
            return
        assert look.loss is not None
        now = [(look.columns[one].train_loss, look.columns[one].loss) for one in self.columns]
        now.append((total / rows if rows else math.nan, look.loss))
        looks = int(self.looks)
        self.looks += 1
        if looks % self.options.every or (self.options.mode == "once" and looks > self.options.every):
            return
        if looks:
            before = [(one[0], one[1]) for one in self.losses_before.tolist()]
            weights = blend(before, now, self.options.smallest_overfitting)
            if weights is not None:
                self.weights.copy_(torch.tensor(weights))
        if all(math.isfinite(loss) for pair in now for loss in pair):
            self.losses_before.copy_(torch.tensor(now, dtype=torch.float64))
