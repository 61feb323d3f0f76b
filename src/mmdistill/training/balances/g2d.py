"""Gradient-guided distillation: unimodal teachers, and columns that lead one after the other, the weakest first.

Rakib, Bagavathi, "G2D: Boosting Multimodal Learning with Gradient-Guided Distillation", ICCV 2025, arXiv:2506.21514.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill.distill.combinations.combination import tap_of
from mmdistill.distill.terms import Terms
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.encoder_gradients import encoder_gradients, scale_gradients
from mmdistill.training.balances.options import G2DOptions
from mmdistill.training.balances.scores import require_classes, true_class_sums
from mmdistill.training.balances.unimodal_teachers import require_teachers


def leading(confidences: Tensor, rank: int) -> Tensor:
    """1 for the column of a rank by its teacher's confidence, 0 for all others.

    Args:
        confidences: (M,) mean probability that each column's teacher gives to the true class; infinite for a column
            without rows.
        rank: 0 for the least confident.

    Returns:
        (M,) of the dtype of the confidences.
    """
    order = confidences.argsort(stable=True)
    return torch.zeros_like(confidences).index_fill(0, order[rank : rank + 1], 1.0)


def rank_of_step(step: int, total_steps: int, columns: int, prioritise: float) -> int | None:
    """Which column leads at a step, by rank from the weakest; None when all learn alike.

    Args:
        step: counted from 0.
        total_steps: of the training.
        columns: how many there are.
        prioritise: part of the training that is divided among all but the strongest.
    """
    if step >= prioritise * total_steps:
        return None
    return min(int(step / (prioritise * total_steps) * (columns - 1)), columns - 2)


class G2D(ModalityBalance):
    """Lets only the encoder of the column that leads learn, in the first part of the training.

    Who leads is decided batch by batch, as in the paper's code, by what the unimodal teachers say. The losses on
    features and answers are part of the objective, which the options give.

    Args:
        training: with the names of the models of each column alone.
        options: see `G2DOptions`.

    Raises:
        InputError: when a column has no model of its own, or targets are not one class a row.
    """

    def __init__(self, training: Training, options: G2DOptions) -> None:
        super().__init__(training)
        self.options = options
        require_classes(training, "g2d")
        require_teachers(training, "g2d")
        self._sums: tuple[Tensor, Tensor] | None = None

    def _rank(self, step: int) -> int | None:
        return rank_of_step(step, self.training_of.total_steps, len(self.columns), self.options.prioritise)

    @torch.no_grad()
    def terms(
        self,
        batch: TensorDict,
        outputs: Mapping[str, Tensor],  # noqa: ARG002
        signals: Mapping[str, Tensor],
        terms: Terms,
        step: int,
    ) -> Terms:
        """See `ModalityBalance`; takes note of the teachers' confidence."""
        if self._rank(step) is not None:
            training = self.training_of
            tap, labelled = training.logits[training.task], batch["labelled"][training.task]
            said = {one: signals[tap_of(training.unimodal_teachers[one], tap)] for one in self.columns}
            counts = {one: batch["present"][one] & labelled for one in self.columns}
            scores, rows = true_class_sums(said, batch["target"][training.task], counts)
            self._sums = (scores, rows) if self._sums is None else (self._sums[0] + scores, self._sums[1] + rows)
        return terms

    @torch.no_grad()
    def after_backward(self, step: int) -> None:
        """See `ModalityBalance`."""
        sums, self._sums = self._sums, None
        rank = self._rank(step)
        if sums is None or rank is None:
            return
        # Last in the order, so that a column that no row of the step has does not lead, and the others learn nothing.
        confidences = torch.where(sums[1] > 0, sums[0] / sums[1].clamp(min=1), torch.inf)
        factors = leading(confidences, rank)
        for column, factor in zip(self.columns, factors.unbind(), strict=True):
            scale_gradients(encoder_gradients(self.training_of.model, column), factor)
