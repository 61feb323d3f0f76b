"""What a trained model makes of the validation rows: its logits, and what its tasks choose by them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mmdistill.models.any_model import AnyModel
from mmdistill.models.inference import collect
from mmdistill.run.workshop import Workshop
from mmdistill.tasks.task import State


def validation_logits(shop: Workshop, model: AnyModel, tasks: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Logits of a model for the validation rows, task → (rows, classes); empty where there are no such rows."""
    rows = shop.dataset.splits.validation
    if not len(rows):
        return {}
    taps = {name: shop.logits_tap(name) for name in tasks}
    outputs = collect(model, shop.dataset.clean_loader(rows, model.feature_names, shop.device), list(taps.values()))
    return {name: outputs[tap].float().numpy() for name, tap in taps.items()}


def states_of(shop: Workshop, model: AnyModel) -> dict[str, State]:
    """The states of the tasks for one trained model: with what is chosen from its outputs for the validation rows."""
    dataset, states = shop.dataset, dict(shop.dataset.states)
    choosing = [name for name, task in dataset.tasks.items() if task.chooses_on_validation]
    logits = validation_logits(shop, model, choosing) if choosing else {}
    for name in choosing:
        targets = dataset.targets_of(name, dataset.splits.validation)
        states[name] = dataset.tasks[name].state_of_model(logits[name], targets, states[name])
    return states
