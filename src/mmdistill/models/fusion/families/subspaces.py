"""Fusions with a part that columns share and a part of their own. Imports no torch."""

from __future__ import annotations

from mmdistill.models.fusion.entry import FusionEntry

ENTRIES: tuple[FusionEntry, ...] = ()
