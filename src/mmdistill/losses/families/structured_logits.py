"""Losses over logits with more structure: several levels, truncated, binary, sequences, lists, numbers."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
