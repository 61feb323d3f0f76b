"""The settings that the common suite runs every fusion with, a file a family: a name and its options."""

from __future__ import annotations

from typing import Any

from tests.models.fusions import attention, decisions, pooled, products, sequences, subspaces

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    setting for family in (pooled, products, attention, decisions, subspaces, sequences) for setting in family.SETTINGS
]
