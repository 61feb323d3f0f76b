"""Checks of what balances the columns of a model: models that have several, and what each method needs. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmdistill import catalog
from mmdistill.recipe.document import KeyPath
from mmdistill.recipe.problems import Problem

if TYPE_CHECKING:
    from mmdistill.recipe.recipe import Recipe
    from mmdistill.recipe.schema import Component, ModelSpec

TOGETHER = ("mutual", "own_past", "co_trained")
"""Policies under which several models, or a model and its past, are one training."""
FOLDER = re.compile(r"[\w.-]+")
"""What of a column's name can stand in that of a folder: letters of any language."""


def bad_balances(recipe: Recipe, at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    """What is wrong with the balances and probes of one model of encoders.

    Args:
        recipe: that it belongs to.
        at: its key path.
        spec: the model.
    """
    key = (*at, "modality_balance")
    if len(spec.encoders) == 1:
        for name in ("modality_balance", "probes"):
            if getattr(spec, name):
                what = (
                    f"`{name}` is for models of several columns, and this one reads {next(iter(spec.encoders))!r} alone"
                )
                yield Problem((*at, name), what, "Remove this key, or add an encoder")
        return
    yield from _grouped(recipe, at, spec)
    names = [balance.name for balance in spec.modality_balance]
    for number, balance in enumerate(spec.modality_balance):
        if balance.name in names[:number]:
            yield Problem((*key, number), f"{balance.name!r} stands twice", "Keep one")
        yield from _needs(recipe, at, spec, number, balance)
    if sum(_declares(balance, "unimodal_teachers") for balance in spec.modality_balance) > 1:
        what = "Two balances learn from models of each column alone, and the model has one objective"
        yield Problem(key, what, "Keep one of them")


def _needs(recipe: Recipe, at: KeyPath, spec: ModelSpec, number: int, balance: Component) -> Iterator[Problem]:
    key: KeyPath = (*at, "modality_balance", number)
    train = recipe.train_for(spec)
    if _declares(balance, "reads_probes") and spec.probes is False:
        what = f"The balance {balance.name!r} reads the probes of the columns, and they are switched off"
        yield Problem((*at, "probes"), what, "Remove this key")
    if (
        _declares(balance, "reads_validation")
        and recipe.data.split.validation == 0
        and recipe.data.split.column is None
    ):
        what = f"The balance {balance.name!r} looks at validation rows and there are none"
        yield Problem(key, what, "Set data.split.validation")
    if not _declares(balance, "mixup", True) and train.mixup is not None:
        what = f"The balance {balance.name!r} needs one class a row, and mixup gives two"
        yield Problem(key, what, "Leave train.mixup out, or choose another balance")
    if _declares(balance, "unimodal_teachers"):
        yield from _teachers(recipe, at, key, spec, balance.name)


def _teachers(recipe: Recipe, at: KeyPath, key: KeyPath, spec: ModelSpec, name: str) -> Iterator[Problem]:
    """Models of each column alone are planned beside a teacher, under names of their own."""
    if at[0] != "teachers":
        what = f"The balance {name!r} is for teachers: a student learns from the teachers of the recipe"
        yield Problem(key, what, "Make this model a teacher, or choose another balance")
        return
    taken = {*recipe.teachers, *recipe.students}
    for column in spec.encoders:
        if not FOLDER.fullmatch(column):
            what = f"A model of {column!r} alone is trained, and {column!r} cannot name a folder"
            rename = "Rename it in data.columns with letters, digits, dots, underscores and hyphens"
            yield Problem(key, what, f"{rename}, and set its `source: {column}` where the table calls it so")
        elif f"{at[1]}-only-{column}" in taken:
            what = f"'{at[1]}-only-{column}' is what the model of {column!r} alone is called"
            yield Problem(key, what, "Choose another name for the other model")
    several = [student for student, one in recipe.students.items() if len(one.encoders) > 1]
    if getattr(spec, "control", False) and several:
        what = f"A control teacher is trained as the teacher was, and {name!r} would need models of its own"
        yield Problem((*at, "control"), f"{what} for {several[0]!r}", "Remove `control`, or choose another balance")


def _grouped(recipe: Recipe, at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    """A training of several models together has neither balances nor probes."""
    asked = [name for name in ("modality_balance", "probes") if getattr(spec, name)]
    if at[0] == "students":
        policies = {str(at[1]): recipe.distill_for(recipe.students[str(at[1])]).policy.name}
    else:
        asked = [name for name in asked if name == "modality_balance"]
        policies = {
            student: recipe.distill_for(one).policy.name
            for student, one in recipe.students.items()
            if at[1] in recipe.teachers_of(student) and recipe.distill_for(one).policy.name == "co_trained"
        }
    for student, policy in policies.items():
        for name in asked if policy in TOGETHER else ():
            what = (
                f"Under the policy {policy!r} of {student!r} models are trained together, and `{name}` is for one alone"
            )
            yield Problem((*at, name), what, "Remove this key, or choose the policy `frozen`")


def _declares(balance: Component, what: str, otherwise: bool = False) -> bool:
    """What the entry of a balance says of itself; a user's own may be a plain entry."""
    return bool(getattr(catalog.get("modality balance", balance.name), what, otherwise))
