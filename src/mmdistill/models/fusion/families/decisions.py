"""Fusions of what each column says on its own: late fusion and its kin. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

ROOM = "mmdistill.models.fusion"


class LateOptions(Options):
    """Options of the fusion `late`."""

    hidden: int | None = Field(
        default=None, ge=1, description="Give each column's head a hidden Linear and ReLU layer of this width."
    )


ENTRIES = (
    FusionEntry(
        name="late",
        target=f"{ROOM}.late:Late",
        options=LateOptions,
        summary="A head for each column, averaged over the columns that are there.",
        equation=r"y = \frac{1}{|P|} \sum_{c \in P} (W_c x_c + b_c)",
        when="Columns say much the same, or any of them may be missing.",
    ),
)
