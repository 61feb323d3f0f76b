"""Registers the strategies for missing columns, and their options. Imports no torch."""

from __future__ import annotations

from mmdistill.catalog import Entry, NoOptions, register

ROOM = "mmdistill.models.missing"

ENTRIES = (
    Entry(
        kind="missing strategy",
        name="mask",
        target=f"{ROOM}.mask:Mask",
        options=NoOptions,
        summary="Nothing stands in: the fusion is told what is absent.",
        extra="train",
        requires=("torch",),
    ),
)

for entry in ENTRIES:
    register(entry)
