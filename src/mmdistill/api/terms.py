"""Distillation losses as one writes them in Python become the terms of an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from torch import nn

from mmdistill import catalog
from mmdistill.errors import InputError
from mmdistill.recipe.loss_weight import LossWeight
from mmdistill.recipe.schema import LossTerm


@dataclass(frozen=True)
class WrittenTerms:
    """The losses of a distillation.

    Args:
        specs: the terms.
        modules: number of a term → its loss, where it is a module and not a name.
    """

    specs: tuple[LossTerm, ...]
    modules: dict[int, nn.Module]

    def taps(self, side: str) -> list[str]:
        """The taps that the terms name for a side."""
        named = [taps for spec in self.specs for key, taps in spec.taps.items() if key.partition("_")[0] == side]
        return [tap for taps in named for tap in ([taps] if isinstance(taps, str) else taps)]


def read_terms(losses: Sequence[Any]) -> WrittenTerms:
    """Losses as a user writes them.

    Args:
        losses: each a name, a module, a mapping as in a recipe, or a tuple of a name or a module with a weight (a
            number, a `LossWeight`) and a mapping of taps, in any order.

    Raises:
        InputError: when one is none of these, or a name or an option is unknown.
    """
    if isinstance(losses, str | nn.Module | Mapping):
        losses = [losses]
    specs: list[LossTerm] = []
    modules: dict[int, nn.Module] = {}
    for index, item in enumerate(losses):
        where = f"losses[{index}]"
        loss, keys = _split(item, where)
        if isinstance(loss, nn.Module):
            modules[index] = loss
            keys["name"] = _name(loss)
        elif isinstance(loss, str):
            keys["name"] = loss
        specs.append(_term(keys, index in modules, where))
    return WrittenTerms(tuple(specs), modules)


def _split(item: Any, where: str) -> tuple[Any, dict[str, Any]]:
    """The loss of an item, and the keys of its term beside it."""
    if isinstance(item, LossTerm):
        return None, item.model_dump(exclude_unset=True)
    if isinstance(item, Mapping):
        return None, dict(item)
    parts = list(item) if isinstance(item, tuple | list) else [item]
    losses = [part for part in parts if isinstance(part, str | nn.Module)]
    keys: dict[str, Any] = {}
    for part in parts:
        key = "weight" if isinstance(part, int | float | LossWeight) else "taps" if isinstance(part, Mapping) else None
        if key is not None and key not in keys:
            keys[key] = dict(part) if isinstance(part, Mapping) else part
        elif part not in losses:
            raise _odd(part, where)
    if len(losses) != 1:
        raise _odd(item, where)
    return losses[0], keys


def _odd(item: Any, where: str) -> InputError:
    return InputError(
        f"{item!r} is no loss" if not isinstance(item, tuple | list) else "This is not one loss with weight and taps",
        where=where,
        fix='Write a name, a module, or a tuple such as (KD(), 0.9) or (RKD(), {"student": "layer4"}, 10.0)',
    )


def _name(loss: nn.Module) -> str:
    """The name of a loss in the catalog, or its class's."""
    target = f"{type(loss).__module__}:{type(loss).__qualname__}"
    return next((entry.name for entry in catalog.entries("loss") if entry.target == target), type(loss).__name__)


def _term(keys: dict[str, Any], is_module: bool, where: str) -> LossTerm:
    try:
        term = LossTerm.model_validate(keys)
        if not is_module:
            catalog.get("loss", term.name, where=where)
            term.options()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{first['msg']}: {first['input']!r}", where=f"{where}.{key}") from error
    return term
