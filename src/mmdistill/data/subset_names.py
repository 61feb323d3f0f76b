"""Subsets of columns by name, such as ``image+sound``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mmdistill.errors import InputError, nearest


def subset_of(name: str, columns: Collection[str], where: str) -> frozenset[str]:
    """The columns that a name joins by ``+``, in any order; white space around them does not count.

    Raises:
        InputError: when one of them is not among `columns`, or stands twice.
    """
    if name in columns:  # a column may have a plus in its own name
        return frozenset((name,))
    parts = [part.strip() for part in name.split("+")]
    for number, part in enumerate(parts):
        if part in parts[:number]:
            raise InputError(f"{name!r} names the column {part!r} twice", where=where, fix="Name it once")
        if part not in columns:
            raise InputError(
                f"{name!r} names the column {part!r}, which the model does not read",
                where=where,
                fix=nearest(part, sorted(columns)),
            )
    return frozenset(parts)


def named_subsets(values: Mapping[str, float], columns: Collection[str], where: str) -> dict[frozenset[str], float]:
    """The subsets that the keys name, with their values.

    Raises:
        InputError: when a key names what is not among `columns`, or two keys name the same subset.
    """
    found: dict[frozenset[str], float] = {}
    for name, value in values.items():
        subset = subset_of(name, columns, where)
        if subset in found:
            raise InputError(f"{name!r} is listed twice, in another order", where=where, fix="Keep one of them")
        found[subset] = value
    return found
