"""What the students of a run learnt from, as its recipe says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SUPERVISED = "supervised"


def objective_of(recipe: Mapping[str, Any], student: str) -> list[str]:
    """The names of the losses of a student, each once: that on the targets first, then those of distillation.

    A loss on transformed logits is told with its transforms: ``kd (standardise)``.

    Args:
        recipe: the resolved recipe as plain values; where something is missing, nothing is said about it.
        student: name of the model.
    """
    own = _mapping(_mapping(recipe.get("students")).get(student)).get("distill")
    distill = _mapping(own if own is not None else recipe.get("distill"))
    stages = distill.get("stages") or [{}]
    parts = [{**distill, **_mapping(stage)} for stage in stages]
    names = [name for part in parts for name in (*_targets(part), *_losses(part))]
    # Stages of a training may share losses, and one of them may have no loss on the targets.
    return sorted(dict.fromkeys(names), key=lambda name: name != SUPERVISED)


def _targets(part: Mapping[str, Any]) -> Iterator[str]:
    weight = part.get("supervised")
    changing = _mapping(weight)
    if any(changing.get(end) for end in ("start", "end")) or (not changing and weight):
        yield SUPERVISED


def _losses(part: Mapping[str, Any]) -> Iterator[str]:
    for term in part.get("losses") or ():
        transforms = [str(_mapping(one).get("name", one)) for one in _mapping(term).get("transforms") or ()]
        name = str(_mapping(term).get("name", term))
        yield f"{name} ({', '.join(transforms)})" if transforms else name


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
