"""Models that know the same classes in another order."""

from __future__ import annotations

from collections.abc import Sequence

from mmdistill.errors import InputError
from mmdistill.models.custom.model import CustomModel


def class_order(theirs: Sequence[str], ours: Sequence[str], where: str) -> list[int] | None:
    """Where each of our classes stands among theirs; None when the order is the same already.

    Args:
        theirs: the classes of a model, in the order of its logits.
        ours: the classes of this run.
        where: for messages.

    Raises:
        InputError: when the classes are not the same ones, or a name stands twice.
    """
    if list(theirs) == list(ours):
        return None
    twice = sorted({name for name in theirs if list(theirs).count(name) > 1})
    if twice:
        raise InputError(f"The teacher names {_names(twice)} more than once", where=where, fix="Name each class once")
    missing, unknown = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    if missing or unknown:
        parts = [f"it does not know {_names(missing)}"] * bool(missing)
        parts += [f"it knows {_names(unknown)} beside them"] * bool(unknown)
        raise InputError(
            f"The teacher's classes are not those of this run: {' and '.join(parts)}",
            where=where,
            fix="Use a teacher that was trained on the same classes",
        )
    places = {name: place for place, name in enumerate(theirs)}
    return [places[name] for name in ours]


def reorder_outputs(
    model: CustomModel, tap: str, theirs: Sequence[str], ours: Sequence[str], where: str = "classes"
) -> None:
    """Let a model give its logits in the order of this run's classes; its weights stay as they are.

    Args:
        model: its tap gives the logits in our order from now on, and `classes` says so.
        tap: of the logits.
        theirs: its classes, in the order of its logits.
        ours: the classes of this run.
        where: for messages.

    Raises:
        InputError: when the classes are not the same ones.
    """
    order = class_order(theirs, ours, where)
    if order is not None:
        model.reorder(tap, order)
    model.classes = tuple(ours)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
