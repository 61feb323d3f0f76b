"""A teacher of an earlier run, with the features it was trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmdistill.data.features import Feature, FeatureInfo, learnt_feature
from mmdistill.distill.teachers import load_teacher, reorder_classes
from mmdistill.errors import InputError
from mmdistill.models.any_model import AnyModel
from mmdistill.models.saving import save_model
from mmdistill.recipe import Recipe
from mmdistill.run.folder import find_run
from mmdistill.run.validation import states_of
from mmdistill.run.workshop import Workshop


@dataclass(frozen=True)
class BorrowedTeacher:
    """A finished model whose features keep the vocabulary and statistics that it was trained with.

    Args:
        model: the model.
        card: what was saved beside it.
        run: the run that it comes from, as the recipe names it.
    """

    model: AnyModel
    card: dict[str, Any]
    run: str

    @property
    def features(self) -> list[Feature]:
        """What has to be prepared for it."""
        return [learnt_feature(info) for info in self.model.features.values()]


def borrow_teachers(recipe: Recipe) -> dict[str, BorrowedTeacher]:
    """The teachers that a recipe takes from earlier runs, by name.

    Their features get names of their own, since this run may have learnt another vocabulary from the same column.

    Raises:
        InputError: when the run, the model or its weights are not there.
    """
    borrowed = {}
    for name, teacher in recipe.teachers.items():
        if teacher.run is None:
            continue
        model, card = load_teacher(find_run(Path(teacher.run)).path, teacher.model)
        model.features = {column: _renamed(info) for column, info in model.features.items()}
        model.feature_names = tuple(info.name for info in model.features.values())
        borrowed[name] = BorrowedTeacher(model, card, teacher.run)
    return borrowed


def _renamed(info: FeatureInfo) -> FeatureInfo:
    content = json.dumps([info.type, info.settings, info.state, info.sources], sort_keys=True)
    return replace(info, name=f"{info.column}@{hashlib.sha256(content.encode()).hexdigest()[:8]}")


def keep_borrowed(shop: Workshop, teacher: str, borrowed: BorrowedTeacher) -> None:
    """Save a teacher as this run's own, its classes in the order of this run.

    Raises:
        InputError: when its tasks or classes are not those of this run, or it saw other splits of this table.
    """
    seed = shop.plan.model(teacher).seeds[0]
    if shop.folder.is_trained(teacher, seed):
        return
    where = f"teachers.{teacher}.run"
    _refuse_seen_rows(shop, borrowed, where)
    theirs = borrowed.card["tasks"]
    for name in shop.dataset.tasks:
        if name not in theirs:
            raise InputError(
                f"The teacher was not trained for the task {name!r}",
                where=where,
                fix=f"Its tasks are: {', '.join(theirs)}",
            )
        classes, known = shop.dataset.states[name].get("classes"), theirs[name]["state"].get("classes")
        if classes is not None and known is not None:
            reorder_classes(borrowed.model, name, known, classes, where)
    card = {**borrowed.card, "borrowed_from": borrowed.run, "name": teacher, "role": "teacher"}
    states = states_of(shop, borrowed.model.to(shop.device))
    card["tasks"] = {name: {**theirs[name], "state": states[name]} for name in shop.dataset.tasks}
    save_model(shop.folder.seed(teacher, seed), borrowed.model, card)


def _refuse_seen_rows(shop: Workshop, borrowed: BorrowedTeacher, where: str) -> None:
    """A teacher that has trained on this run's test rows would pass their answers on to the student.

    That is known where both runs read the same table. Of another table nothing is known, which `caution` says.
    """
    theirs, ours = borrowed.card.get("data", {}), shop.dataset.identity()
    if theirs.get("table") == ours["table"] and theirs.get("held_out") != ours["held_out"]:
        raise InputError(
            "The teacher was trained on another split of the same table, so it may have seen this run's test rows",
            where=where,
            fix="Give both recipes the same data.split and data.on_error",
        )


def caution(shop: Workshop, borrowed: BorrowedTeacher) -> str:
    """What the user has to know about a borrowed teacher; empty when there is nothing."""
    if borrowed.card.get("data", {}).get("table") == shop.dataset.identity()["table"]:
        return ""
    return (
        f"The teacher of {borrowed.run} was trained on another table; make sure that none of its training "
        "rows is a test row here."
    )
