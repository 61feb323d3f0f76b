"""A phase: which modules are trained together, by which optimisers, and what one step computes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdistill.data.modality_dropout import drop
from mmdistill.distill.objective import Objective
from mmdistill.distill.signals import Signals
from mmdistill.distill.terms import Terms
from mmdistill.recipe.schema import TrainSpec
from mmdistill.training.optimizers import make_optimizer

Step = Callable[[TensorDict, int], Terms]
Sight = Callable[[TensorDict, int], dict[str, Tensor]]


def nothing(step: int) -> None:
    """What most phases do after an optimiser step."""


@dataclass(frozen=True)
class Phase:
    """What `fit` trains.

    One student with its objective, several peers that teach each other, or a stage of a staged method: each is a phase.
    A frozen teacher is not part of it: what is, is saved in checkpoints and put into training mode.

    Args:
        name: shown to the user and written in the checkpoint.
        modules: everything that is trained, moved, saved and restored, by name.
        optimizers: by name; all take a step at the end of each group of accumulated batches.
        step: gives the terms of a batch at an optimiser step, counted from 0. It runs under autocast and must not
            synchronise with the device.
        after_step: called after each optimiser step with its number, counted from 1.
        observe: told, now and then, the gradient norm of each of the terms that `step` gave and the number of the step,
            counted from 0; None where nothing depends on them.
        left_behind: names of modules that are of no use once training is over: an objective, whose memory of rows may
            be far larger than the model. They keep their last state, whichever epoch the others are put back to.
    """

    name: str
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    step: Step
    after_step: Callable[[int], None] = nothing
    observe: Callable[[Tensor, int], None] | None = None
    left_behind: Collection[str] = ()

    def parameters(self) -> list[Tensor]:
        """What the optimisers train, each once."""
        return list({id(parameter): parameter for own in self.parameters_of_each() for parameter in own}.values())

    def parameters_of_each(self) -> list[list[Tensor]]:
        """What each of the optimisers trains."""
        return [
            [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for optimizer in self.optimizers.values()
        ]

    def tensors(self) -> Iterator[Tensor]:
        """All parameters and buffers of the modules."""
        for module in self.modules.values():
            yield from module.parameters()
            yield from module.buffers()


def student_phase(
    name: str,
    model: nn.Module,
    objective: Objective,
    train: TrainSpec,
    *,
    signals: Signals | None = None,
    modality_dropout: float = 0.0,
    always_present: Collection[str] = (),
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Phase:
    """The phase of one model that learns from targets, and from a teacher's signals if there are any.

    A teacher, a student and a baseline are all trained by this phase.

    Args:
        name: of the model.
        model: called as ``model(features, present)``.
        objective: its losses, adapters and loss state are trained with the model.
        train: optimiser and learning rate.
        signals: what the teacher says about a batch.
        modality_dropout: chance, per row and column, that the model is not shown the column; the teacher always is.
        always_present: columns that every training row has; they need no masking.
        seed: of the modality dropout.
        device: where the modules are moved to before the optimiser is made.
    """
    modules = nn.ModuleDict({"model": model, "objective": objective}).to(device)
    see = sight(model, modality_dropout, always_present, seed)

    def step(batch: TensorDict, index: int) -> Terms:
        outputs = see(batch, index)
        said = signals(batch) if signals is not None else {}
        return objective(batch, outputs, said, index)

    optimizer = make_optimizer(modules, train.optimizer, train.learning_rate)
    observe = objective.observe if objective.balance is not None else None
    return Phase(
        name,
        {"model": model, "objective": objective},
        {"all": optimizer},
        step,
        observe=observe,
        left_behind=("objective",),
    )


def sight(model: nn.Module, modality_dropout: float, always_present: Collection[str], seed: int) -> Sight:
    """A function from a batch and the number of the step to what a model makes of it while it learns.

    Args:
        model: called as ``model(features, present)``.
        modality_dropout: see `student_phase`.
        always_present: see `student_phase`.
        seed: of the modality dropout.
    """
    columns: list[str] = list(getattr(model, "columns", ()))
    unsure = [column for column in columns if column not in always_present]

    def see(batch: TensorDict, index: int) -> dict[str, Tensor]:
        present = batch["present"]
        if modality_dropout:
            mine = {column: present[column] for column in (columns or present.keys())}
            present = drop(mine, seed, batch["row"], index, modality_dropout)
        elif columns:
            present = {column: present[column] for column in unsure}
        outputs: dict[str, Tensor] = model(batch["features"], present)
        return outputs

    return see
