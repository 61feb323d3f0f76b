"""Losses between outputs that are not one class a row: yes or no, several labels, numbers, tokens, frames."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
