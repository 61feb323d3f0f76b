"""Models of each column alone, which teach the model that reads all of them."""

from __future__ import annotations

from collections.abc import Mapping

from mmdistill import catalog
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe.schema import Component, DistillSpec, ModelSpec


def alone_name(model: str, column: str) -> str:
    """What the model of one column of another model is called."""
    return f"{model}-only-{column}"


def unimodal_balance(spec: ModelSpec) -> Component | None:
    """The balance of a model that learns from models of its columns alone, if it has one."""
    for balance in spec.modality_balance:
        if getattr(catalog.get("modality balance", balance.name), "unimodal_teachers", False):
            return balance
    return None


def unimodal_teachers(name: str, spec: ModelSpec) -> dict[str, str]:
    """Column → name of its model, for a model that learns from such; empty for others."""
    return {} if unimodal_balance(spec) is None else {one: alone_name(name, one) for one in sorted(spec.encoders)}


def unimodal_lessons(name: str, spec: ModelSpec, tasks: tuple[str, ...]) -> DistillSpec | None:
    """What a model learns from the models of its columns alone; None where it does not."""
    balance = unimodal_balance(spec)
    if balance is None:
        return None
    logits: Mapping[str, str] = {task: logits_tap(task, tasks) for task in tasks}
    lessons: DistillSpec = balance.options("modality balance").distill(unimodal_teachers(name, spec), logits)
    return lessons


def without_unimodal(spec: ModelSpec) -> ModelSpec:
    """The same without balances that need several columns or models of each of them."""
    balance = unimodal_balance(spec)
    kept = [one for one in spec.modality_balance if one is not balance] if len(spec.encoders) > 1 else []
    return spec.model_copy(update={"modality_balance": kept})
