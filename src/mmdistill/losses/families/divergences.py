"""Divergences between class probabilities beyond forward KL, and losses that weight or normalise them."""

from __future__ import annotations

from mmdistill.losses.entry import LossEntry

ENTRIES: tuple[LossEntry, ...] = ()
