"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("memory", {"hidden": 4, "memory": 6, "attention": 8, "gates": 8}),
]
