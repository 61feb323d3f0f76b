"""Registers the ways to combine several teachers, and their options. No torch."""

from __future__ import annotations

from pydantic import Field

from mmdistill.catalog import Entry, NoOptions, Options, register


class FixedOptions(Options):
    """Options of `fixed`."""

    weights: dict[str, float] = Field(min_length=1, description="Teacher → its weight; they are divided by their sum.")


class ConfidenceOptions(Options):
    """Options of `confidence`."""

    temperature: float = Field(
        default=1.0, gt=0, description="Divides the teachers' cross-entropies; higher gives more equal weights."
    )


class ValidationOptions(Options):
    """Options of `validation`."""

    temperature: float = Field(
        default=0.1,
        gt=0,
        description="Divides the teachers' validation scores before the softmax; higher gives more equal weights.",
    )


class RoutedOptions(Options):
    """Options of `routed`."""

    balance: float = Field(
        default=0.01, ge=0, description="Weight of the term that keeps every teacher in use over a batch."
    )
    weight: float = Field(
        default=1.0, gt=0, description="Weight of the loss that the router itself learns from: the targets."
    )
    hidden: int = Field(default=64, ge=1, description="Width of the router's hidden layer.")


ENTRIES = (
    Entry(
        kind="combination",
        name="mean",
        target="mmdistill.distill.combinations.weighted:Mean",
        options=NoOptions,
        summary="The mean of their probabilities, after the softmax.",
    ),
    Entry(
        kind="combination",
        name="fixed",
        target="mmdistill.distill.combinations.weighted:Fixed",
        options=FixedOptions,
        summary="The mean of their probabilities with given weights.",
    ),
    Entry(
        kind="combination",
        name="validation",
        target="mmdistill.distill.combinations.weighted:ByValidation",
        options=ValidationOptions,
        summary="Weights from their scores on the validation rows.",
    ),
    Entry(
        kind="combination",
        name="confidence",
        target="mmdistill.distill.combinations.confidence:ByConfidence",
        options=ConfidenceOptions,
        summary="Weights of its own for each row: how well a teacher gives the row's target (its own certainty, where "
        "there is no target); Zhang et al., ICASSP 2022.",
    ),
    Entry(
        kind="combination",
        name="routed",
        target="mmdistill.distill.combinations.routed:Routed",
        options=RoutedOptions,
        summary="A learned router reads the student's features and weights the teachers for each row, kept balanced.",
    ),
    Entry(
        kind="combination",
        name="elected",
        target="mmdistill.distill.combinations.elected:Elected",
        options=NoOptions,
        summary="For each column of the student, the best teacher (on validation) that reads it; their mean.",
    ),
)

for entry in ENTRIES:
    register(entry)
