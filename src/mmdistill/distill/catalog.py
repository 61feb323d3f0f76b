"""Registers adapters and sample weights, and their options. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mmdistill.catalog import Entry, NoOptions, Options, register
from mmdistill.data.subset_names import named_subsets


class LinearOptions(Options):
    """Options of `linear`."""

    bias: bool = Field(default=True, description="Whether a constant is added.")


class MLPOptions(Options):
    """Options of `mlp`."""

    hidden: int | None = Field(
        default=None, ge=1, description="Width of the hidden layer; that of the wider side when left out."
    )
    activation: Literal["relu", "gelu"] = Field(default="relu", description="Between the two layers.")


class ConvNormOptions(Options):
    """Options of `conv_norm`."""

    kernel_size: int = Field(default=1, ge=1, description="Side of the kernel, odd; vectors need none.")
    relu: bool = Field(default=True, description="Whether a ReLU follows, for teachers whose maps are not negative.")

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("the side of the kernel is odd, so that maps keep their size")
        return value


class ResamplerOptions(Options):
    """Options of `resampler`."""

    heads: int = Field(default=1, ge=1, description="Heads of the attention; divides the teacher's width.")


class ConfidenceOptions(Options):
    """Options of `confidence`."""

    temperature: float = Field(default=1.0, gt=0, description="Divides the teacher's logits.")
    power: float = Field(default=1.0, gt=0, description="Of the probability; higher favours sure rows more.")


class EntropyOptions(Options):
    """Options of `entropy`."""

    temperature: float = Field(default=1.0, gt=0, description="Divides the teacher's logits.")
    favour: Literal["certain", "uncertain"] = Field(
        default="certain", description="Which rows count more: those of low or those of high entropy."
    )


class TeacherIsRightOptions(Options):
    """Options of `teacher_is_right`."""

    wrong: float = Field(default=0.0, ge=0, description="What a row counts whose teacher is wrong.")
    unlabelled: float = Field(default=1.0, ge=0, description="What a row without a target counts.")


class RankAgreementOptions(Options):
    """Options of `rank_agreement`."""

    favour: Literal["agreement", "disagreement"] = Field(
        default="agreement", description="Which rows count more: those that both rank alike, or those they do not."
    )


class DifficultyOptions(Options):
    """Options of `difficulty`."""

    measure: Literal["student", "teacher_margin"] = Field(
        default="student",
        description="What is hard: a target that the student gives a small probability, or two classes that the "
        "teacher gives almost the same.",
    )
    gamma: float = Field(default=2.0, ge=0, description="Power of the difficulty, as in the focal loss.")


class SubsetOptions(Options):
    """Options of `subset`."""

    missing_weight: float = Field(
        default=2.0,
        gt=0,
        description="Each column that the student was not shown multiplies the row by this: above 1, rows with less to "
        "go by count more; below 1, less.",
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="What rows count that were shown exactly these columns, names joined by a plus, in place of "
        "`missing_weight`.",
    )

    def check(self, columns: Collection[str], where: str) -> None:
        """See `Options`; a subset is not named twice either."""
        named_subsets(self.weights, columns, f"{where}.weights")


_ADAPTERS = "mmdistill.distill.adapters"
_WEIGHTS = "mmdistill.distill.sample_weights"

ENTRIES = (
    Entry(
        "adapter",
        "auto",
        f"{_ADAPTERS}.choose:auto",
        NoOptions,
        "What two shapes need: nothing, linear, maps resized, or a resampler.",
    ),
    Entry("adapter", "none", f"{_ADAPTERS}.choose:none", NoOptions, "None; the shapes have to agree."),
    Entry(
        "adapter",
        "linear",
        f"{_ADAPTERS}.layers:linear",
        LinearOptions,
        "A linear map over the channels, a 1×1 convolution on maps; resizes maps where sizes differ.",
    ),
    Entry("adapter", "mlp", f"{_ADAPTERS}.layers:mlp", MLPOptions, "Two linear maps with an activation between."),
    Entry(
        "adapter",
        "conv_norm",
        f"{_ADAPTERS}.layers:conv_norm",
        ConvNormOptions,
        "Convolution, batch norm and ReLU, as published code of FitNets has it.",
    ),
    Entry(
        "adapter",
        "resampler",
        f"{_ADAPTERS}.resampler:resampler",
        ResamplerOptions,
        "Learned queries that gather tokens of one length into the teacher's (Perceiver).",
    ),
    Entry(
        "sample weight",
        "confidence",
        f"{_WEIGHTS}.certainty:confidence",
        ConfidenceOptions,
        "The teacher's largest probability.",
    ),
    Entry(
        "sample weight",
        "entropy",
        f"{_WEIGHTS}.certainty:entropy",
        EntropyOptions,
        "How far the teacher's entropy is from its largest value, or how near.",
    ),
    Entry(
        "sample weight",
        "subset",
        f"{_WEIGHTS}.subset:subset",
        SubsetOptions,
        "By which columns the student was shown: how many, or which of them.",
    ),
    Entry(
        "sample weight",
        "teacher_is_right",
        f"{_WEIGHTS}.correctness:teacher_is_right",
        TeacherIsRightOptions,
        "Only rows whose target the teacher predicts.",
    ),
    Entry(
        "sample weight",
        "rank_agreement",
        f"{_WEIGHTS}.ranking:rank_agreement",
        RankAgreementOptions,
        "How alike student and teacher rank the classes (Kendall's tau).",
    ),
    Entry(
        "sample weight",
        "difficulty",
        f"{_WEIGHTS}.difficulty:difficulty",
        DifficultyOptions,
        "How hard a row is for the student, or how close the teacher's first two classes are; focal.",
    ),
)

for entry in ENTRIES:
    register(entry)
