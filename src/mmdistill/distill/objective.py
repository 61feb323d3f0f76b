"""What a student learns: the losses on the targets and the weighted distillation losses, each logged by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.distill.adapters import Projector
from mmdistill.distill.binding import Argument
from mmdistill.distill.schedules import WeightSchedule, always_zero, weight_schedule
from mmdistill.distill.terms import Terms
from mmdistill.errors import InputError
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe.schema import LossWeight

if TYPE_CHECKING:
    from tensordict import TensorDict

PRESENT = "row.present"
"""Entry of a teacher's signals: bool (B,), the rows of which the teacher has seen anything; all when left out."""


class Term(nn.Module):
    """One distillation loss with its arguments bound to taps.

    Args:
        name: under which it is logged.
        loss: the module.
        arguments: where each of its arguments comes from.
        weight: at each step.
        projector: applied to the student's argument of the name `projects`.
        projects: see `projector`.
    """

    def __init__(
        self,
        name: str,
        loss: nn.Module,
        arguments: Sequence[Argument],
        weight: WeightSchedule,
        projector: Projector | None = None,
        projects: str = "",
    ) -> None:
        super().__init__()
        self.name, self.loss, self.arguments, self.weight = name, loss, tuple(arguments), weight
        self.projector, self.projects = projector, projects
        self._takes_weight = any(argument.origin == "weight" for argument in arguments)
        self._takes_labelled = any(argument.origin == "labelled" for argument in arguments)
        self._task = next((argument.key for argument in arguments if argument.origin == "target"), None)

    @property
    def teacher_taps(self) -> set[str]:
        """The taps that the teacher has to give."""
        return {argument.key for argument in self.arguments if argument.origin.startswith("teacher")}

    def forward(self, batch: TensorDict, outputs: Mapping[str, Tensor], signals: Mapping[str, Tensor]) -> Tensor:
        """The unweighted loss of a batch, a scalar.

        Raises:
            InputError: when the loss compares with targets and the batch is mixed up, or when rows have to be left out
                and the loss takes no weight.
        """
        if self._task is not None and batch.get("mixed", None) is not None:
            raise InputError(
                f"The loss {self.name!r} needs one target a row, and mixup gives two",
                where="distill.losses",
                fix="Leave train.mixup out, or choose a loss without targets, such as kd",
            )
        values = {argument.name: self._value(argument, batch, outputs, signals) for argument in self.arguments}
        if self.projector is not None:
            values[self.projects] = self.projector(values[self.projects])
        result: Tensor = self.loss(**values)
        return result

    def _value(
        self, argument: Argument, batch: TensorDict, outputs: Mapping[str, Tensor], signals: Mapping[str, Tensor]
    ) -> Tensor | None:
        origin, key = argument.origin, argument.key
        if origin == "student":
            return outputs[key]
        if origin == "teacher":
            return signals[key]
        if origin == "student lengths":
            return outputs[key].sum(dim=1)
        if origin == "teacher lengths":
            return signals[key].sum(dim=1)
        if origin == "target":
            target = batch["target"][key]
            # What stands in for a missing target may be no class at all; with its weight of zero any class will do.
            return target if self._takes_labelled else _where_labelled(target, batch["labelled"][key])
        if origin == "labelled":
            labelled: Tensor = batch["labelled"][key]
            return labelled
        return self._row_weight(batch, signals)

    def _row_weight(self, batch: TensorDict, signals: Mapping[str, Tensor]) -> Tensor | None:
        """What a row counts: nothing when the teacher saw nothing of it, or when a target that is needed is missing."""
        counts = signals.get(PRESENT)
        if self._task is not None and not self._takes_labelled:
            labelled = batch["labelled"][self._task]
            counts = labelled if counts is None else counts & labelled
        return None if counts is None else counts.to(torch.float32)


class Objective(nn.Module):
    """The supervised loss of every task plus Σ weight(step) · distillation loss.

    Adapters and whatever the losses learn or remember live in this module, so that they are moved, trained, saved and
    restored with it. Rows without a target take part in the distillation losses only.

    Args:
        losses: task → supervised loss, ``loss(logits, target, labelled, mixed) -> scalar``.
        terms: the distillation losses.
        supervised: weight of the losses on the targets.
        task_weights: task → further weight of its supervised loss; 1 where left out.
        total_steps: optimiser steps of the training, over which weights change.

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
    ) -> None:
        super().__init__()
        self.tasks = tuple(losses)
        self.terms = nn.ModuleList(terms)
        self._supervised = weight_schedule(supervised, total_steps, "distill.supervised")
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

    @property
    def teacher_taps(self) -> set[str]:
        """The taps that signals have to give."""
        return {tap for term in self.terms for tap in term.teacher_taps}  # type: ignore[union-attr]

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
        parts: dict[str, Tensor] = {}
        mixed = batch.get("mixed", None)
        supervised = self._supervised(step)
        for (task, tap, name, share), loss in zip(self._taught, self.supervised_losses, strict=True):
            value = loss(outputs[tap], batch["target"][task], batch["labelled"][task], mixed)
            parts[name] = _scaled(value, supervised * share)
        for term in self.terms:
            assert isinstance(term, Term)
            parts[term.name] = _scaled(term(batch, outputs, signals), term.weight(step))
        return Terms.sum(parts)


def term_name(name: str, task: str | None, tasks: Sequence[str]) -> str:
    """``kd``, or ``<task>/kd`` where there are several tasks and the term belongs to one."""
    return f"{task}/{name}" if task is not None and len(tasks) > 1 else name


def _scaled(value: Tensor, weight: float) -> Tensor:
    return value if weight == 1.0 else value * weight


def _where_labelled(target: Tensor, labelled: Tensor) -> Tensor:
    return torch.where(labelled.view(-1, *[1] * (target.dim() - 1)), target, torch.zeros_like(target))
