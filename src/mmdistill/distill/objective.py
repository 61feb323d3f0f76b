"""What a student learns: the losses on the targets and the weighted distillation losses, each logged by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mmdistill.distill.arguments import Moment
from mmdistill.distill.balance import GradientBalance
from mmdistill.distill.schedules import always_zero, weight_schedule
from mmdistill.distill.term import PRESENT, Term
from mmdistill.distill.terms import Terms
from mmdistill.errors import InputError
from mmdistill.models.tap_names import AUXILIARY, logits_tap
from mmdistill.recipe.loss_weight import LossWeight

if TYPE_CHECKING:
    from tensordict import TensorDict

    from mmdistill.distill.combinations.combination import Combination

__all__ = ["PRESENT", "Objective", "Term", "term_name"]


class Objective(nn.Module):
    """The supervised loss of every task plus Σ weight(step) · distillation loss.

    Adapters and whatever the losses learn or remember live in this module, so that they are moved, trained, saved and
    restored with it. Rows without a target take part in the distillation losses only. What the model itself wants to be
    small (`auxiliary.<name>` among its outputs while it is trained) is added as it is.

    Args:
        losses: task → supervised loss, ``loss(logits, target, labelled, mixed) -> scalar``.
        terms: the distillation losses.
        supervised: weight of the losses on the targets.
        task_weights: task → further weight of its supervised loss; 1 where left out.
        total_steps: optimiser steps of the training, over which weights change.
        steps_per_epoch: optimiser steps of an epoch, where a weight counts epochs.
        balanced: whether terms are rescaled by the norms of their gradients, which `observe` has to be told of.
        combination: makes the signals of several teachers into what the terms are bound to; what it learns from stands
            after the terms.

    Attributes:
        names: of the terms, in the order of `Terms.parts`.

    Raises:
        InputError: when every weight is zero.
    """

    def __init__(
        self,
        losses: Mapping[str, nn.Module],
        terms: Sequence[Term] = (),
        *,
        supervised: float | LossWeight = 1.0,
        task_weights: Mapping[str, float] | None = None,
        total_steps: int = 1,
        steps_per_epoch: int | None = None,
        balanced: bool = False,
        combination: Combination | None = None,
    ) -> None:
        super().__init__()
        self.tasks, self.total_steps = tuple(losses), total_steps
        self.terms = nn.ModuleList(terms)
        self.combination: Combination | None = combination
        self._supervised = weight_schedule(
            supervised, total_steps, "distill.supervised", steps_per_epoch=steps_per_epoch
        )
        shares = {task: 1.0 if task_weights is None else task_weights.get(task, 1.0) for task in self.tasks}
        # A loss that never counts is not computed; one whose weight only passes through zero is, for the history.
        taught = [task for task in self.tasks if shares[task] > 0 and not always_zero(supervised)]
        if not taught and not terms:
            raise InputError("Every loss has the weight zero, so there is nothing to learn", where="distill")
        self.supervised_losses = nn.ModuleList(losses[task] for task in taught)
        self._taught = [
            (task, logits_tap(task, self.tasks), term_name("supervised", task, self.tasks), shares[task])
            for task in taught
        ]
        # Asked for the loss of every row also where no target is learnt from.
        self._scored = taught[0] if taught else next(iter(self.tasks), "")
        self.row_loss = losses.get(self._scored)
        self.names = (*(name for _, _, name, _ in self._taught), *(term.name for term in terms))
        count = len(taught) + len(terms)
        self.balance = GradientBalance(count) if balanced and count > 1 else None

    @property
    def teacher_taps(self) -> set[str]:
        """The taps that signals have to give."""
        return {tap for term in self._terms for tap in term.teacher_taps}

    @property
    def _terms(self) -> list[Term]:
        return cast(list[Term], list(self.terms))

    def weights(self, step: int) -> list[float]:
        """The weight of every term at an optimiser step, counted from 0, before any balance."""
        supervised = self._supervised(step)
        return [*(supervised * share for *_, share in self._taught), *(term.weight(step) for term in self._terms)]

    def forward(
        self, batch: TensorDict, outputs: Mapping[str, Tensor], signals: Mapping[str, Tensor], step: int
    ) -> Terms:
        """The terms of a batch.

        Args:
            batch: of the loader.
            outputs: the student's taps.
            signals: the teacher's taps; empty without a teacher.
            step: optimiser step, counted from 0.
        """
        mixed = batch.get("mixed", None)
        values = [
            loss(outputs[tap], batch["target"][task], batch["labelled"][task], mixed)
            for (task, tap, _, _), loss in zip(self._taught, self.supervised_losses, strict=True)
        ]
        learnt: dict[str, Tensor] = {}
        if self.combination is not None:
            signals, learnt = self.combination(batch, outputs, signals)
        if self.terms:
            moment = Moment(batch, outputs, signals, step / self.total_steps)
            values += [term(moment) for term in self._terms]
        weights = self.weights(step)
        parts = {name: _scaled(value, weight) for name, value, weight in zip(self.names, values, weights, strict=True)}
        own = {tap: value for tap, value in outputs.items() if tap.startswith(AUXILIARY)}
        if self.balance is not None:
            factors = self.balance.factors(weights)
            parts = {name: part * factor for (name, part), factor in zip(parts.items(), factors, strict=True)}
        return Terms.sum({**parts, **own, **learnt}, _finite(signals))

    @torch.no_grad()
    def row_losses(self, batch: TensorDict, outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The supervised loss of every row in the first task that is learnt, and what the row counts: (B,) each.

        Args:
            batch: of the loader.
            outputs: the student's taps.
        """
        task, tap = self._scored, logits_tap(self._scored, self.tasks)
        rows = cast(Callable[..., tuple[Tensor, Tensor]], cast(nn.Module, self.row_loss).rows)
        losses, known = rows(outputs[tap], batch["target"][task], batch["labelled"][task])
        return losses, known

    @torch.no_grad()
    def observe(self, norms: Tensor, step: int) -> None:
        """Tell the balance how strongly each term pulled.

        Args:
            norms: (parts,) of the gradients of `Terms.parts` of that step over the student's weights; the model's own
                losses and what a combination learns from are not balanced.
            step: the optimiser step, counted from 0.
        """
        if self.balance is None:
            return
        weights = self.weights(step)
        norms = norms[: len(weights)]
        applied = torch.stack(self.balance.factors(weights)) * torch.stack(
            [torch.full_like(norm, weight) for norm, weight in zip(norms, weights, strict=True)]
        )
        self.balance.observe(norms / torch.where(applied > 0, applied, torch.inf))


def term_name(name: str, task: str | None, tasks: Sequence[str]) -> str:
    """``kd``, or ``<task>/kd`` where there are several tasks and the term belongs to one."""
    return f"{task}/{name}" if task is not None and len(tasks) > 1 else name


def _scaled(value: Tensor, weight: float) -> Tensor:
    return value if weight == 1.0 else value * weight


@torch.no_grad()
def _finite(signals: Mapping[str, Tensor]) -> Tensor | None:
    """A scalar that is NaN or infinite where any of the teacher's outputs is; a look at each would wait for it."""
    sums = [value.sum(dtype=torch.float32) for value in signals.values() if value.is_floating_point()]
    if not sums:
        return None
    return sums[0] if len(sums) == 1 else torch.stack(sums).sum()
