"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("concat", {"hidden": [16]}),
    ("concat", {"hidden": [], "absent": "zero"}),
    ("concat", {"hidden": [16, 8], "absent": "zero"}),
    ("gated", {"dim": 12}),
    ("gated", {"dim": 12, "gates": "sigmoid"}),
    ("sum", {}),
    ("mean", {"dim": 12}),
    ("max", {"dim": 64}),
    ("weighted_sum", {"dim": 12}),
]
