"""Losses between the features, tokens and attention of student and teacher."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
