"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("misa", {"dim": 8, "hidden": [16]}),
    ("misa", {"dim": 8, "heads": 4, "depth": 2, "hidden": [], "moments": 2}),
    ("shaspec", {"dim": 8, "hidden": [16]}),
    ("shaspec", {"dim": 8, "hidden": []}),
]
