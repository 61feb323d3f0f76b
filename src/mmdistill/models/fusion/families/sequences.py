"""Fusions of aligned sequences. Imports no torch."""

from __future__ import annotations

from mmdistill.models.fusion.entry import FusionEntry

ENTRIES: tuple[FusionEntry, ...] = ()
