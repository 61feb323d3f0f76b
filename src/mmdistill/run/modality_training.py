"""What happens to the columns of a planned model while it learns."""

from __future__ import annotations

from mmdistill.data.modality_dropouts.build import build_dropout
from mmdistill.models.any_model import AnyModel
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.run.plan import PlannedModel
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
    if not isinstance(model, MultimodalModel) or len(model.columns) < 2:
        return ModalityTraining(tuple(shop.always_present), dropout)
    training = Training(
        model,
        {name: task.loss for name, task in shop.dataset.tasks.items()},
        {name: shop.logits_tap(name) for name in shop.dataset.tasks},
        {name: task.output_size(shop.dataset.states[name]) for name, task in shop.dataset.tasks.items()},
        *steps,
        seed=seed,
    )
    balances = tuple(one.build("modality balance", training) for one in spec.modality_balance)
    wanted = planned.role == "teacher" if spec.probes is None else spec.probes
    probes = ColumnProbes(training) if wanted else None
    return ModalityTraining(tuple(shop.always_present), dropout, balances, probes)
