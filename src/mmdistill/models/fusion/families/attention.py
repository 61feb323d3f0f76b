"""Fusions in which tokens attend to each other. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

ROOM = "mmdistill.models.fusion"


class AttentionOptions(Options):
    """What fusions by attention have in common."""

    dim: int = Field(default=64, ge=1, description="Common width of the tokens; a multiple of `heads`.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    depth: int = Field(default=1, ge=1, description="Layers.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")

    @model_validator(mode="after")
    def _heads_divide(self) -> AttentionOptions:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


class CrossAttentionOptions(AttentionOptions):
    """Options of the fusion `cross_attention`."""


ENTRIES = (
    FusionEntry(
        name="cross_attention",
        target=f"{ROOM}.cross_attention:CrossAttention",
        options=CrossAttentionOptions,
        summary="Each column looks at the others' tokens.",
        paper="Chen, Fan and Panda, CrossViT: Cross-Attention Multi-Scale Vision Transformer for Image Classification, "
        "ICCV 2021, arXiv:2103.14899",
        equation=r"s_c \leftarrow s_c + \mathrm{Attention}(s_c, \{t_j : j \ne c\})",
        when="One column says where to look in another, and the cost has to stay linear in the number of tokens.",
        tokens="used",
    ),
)
