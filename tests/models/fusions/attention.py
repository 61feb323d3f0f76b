"""Settings of the fusions of this family for the common suite."""

from __future__ import annotations

from typing import Any

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("cross_attention", {"dim": 16, "heads": 2}),
    ("cross_attention", {"dim": 8, "heads": 2, "depth": 2}),
    ("mult", {"dim": 8, "heads": 2}),
    ("mult", {"dim": 4, "heads": 2, "depth": 1, "joined_depth": 2, "pool": "last"}),
    ("bottleneck", {"dim": 8, "heads": 2}),
    ("bottleneck", {"dim": 8, "heads": 2, "depth": 3, "fusion_layer": 1, "bottlenecks": 1}),
    ("single_stream", {"dim": 16, "heads": 2}),
    ("perceiver", {"dim": 16, "heads": 2}),
    ("perceiver", {"dim": 8, "heads": 2, "latents": 2, "share_weights": False, "output": "query"}),
    ("attention_pooling", {"dim": 16, "heads": 2}),
    ("attention_pooling", {"dim": 8, "heads": 1, "queries": 3}),
]
