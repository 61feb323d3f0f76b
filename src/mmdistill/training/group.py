"""Models that learn in one training, each from what the others say in the same step.

Zhang, Xiang, Hospedales, Lu, "Deep Mutual Learning", CVPR 2018, arXiv:1706.00384; a teacher that goes on learning
beside its student, as in Huo et al., "C2KD", CVPR 2024, is a group of two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.objective import Objective
from mmdistill.distill.own_past import OwnPast
from mmdistill.distill.several import side_by_side
from mmdistill.distill.signals import PRESENT, rows_seen
from mmdistill.distill.terms import Terms
from mmdistill.recipe.schema import TrainSpec
from mmdistill.training.modalities import ModalityTraining, sight
from mmdistill.training.optimizers import make_optimizer
from mmdistill.training.phase import Phase, observe_rows


@dataclass(frozen=True)
class Participant:
    """One model of a group.

    Args:
        model: called as ``model(features, present)``.
        objective: bound to the taps of the participants that it learns from: their own names where there is one,
            `<participant>:<tap>` where there are several.
        teachers: names of those participants.
        past: the average of its own weights, where that teaches it instead.
        columns: the columns that it reads, where a row may lack all of them: what it says of such a row does not count.
        modalities: what happens to the model's columns; of it only the dropout, which is saved with the model.
    """

    model: nn.Module
    objective: Objective
    teachers: tuple[str, ...] = ()
    past: OwnPast | None = None
    modalities: ModalityTraining = field(default_factory=ModalityTraining)
    columns: tuple[str, ...] = ()


def group_phase(
    name: str,
    participants: Mapping[str, Participant],
    train: TrainSpec,
    *,
    device: torch.device | str = "cpu",
) -> Phase:
    """The phase of models that teach each other, or of one that its own past teaches.

    Every model runs once a step; what the others hear of it carries no gradient. Each has an optimiser of its own, so
    that the gradient of one is not clipped for that of another. The terms of participant `a` are
    called `a/<term>` where there are several.

    Args:
        name: of the training.
        participants: by name.
        train: optimiser and learning rate of all.
        device: where the modules are moved to before the optimiser is made.
    """
    parts_of = {who: _modules(who, one).to(device) for who, one in participants.items()}
    see = {who: sight(one.model, one.modalities) for who, one in participants.items()}
    alone = len(participants) == 1
    sizes: dict[str, int] = {}

    def step(batch: TensorDict, index: int) -> Terms:
        outputs = {who: look(batch, index) for who, look in see.items()}
        parts: dict[str, Tensor] = {}
        for who, one in participants.items():
            teachers = {teacher: participants[teacher].columns for teacher in one.teachers}
            said = one.past(batch) if one.past is not None else heard(teachers, outputs, batch)
            terms = one.objective(batch, outputs[who], said, index)
            observe_rows(one.modalities.dropout, one.objective, batch, outputs[who])
            sizes[who] = len(terms.parts)
            parts |= {term if alone else f"{who}/{term}": value for term, value in terms.parts.items()}
        return Terms.sum(parts)

    def after_step(number: int) -> None:
        for one in participants.values():
            if one.past is not None:
                one.past.follow(one.model, number)

    def observe(norms: Tensor, number: int) -> None:
        for one, own in zip(participants.values(), norms.split([sizes[who] for who in participants]), strict=True):
            one.objective.observe(own, number)

    optimizers = {who: make_optimizer(own, train.optimizer, train.learning_rate) for who, own in parts_of.items()}
    modules = {name: module for own in parts_of.values() for name, module in own.items()}
    balanced = any(one.objective.balance is not None for one in participants.values())
    left = [f"{who}-{part}" for who in participants for part in ("objective", "past", "dropout")]
    return Phase(
        name,
        modules,
        optimizers,
        step,
        after_step=after_step,
        observe=observe if balanced else None,
        left_behind=left,
    )


def _modules(who: str, one: Participant) -> nn.ModuleDict:
    """What a participant trains, and what it remembers."""
    parts = {"model": one.model, "objective": one.objective, "past": one.past, "dropout": one.modalities.dropout}
    return nn.ModuleDict({f"{who}-{part}": module for part, module in parts.items() if module is not None})


def heard(
    teachers: Mapping[str, Collection[str]], outputs: Mapping[str, Mapping[str, Tensor]], batch: TensorDict
) -> dict[str, Tensor]:
    """What participants have just said, without gradient.

    Args:
        teachers: name → its columns, where a row may lack all of them.
        outputs: of every participant.
        batch: of the loader.
    """
    said = {who: {tap: value.detach() for tap, value in outputs[who].items()} for who in teachers}
    for who, columns in teachers.items():
        if columns:
            said[who][PRESENT] = rows_seen(batch, columns)
    return next(iter(said.values())) if len(said) == 1 else side_by_side(said)
