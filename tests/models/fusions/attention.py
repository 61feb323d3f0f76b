"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("cross_attention", {"dim": 16, "heads": 2}),
    ("cross_attention", {"dim": 8, "heads": 2, "depth": 2}),
]
