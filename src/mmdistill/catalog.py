"""The registry of named things: encoders, fusions, tasks, losses, modalities and whatever a user adds.

An entry is data (kind, name, typed options, ``module:attribute``), so that a recipe is checked without loading what it
names. Each room fills the registry from its own ``catalog.py``, which is imported here by name the first time anything
is looked up. A user's package does the same with an entry point of the group ``mmdistill.catalogs`` that names a
module, or calls `register` directly.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from mmdistill.errors import InputError, nearest, require

ROOMS = (
    "mmdistill.data.modalities.catalog",
    "mmdistill.data.augmentations.catalog",
    "mmdistill.data.samples.catalog",
    "mmdistill.models.encoders.catalog",
    "mmdistill.models.fusion.catalog",
    "mmdistill.models.missing.catalog",
    "mmdistill.data.modality_dropouts.catalog",
    "mmdistill.tasks.catalog",
    "mmdistill.losses.catalog",
    "mmdistill.losses.transforms.catalog",
    "mmdistill.distill.catalog",
    "mmdistill.distill.combinations.catalog",
    "mmdistill.distill.policies.catalog",
    "mmdistill.training.catalog",
    "mmdistill.training.balances.catalog",
)


class Options(BaseModel):
    """Base of every component's typed options: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def check(self, columns: Collection[str], where: str) -> None:
        """Look at the names of columns among the options; most options have none.

        Args:
            columns: that the model reads.
            where: key of the component; errors add the option's.

        Raises:
            InputError: when an option names what is no column of the model.
        """


class NoOptions(Options):
    """Options of a component that has none."""


@dataclass(frozen=True)
class Entry:
    """One named component.

    Args:
        kind: what it is: ``loss``, ``fusion``, ``image encoder``, ``task``, ``modality``...
        name: how a recipe names it.
        target: ``package.module:attribute``, loaded only when it is used.
        options: the pydantic model of its options.
        summary: one line for ``mmdistill list`` and the docs.
        extra: the extra of this package it needs, if any.
        requires: modules of that extra, imported before `target` so that a missing one is named well.
    """

    kind: str
    name: str
    target: str
    options: type[Options] = NoOptions
    summary: str = ""
    extra: str | None = None
    requires: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import and return what the entry names.

        Raises:
            MissingExtra: when it needs an optional dependency that is not installed.
        """
        for module in self.requires:
            require(module, self.extra or "train", f"The {self.kind} {self.name!r}")
        return load(self.target)


def load(target: str) -> Any:
    """Import and return what ``package.module:attribute`` names."""
    module_name, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


_entries: dict[tuple[str, str], Entry] = {}
_rooms_loaded = False


def register(entry: Entry) -> Entry:
    """Add an entry. The same name may be registered twice only with the same target.

    Raises:
        InputError: when another target holds the name already.
    """
    held = _entries.get((entry.kind, entry.name))
    if held is not None and held.target != entry.target:
        raise InputError(
            f"The {entry.kind} {entry.name!r} is already registered as {held.target}",
            fix="Choose another name",
        )
    _entries[entry.kind, entry.name] = entry
    return entry


def _load_rooms() -> None:
    global _rooms_loaded
    if _rooms_loaded:
        return
    for room in ROOMS:
        importlib.import_module(room)
    from importlib.metadata import entry_points

    for point in entry_points(group="mmdistill.catalogs"):
        importlib.import_module(point.value)
    # Last, so that a room that cannot be imported is an error every time and never a catalog with a gap.
    _rooms_loaded = True


def entries(kind: str | None = None) -> list[Entry]:
    """All entries, or those of one kind, in the order of their kinds and names."""
    _load_rooms()
    return sorted(
        (entry for entry in _entries.values() if kind is None or entry.kind == kind),
        key=lambda entry: (entry.kind, entry.name),
    )


def kinds() -> list[str]:
    """The kinds that have entries."""
    return sorted({entry.kind for entry in entries()})


def get(kind: str, name: str, where: str = "") -> Entry:
    """The entry of a kind and name.

    Raises:
        InputError: when there is none; the message names the nearest known one.
    """
    _load_rooms()
    entry = _entries.get((kind, name))
    if entry is None:
        raise InputError(f"There is no {kind} named {name!r}", where=where, fix=nearest(name, list(names(kind))))
    return entry


def names(kind: str) -> Iterator[str]:
    """The names of one kind."""
    return (entry.name for entry in entries(kind))
