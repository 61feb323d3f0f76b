"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("product", {"dim": 12}),
    ("product", {"dim": 12, "residual": False}),
    ("mlb", {"dim": 12, "rank": 16}),
    ("mlb", {"dim": 12, "rank": 16, "activation": "none"}),
    ("mfb", {"dim": 12}),
    ("mfb", {"dim": 12, "factors": 2, "normalise": False}),
    ("mutan", {"dim": 12, "width": 8, "rank": 3}),
    ("tensor", {"hidden": [16]}),
    ("tensor", {"width": 6, "activation": "relu", "hidden": []}),
    ("low_rank_tensor", {"dim": 12}),
    ("film", {"dim": 12}),
    ("film", {"dim": 12, "by": "sound"}),
]
