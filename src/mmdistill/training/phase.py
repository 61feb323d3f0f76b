"""A phase: which modules are trained together, by which optimisers, and what one step computes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.distill.objective import Objective
from mmdistill.distill.signals import Signals
from mmdistill.distill.terms import Terms
from mmdistill.recipe.schema import TrainSpec
from mmdistill.training.history import probe_loss
from mmdistill.training.modalities import SEEN, ModalityTraining, sight
from mmdistill.training.optimizers import make_optimizer
from mmdistill.training.validation import Validation

Step = Callable[[TensorDict, int], Terms]


def nothing(*_: object) -> None:
    """What most phases do after a backward pass, an optimiser step or a look at the validation rows."""


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
        after_backward: called with the number of the step, counted from 0, when its gradients are complete and before
            they are clipped; it may change them.
        after_step: called after each optimiser step with its number, counted from 1.
        observe: told, now and then, the gradient norm of each of the terms that `step` gave and the number of the step,
            counted from 0; None where nothing depends on them.
        validated: told of a look at the validation rows: epochs done, and what was seen. It may change weights: those
            that are scored have been kept.
        left_behind: names of modules that are of no use once training is over: an objective, whose memory of rows may
            be far larger than the model. They keep their last state, whichever epoch the others are put back to.
        beside: names of optimisers of what is trained beside the model, whose gradient is no part of the model's.
        probed: columns whose probes are scored on the validation rows.
    """

    name: str
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    step: Step
    after_backward: Callable[[int], None] = nothing
    after_step: Callable[[int], None] = nothing
    observe: Callable[[Tensor, int], None] | None = None
    validated: Callable[[int, Validation], None] = nothing
    left_behind: Collection[str] = ()
    beside: Collection[str] = ()
    probed: tuple[str, ...] = ()

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
    modalities: ModalityTraining | None = None,
    device: torch.device | str = "cpu",
) -> Phase:
    """The phase of one model that learns from targets, and from a teacher's signals if there are any.

    A teacher, a student and a baseline are all trained by this phase. Probes have an optimiser of their own, so that
    their gradient has no part in clipping the model's.

    Args:
        name: of the model.
        model: called as ``model(features, present)``.
        objective: its losses, adapters and loss state are trained with the model.
        train: optimiser and learning rate.
        signals: what the teacher says about a batch.
        modalities: what happens to the model's columns.
        device: where the modules are moved to before the optimiser is made.
    """
    modalities = modalities or ModalityTraining()
    beside = modalities.modules()
    modules = nn.ModuleDict({"model": model, "objective": objective, **beside}).to(device)
    see, dropout, probes = sight(model, modalities), modalities.dropout, modalities.probes

    def step(batch: TensorDict, index: int) -> Terms:
        outputs = see(batch, index)
        said = signals(batch) if signals is not None else {}
        terms = objective(batch, outputs, said, index)
        for balance in modalities.balances:
            terms = balance.terms(batch, outputs, said, terms, index)
        observe_rows(dropout, objective, batch, outputs)
        if probes is not None:
            terms = terms.with_beside({probe_loss(one): loss for one, loss in probes.losses(batch, outputs).items()})
        return terms

    def after_backward(index: int) -> None:
        for balance in modalities.balances:
            balance.after_backward(index)

    def validated(epoch: int, look: Validation) -> None:
        for balance in modalities.balances:
            balance.validated(epoch, look)

    learning = nn.ModuleDict({one: module for one, module in modules.items() if one != "probes"})
    optimizers = {"all": make_optimizer(learning, train.optimizer, train.learning_rate)}
    if probes is not None:
        optimizers["probes"] = make_optimizer(probes, train.optimizer, train.learning_rate)
    return Phase(
        name,
        {"model": model, "objective": objective, **beside},
        optimizers,
        step,
        after_backward=after_backward if modalities.balances else nothing,
        observe=objective.observe if objective.balance is not None else None,
        validated=validated if modalities.balances else nothing,
        left_behind=("objective", *beside),
        beside=("probes",) if probes is not None else (),
        probed=probes.columns if probes is not None else (),
    )


@torch.no_grad()
def observe_rows(
    dropout: ModalityDropout | None, objective: Objective, batch: TensorDict, outputs: Mapping[str, Tensor]
) -> None:
    """Tell a modality dropout that wants to know how hard each row was with what was shown of it."""
    if dropout is None or not dropout.reads_losses:
        return
    losses, known = objective.row_losses(batch, outputs)
    columns: tuple[str, ...] = dropout.columns
    dropout.observe(dict(zip(columns, outputs[SEEN].unbind(1), strict=True)), losses, known)
