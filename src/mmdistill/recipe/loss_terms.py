"""Checks of a loss term against what the catalog says its loss takes. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmdistill import catalog
from mmdistill.errors import nearest
from mmdistill.recipe.document import KeyPath
from mmdistill.recipe.problems import Problem

if TYPE_CHECKING:
    from mmdistill.recipe.schema import LossTerm

SIDES = ("student", "teacher")


def bad_term(at: KeyPath, term: LossTerm) -> Iterator[Problem]:
    """Keys of a term that its loss has no use for. A loss that declares no inputs is checked when it is built."""
    entry = catalog.get("loss", term.name)
    needs: tuple[str, ...] | None = getattr(entry, "needs", None)
    if needs is None:
        return
    takes = (*needs, *getattr(entry, "accepts", ()))
    known = [*SIDES, *(name for name in takes if name.startswith(("student_", "teacher_")))]
    for key in term.taps:
        if key not in known:
            yield Problem((*at, "taps", key), f"The loss {term.name!r} takes no {key!r}", nearest(key, known))
    if term.sample_weight and "weight" not in takes:
        what = f"The loss {term.name!r} takes no weight, so that no row can count more than another"
        yield Problem((*at, "sample_weight"), what, "Remove this key, or choose a loss that takes a weight")
    if term.transforms and not {f"{side}_logits" for side in SIDES} <= set(takes):
        what = "Transforms are for the logits of both sides, and this loss does not compare them"
        yield Problem((*at, "transforms"), what, "Remove this key")
