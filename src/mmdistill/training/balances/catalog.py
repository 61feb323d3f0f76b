"""Registers the methods of balancing columns, and their options. Imports no torch."""

from __future__ import annotations

from mmdistill.catalog import Entry, register

ENTRIES: tuple[Entry, ...] = ()

for entry in ENTRIES:
    register(entry)
