"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("late", {}),
    ("late", {"hidden": 9}),
    ("late_weighted", {}),
    ("late_weighted", {"hidden": 9}),
    ("late_stacked", {"scores": 6, "layers": [16]}),
    ("late_stacked", {"hidden": 9, "scores": 4, "layers": [16, 8]}),
    ("mixture_of_experts", {"dim": 16, "hidden": 8, "experts": 3}),
    ("mixture_of_experts", {"dim": 16, "hidden": 8, "experts": 3, "top": None, "balance": "importance"}),
    ("mixture_of_experts", {"dim": 16, "hidden": 8, "experts": 3, "noise": True}),
]
