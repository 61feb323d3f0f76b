"""Distillation losses: one file a method, each a pure function and its ``nn.Module``.

``mmdistill.losses.KD`` and its like are loaded when they are asked for; ``mmdistill.losses.functional.kd`` is the
function behind it. The names come from the catalog, so that a loss a user registers is found here as well.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        from mmdistill import catalog

        for entry in catalog.entries("loss"):
            if entry.target.partition(":")[2] == name:
                return entry.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from mmdistill import catalog

    return sorted({*globals(), *(entry.target.partition(":")[2] for entry in catalog.entries("loss"))})
