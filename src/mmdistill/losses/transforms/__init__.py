"""Transforms of logits that compose with any loss between logits; ``transforms.Standardise`` and its like.

A transform is a module ``forward(student_logits, teacher_logits) -> (student_logits, teacher_logits)``. It sees both
sides, so that one that learns a temperature divides both by it, and one that keeps the teacher's largest classes keeps
the same ones of the student. What it learns stands in the module tree. The pure functions are in
`mmdistill.losses.functional`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        from mmdistill import catalog

        for entry in catalog.entries("transform"):
            if entry.target.partition(":")[2] == name:
                return entry.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from mmdistill import catalog

    return sorted({*globals(), *(entry.target.partition(":")[2] for entry in catalog.entries("transform"))})
