"""What is wrong with a recipe, told with the line, the key and the nearest valid one."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from mmdistill.errors import InputError, nearest
from mmdistill.recipe.document import Document, KeyPath

MOST_TOLD = 5


@dataclass(frozen=True)
class Problem:
    """One thing wrong at a key path of the long form."""

    path: KeyPath
    what: str
    fix: str = ""


def problems_of(error: ValidationError, path: KeyPath, model: type[BaseModel]) -> Iterator[Problem]:
    """The problems pydantic found, below a key path; `model` is what was validated there."""
    for item in error.errors(include_url=False):
        location = tuple(part for part in item["loc"] if not _is_union_branch(part))
        kind = item["type"]
        if kind == "extra_forbidden":
            known = _known_keys(model, location[:-1])
            yield Problem((*path, *location), f"Unknown key {location[-1]!r}", nearest(str(location[-1]), known))
        elif kind == "missing":
            yield Problem((*path, *location), f"The key {location[-1]!r} is missing", "Add it")
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = (
                ""
                if isinstance(item["input"], Mapping | Sequence) and len(str(item["input"])) > 60
                else f" (given: {item['input']!r})"
            )
            yield Problem((*path, *location), message + given)


def _is_union_branch(part: Any) -> bool:
    """Pydantic puts the tried branch of a union into the location; users never wrote it."""
    return isinstance(part, str) and (part in {"float", "int", "str", "bool", "LossWeight"} or "[" in part)


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a location below a pydantic model."""
    current: Any = model
    for part in location:
        holder = _model_in(current)
        if holder is not None:
            current = holder.model_fields[str(part)].annotation if str(part) in holder.model_fields else None
        else:
            current = next(iter(typing.get_args(current)[::-1]), None)
    holder = _model_in(current)
    if holder is None:
        return []
    return [*holder.model_fields, *(["task", "student"] if holder.__name__ == "Recipe" else [])]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model of an annotation such as `Spec`, `Spec | None` or `Annotated[Spec, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (dict, list):
        return None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)


def explain(
    problems: Iterator[Problem] | Sequence[Problem], document: Document, aliases: Mapping[KeyPath, KeyPath]
) -> InputError:
    """One error for all problems: the first in full, the others in short."""
    told = list(dict.fromkeys(problems))
    first, rest = told[0], told[1:MOST_TOLD]
    fix = first.fix
    also = "; ".join(f"{document.where(_as_written(p.path, aliases))}: {p.what}" for p in rest)
    if also:
        fix = f"{fix}{'' if fix.endswith('?') else '.'} Also: {also}" if fix else f"Also: {also}"
    if len(told) > MOST_TOLD:
        fix += f"; and {len(told) - MOST_TOLD} more"
    return InputError(first.what, where=document.where(_as_written(first.path, aliases)), fix=fix)


def _as_written(path: KeyPath, aliases: Mapping[KeyPath, KeyPath]) -> KeyPath:
    for long, short in aliases.items():
        if path[: len(long)] == long:
            return (*short, *path[len(long) :])
    return path
