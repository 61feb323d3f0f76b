"""Registers the fusions of every family. Imports no torch."""

from __future__ import annotations

from mmdistill.catalog import register
from mmdistill.models.fusion.families import attention, decisions, pooled, products, sequences, subspaces

for family in (pooled, products, attention, decisions, subspaces, sequences):
    for entry in family.ENTRIES:
        register(entry)
