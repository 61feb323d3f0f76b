"""What happens to the columns of a planned model while it learns."""

from __future__ import annotations

from mmdistill import catalog
from mmdistill.data.modality_dropouts.build import build_dropout
from mmdistill.errors import InputError
from mmdistill.models.any_model import AnyModel
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.run.plan import PlannedModel
from mmdistill.run.unimodal import unimodal_teachers
from mmdistill.run.workshop import Workshop
from mmdistill.training.balances.balance import Training
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.probes import ColumnProbes


def modality_training(
    shop: Workshop, planned: PlannedModel, seed: int, model: AnyModel, steps: tuple[int, int]
) -> ModalityTraining:
    """Dropout, balances and probes of a model, as its recipe asks for them.

    Args:
        shop: the run.
        planned: the model's place in it.
        seed: of this training.
        model: what learns.
        steps: optimiser steps of the training, and of one of its epochs.

    Raises:
        InputError: when a name or an option does not fit the model.
    """
    spec = planned.spec
    dropout = build_dropout(spec.modality_dropout, model.columns, seed=seed, total_steps=steps[0])
    alone = not isinstance(model, MultimodalModel) or len(model.columns) < 2
    if alone and spec.modality_balance:
        raise InputError(
            f"The columns of {planned.name!r} cannot be balanced: it has not several of its own encoders",
            where="modality_balance",
            fix="Remove this key, or give the model a second encoder",
        )
    if alone or planned.group:
        return ModalityTraining(tuple(shop.always_present), dropout)
    assert isinstance(model, MultimodalModel)
    losses = {name: task.loss for name, task in shop.dataset.tasks.items()}
    sizes = {name: task.output_size(shop.dataset.states[name]) for name, task in shop.dataset.tasks.items()}
    first = shop.primary_task
    probes = None
    if wants_probes(planned):
        probes = ColumnProbes(model.columns, model.dims, sizes[first], first, losses[first], seed)
    training = Training(
        model,
        losses,
        {name: shop.logits_tap(name) for name in shop.dataset.tasks},
        sizes,
        *steps,
        seed=seed,
        probes=probes,
        unimodal_teachers=unimodal_teachers(planned.name, spec) if planned.role == "teacher" else {},
    )
    balances = tuple(one.build("modality balance", training) for one in spec.modality_balance)
    return ModalityTraining(tuple(shop.always_present), dropout, balances, probes)


def wants_probes(planned: PlannedModel) -> bool:
    """Whether probes stand beside a model: asked for, read by a balance, or, where nothing is said, for a teacher."""
    entries = [catalog.get("modality balance", one.name) for one in planned.spec.modality_balance]
    if planned.spec.probes is None:
        return planned.role == "teacher" or any(getattr(entry, "reads_probes", False) for entry in entries)
    return planned.spec.probes
