"""What is kept beside a model's weights: enough to score it and to decode its outputs without the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdistill.models.any_model import AnyModel
from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import TrainSpec
from mmdistill.run.plan import PlannedModel
from mmdistill.run.validation import states_of
from mmdistill.run.workshop import Workshop
from mmdistill.tasks.task import State
from mmdistill.training.state import TrainResult


def model_card(
    shop: Workshop,
    planned: PlannedModel,
    model: AnyModel,
    seed: int,
    train: TrainSpec,
    result: TrainResult,
    initial: str,
) -> dict[str, Any]:
    """What is kept beside a model's weights: its tasks with their states, and how it was trained.

    Args:
        shop: the run.
        planned: the model's place in it.
        model: trained.
        seed: of this training.
        train: its settings.
        result: what the training tells.
        initial: digest of the weights that it started from.
    """
    return {
        "name": planned.name,
        "role": planned.role,
        "seed": seed,
        "run": shop.recipe.name,
        "tasks": task_cards(shop.recipe, states_of(shop, model)),
        "data": shop.dataset.identity(),
        "training": {
            "steps": result.steps,
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "best_score": result.best_score,
            "seconds": result.seconds,
            "stopped_by": result.stopped_by,
            "selection": "best validation"
            if train.select == "best" and result.best_score is not None
            else "last epoch",
            "initial_weights": initial,
        },
    }


def task_cards(recipe: Recipe, states: Mapping[str, State]) -> Mapping[str, Any]:
    """Each task's type, options and state: enough to score and to decode a model without its recipe."""
    return {
        name: {
            "type": spec.type,
            "options": spec.options().model_dump(mode="json"),
            "state": states[name],
            "target": spec.target or recipe.data.target,
        }
        for name, spec in recipe.tasks.items()
    }
