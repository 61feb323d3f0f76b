"""Registers the distributions of modality dropout, and their options. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from mmdistill.catalog import Entry, Options, register

ROOM = "mmdistill.data.modality_dropouts"


class IndependentOptions(Options):
    """Options of `independent`."""

    probability: float = Field(
        default=0.2, gt=0, lt=1, description="Chance, per row and column, to hide a column; one always stays."
    )


ENTRIES = (
    Entry(
        kind="modality dropout",
        name="independent",
        target=f"{ROOM}.independent:Independent",
        options=IndependentOptions,
        summary="Each column of each row is hidden with the same chance, on its own.",
        extra="train",
        requires=("torch",),
    ),
)

for entry in ENTRIES:
    register(entry)
