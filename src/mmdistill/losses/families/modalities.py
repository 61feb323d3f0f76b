"""Losses across modalities."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
