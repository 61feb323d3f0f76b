"""Which taps an argument stands for when a recipe names none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mmdistill.distill.arguments import Side, Sources
from mmdistill.losses.module import Shape
from mmdistill.models.tap_names import column_parts, fusion_taps

_STAGE = re.compile(r"(?P<stem>.+)\.(?P<number>\d+)")
_PARTS = re.compile(r"\.(tokens|maps|attention|stages|layers)(\.\d+)?(\.mask)?$")
_OTHERS = frozenset({"logits", "fused"})


def column_of(tap: str) -> str:
    """The column that a tap belongs to: ``image`` for ``image.stages.2`` or ``image.shared``."""
    added = next((part for part in column_parts() if tap.endswith(part)), "")
    return tap.removesuffix(added) if added else _PARTS.sub("", tap)


def embeddings_of(taps: Mapping[str, Shape]) -> tuple[str, ...]:
    """The taps that are embeddings of columns, in sorted order: one vector a row, and no logits or fusion of them."""
    others = _OTHERS | fusion_taps()
    return tuple(
        sorted(
            tap
            for tap, shape in taps.items()
            if len(shape) == 1
            and tap.rpartition(":")[2] not in others
            and not tap.endswith((".logits", ".mask"))
            and column_of(tap) == tap
        )
    )


def reconstructed(taps: Collection[str]) -> tuple[str, ...]:
    """The taps ``<column>.projected`` of the columns that have a ``<column>.reconstruction``, which restores those."""
    originals = [f"{column_of(tap)}.projected" for tap in candidates("reconstruction", taps)]
    return tuple(tap for tap in originals if tap in taps)


def numbered(stem: str, taps: Collection[str]) -> tuple[str, ...]:
    """The taps ``<stem>.0``, ``<stem>.1``… in the order of their numbers."""
    found = [match for tap in taps if (match := _STAGE.fullmatch(tap)) and match["stem"] == stem]
    return tuple(match[0] for match in sorted(found, key=lambda match: int(match["number"])))


def candidates(what: str, taps: Collection[str]) -> list[str]:
    """The taps, or stems of numbered taps, that a name may stand for: `what` itself, else every ``<column>.what``.

    Several are named by their plural: ``reconstructions`` for every ``<column>.reconstruction``.
    """
    stems = {match["stem"] for tap in taps if (match := _STAGE.fullmatch(tap))}
    known = [*taps, *sorted(stems - set(taps))]
    if what in known:
        return [what]
    found = [tap for tap in known if tap.endswith(f".{what}")]
    return found or [tap for tap in known if what.endswith("s") and tap.endswith(f".{what[:-1]}")]


def default_taps(what: str, side: Side, sources: Sources) -> tuple[str, ...]:
    """The one tap, or several where it is a tuple, that ``<side>_<what>`` stands for; several names when undecided.

    Where a side has several columns with such a tap and the other side has one, it is the same column's.
    """
    taps = sources.taps(side)
    if what == "features":
        return ("fused",)
    if what == "embeddings":
        return embeddings_of(taps)
    found = candidates(what, taps)
    if len(found) > 1:
        others = candidates(what, sources.taps("teacher" if side == "student" else "student"))
        same = [tap for tap in found if len(others) == 1 and column_of(tap) == column_of(others[0])]
        found = same or found
    return tuple(found)
