"""Checks of a model's components against the columns that it reads. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mmdistill import catalog
from mmdistill.errors import InputError
from mmdistill.recipe.document import KeyPath
from mmdistill.recipe.problems import Problem

if TYPE_CHECKING:
    from mmdistill.recipe.recipe import Recipe
    from mmdistill.recipe.schema import Component, ModelSpec


def bad_columns_of(recipe: Recipe, at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    """Options that name what is no column of the model, and a fusion of sequences over columns that are none.

    Args:
        recipe: that the model belongs to.
        at: its key path.
        spec: the model.
    """
    columns = recipe.columns_of(spec)
    named = list(_named(at, spec, columns))
    yield from named
    if len(columns) > 1:
        yield from _pooled(recipe, at, spec)
    if getattr(spec, "control", False) and not named:
        for student, one in recipe.students.items():
            for problem in _named(at, spec, tuple(sorted(one.encoders))):
                what = f"The control teacher beside {student!r} reads its columns alone: {problem.what}"
                yield Problem(problem.path, what, "Remove `control`, or name only columns that every student reads")


def pooled_column(fusion: str, column: str) -> InputError:
    """What to say where a fusion needs the sequence of a column that is encoded as one vector."""
    return InputError(
        f"The fusion {fusion!r} needs a sequence of every column, and the encoder of {column!r} gives one vector a row",
        where="fusion",
        fix=f"Choose an encoder of {column!r} that keeps tokens, or a fusion of `mmdistill list fusions` that takes "
        "pooled columns",
    )


def _named(at: KeyPath, spec: ModelSpec, columns: Collection[str]) -> Iterator[Problem]:
    """A model of one column has no use for any of these, and a teacher of a run says nothing of its columns."""
    if len(columns) < 2:
        return
    for path, kind, component in _components(at, spec):
        try:
            component.options(kind).check(columns, str(path[-1]))
        except InputError as error:
            yield Problem((*path, *error.where.split(".")[1:]), error.what, error.fix)


def _components(at: KeyPath, spec: ModelSpec) -> Iterator[tuple[KeyPath, str, Component]]:
    if spec.fusion is not None:
        yield (*at, "fusion"), "fusion", spec.fusion
    if spec.modality_dropout is not None:
        yield (*at, "modality_dropout"), "modality dropout", spec.modality_dropout
    for number, balance in enumerate(spec.modality_balance):
        yield (*at, "modality_balance", number), "modality balance", balance


def _pooled(recipe: Recipe, at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    """Encoders that have tokens for some inputs only are looked at when the model is built."""
    if spec.fusion is None or getattr(catalog.get("fusion", spec.fusion.name), "tokens", "ignored") != "aligned":
        return
    for column, encoder in spec.encoders.items():
        if not getattr(catalog.get(f"{recipe.data.columns[column].type} encoder", encoder.name), "tokens", True):
            error = pooled_column(spec.fusion.name, column)
            yield Problem((*at, "fusion"), error.what, error.fix)
