"""Losses between feature maps and between stages of convolutional networks."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
