"""The fusions by name and their typed options. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmdistill.catalog import Entry, Options, register

Width = Annotated[int, Field(ge=1)]


class ConcatOptions(Options):
    """Options of the fusion `concat`."""

    hidden: list[Width] = Field(
        default=[128],
        description="Width of each Linear and ReLU layer behind; an empty list hands over the plain vectors.",
    )
    absent: Literal["learned", "zero"] = Field(
        default="learned",
        description="What stands for an absent column: a learned vector, or zeros and a bit for every column that says "
        "whether it is there.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")


class GatedOptions(Options):
    """Options of the fusion `gated`."""

    dim: int = Field(default=128, ge=1, description="Width of the result.")
    gates: Literal["softmax", "sigmoid"] = Field(
        default="softmax",
        description="softmax: the present columns share each feature, as in the paper's unit for two; sigmoid: every "
        "column has a gate of its own, as in the paper's unit for many.",
    )


class CrossAttentionOptions(Options):
    """Options of the fusion `cross_attention`."""

    dim: int = Field(default=64, ge=1, description="Common width of the tokens; a multiple of `heads`.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    depth: int = Field(default=1, ge=1, description="Layers.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")

    @model_validator(mode="after")
    def _heads_divide(self) -> CrossAttentionOptions:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


class LateOptions(Options):
    """Options of the fusion `late`."""

    hidden: int | None = Field(
        default=None, ge=1, description="Give each column's head a hidden Linear and ReLU layer of this width."
    )


def _fusion(name: str, target: str, options: type[Options], summary: str) -> None:
    register(Entry("fusion", name, f"mmdistill.models.fusion.{target}", options, summary, "train", ("torch",)))


_fusion("concat", "concat:Concat", ConcatOptions, "Vectors side by side, then layers.")
_fusion("gated", "gated:Gated", GatedOptions, "Gated multimodal unit: each feature is shared out among the columns.")
_fusion(
    "cross_attention",
    "cross_attention:CrossAttention",
    CrossAttentionOptions,
    "Each column looks at the others' tokens.",
)
_fusion("late", "late:Late", LateOptions, "A head for each column, averaged over the columns that are there.")
