"""Fusions by products of the columns: bilinear, tensor and modulating ones. Imports no torch."""

from __future__ import annotations

from mmdistill.models.fusion.entry import FusionEntry

ENTRIES: tuple[FusionEntry, ...] = ()
