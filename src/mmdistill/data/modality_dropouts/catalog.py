"""Registers the distributions of modality dropout, and their options. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, model_validator

from mmdistill.catalog import Entry, Options, register
from mmdistill.data.modality_dropouts.options import DropoutOptions
from mmdistill.data.subset_names import named_subsets

ROOM = "mmdistill.data.modality_dropouts"
Chance = Annotated[float, Field(gt=0)]


class IndependentOptions(DropoutOptions):
    """Options of `independent`."""

    probability: float = Field(
        default=0.2, gt=0, lt=1, description="Chance, per row and column, to hide a column; one always stays."
    )


class UniformOptions(DropoutOptions):
    """Options of `uniform`: none."""


class ListedOptions(DropoutOptions):
    """Options of `listed`."""

    combinations: dict[str, Chance] = Field(
        min_length=1,
        examples=[{"image+sound": 2, "image": 1, "sound": 1}],
        description="Combinations of columns, their names joined by a plus, and how often each is shown; the numbers "
        "are divided by their sum.",
    )

    def check(self, columns: Collection[str], where: str) -> None:
        """See `Options`; a combination is not named twice either."""
        named_subsets(self.combinations, columns, f"{where}.combinations")

    def makes(self, shown: frozenset[str], had: frozenset[str]) -> bool:
        """See `DropoutOptions`: what the row has of a combination, or all it has where it has nothing of any."""
        columns = {part.strip() for name in self.combinations for part in name.split("+")} | had
        parts = {had & subset for subset in named_subsets(self.combinations, columns, "combinations")} - {frozenset()}
        return shown in (parts or {had})


class CurriculumOptions(DropoutOptions):
    """Options of `curriculum`."""

    start: float = Field(default=0.0, ge=0, lt=1, description="Chance to hide a column at the first step.")
    end: float = Field(default=0.5, gt=0, lt=1, description="Chance to hide a column from then on; above `start`.")
    share: float = Field(default=0.5, gt=0, le=1, description="Share of the training over which it rises.")

    @model_validator(mode="after")
    def _rises(self) -> CurriculumOptions:
        if self.end <= self.start:
            raise ValueError(f"end ({self.end:g}) must be above start ({self.start:g})")
        return self


class DifficultyOptions(DropoutOptions):
    """Options of `difficulty`."""

    temperature: float = Field(
        default=1.0, gt=0, description="Divides the losses; the lower, the more often hard subsets are drawn."
    )
    exploration: float = Field(
        default=0.1, ge=0, le=1, description="Share of the rows whose subset is drawn uniformly, whatever the losses."
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Share of the old value in the mean of a subset's loss at each step."
    )


def _entry(name: str, attribute: str, options: type[Options], summary: str) -> Entry:
    return Entry("modality dropout", name, f"{ROOM}.{name}:{attribute}", options, summary, "train", ("torch",))


ENTRIES = (
    _entry(
        "independent",
        "Independent",
        IndependentOptions,
        "Each column of each row is hidden with the same chance, on its own.",
    ),
    _entry("uniform", "Uniform", UniformOptions, "Every subset of what a row has is shown equally often."),
    _entry("listed", "Listed", ListedOptions, "Combinations of columns are shown as often as the recipe says."),
    _entry(
        "curriculum",
        "Curriculum",
        CurriculumOptions,
        "As independent, with a chance that rises while the model learns.",
    ),
    _entry(
        "difficulty",
        "Difficulty",
        DifficultyOptions,
        "Subsets with a high supervised loss are shown more often (after MMANet).",
    ),
)

for entry in ENTRIES:
    register(entry)
