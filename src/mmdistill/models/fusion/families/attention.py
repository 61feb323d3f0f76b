"""Fusions in which tokens attend to each other. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

ROOM = "mmdistill.models.fusion"


class AttentionOptions(Options):
    """What fusions by attention have in common."""

    dim: int = Field(default=64, ge=1, description="Common width of the tokens; a multiple of `heads`.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")

    @model_validator(mode="after")
    def _heads_divide(self) -> AttentionOptions:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


class CrossAttentionOptions(AttentionOptions):
    """Options of the fusion `cross_attention`."""

    depth: int = Field(default=1, ge=1, description="Layers.")


class MultOptions(AttentionOptions):
    """Options of the fusion `mult`."""

    dim: int = Field(
        default=32,
        ge=1,
        description="Common width of the tokens, a multiple of `heads`; the result of M columns is M · (M − 1) times "
        "as wide.",
    )
    depth: int = Field(default=2, ge=1, description="Layers of the crossmodal transformer of each ordered pair.")
    joined_depth: int = Field(
        default=1, ge=1, description="Layers of each target's self-attention transformer over what its pairs gave."
    )
    pool: Literal["mean", "last"] = Field(
        default="mean",
        description="How a target's sequence becomes one vector: the mean over its positions, or the last of them as "
        "in the paper.",
    )


class BottleneckOptions(AttentionOptions):
    """Options of the fusion `bottleneck`."""

    bottlenecks: int = Field(default=4, ge=1, description="Tokens through which columns exchange.")
    depth: int = Field(default=2, ge=2, description="Layers of each column's transformer.")
    fusion_layer: int = Field(
        default=0,
        ge=0,
        description="The first layer with exchange, counted from 0; each column is by itself before. At most "
        "`depth` − 2: what one layer puts into the bottlenecks is read in the next.",
    )

    @model_validator(mode="after")
    def _exchange_is_read(self) -> BottleneckOptions:
        if self.fusion_layer > self.depth - 2:
            raise ValueError(
                f"fusion_layer ({self.fusion_layer}) must be at most depth - 2 ({self.depth - 2}): what one layer puts "
                "into the bottlenecks is read in the next"
            )
        return self


class SingleStreamOptions(AttentionOptions):
    """Options of the fusion `single_stream`."""

    depth: int = Field(default=2, ge=1, description="Layers.")


class PerceiverOptions(AttentionOptions):
    """Options of the fusion `perceiver`."""

    latents: int = Field(default=8, ge=1, description="Learned vectors that read the tokens.")
    depth: int = Field(
        default=1, ge=1, description="Layers in which latents attend to each other, after each time they read."
    )
    repeats: int = Field(default=2, ge=1, description="How often latents read the tokens.")
    share_weights: bool = Field(default=True, description="Use the same weights every time, as a recurrent network.")
    output: Literal["mean", "query"] = Field(
        default="mean",
        description="What is handed over: the mean of the latents, or what a learned query reads from them, as in "
        "Perceiver IO.",
    )


class AttentionPoolingOptions(AttentionOptions):
    """Options of the fusion `attention_pooling`."""

    queries: int = Field(
        default=1, ge=1, description="Learned queries; the result is as many times as wide as the tokens."
    )


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
    FusionEntry(
        name="mult",
        target=f"{ROOM}.mult:MulT",
        options=MultOptions,
        summary="MulT: each column's sequence is written anew from every other column.",
        paper="Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov, Multimodal Transformer for Unaligned Multimodal "
        "Language Sequences, ACL 2019, arXiv:1906.00295",
        equation=r"z_{s \to t} = \mathrm{Crossmodal}_{s \to t}(z_t, z_s), \quad "
        r"h_t = \mathrm{pool}(\mathrm{Transformer}_t([z_{s \to t}]_{s \ne t})), \quad h = [h_1; \dots; h_M]",
        when="Two or three sequences that are not aligned, such as words, sound and video. A transformer for each "
        "ordered pair: M · (M − 1) of them, each with a cost in the product of the two lengths, then M more that are "
        "M − 1 times as wide.",
        tokens="used",
    ),
    FusionEntry(
        name="bottleneck",
        target=f"{ROOM}.bottleneck:Bottleneck",
        options=BottleneckOptions,
        summary="MBT: columns exchange only through a few bottleneck tokens.",
        paper="Nagrani, Yang, Arnab, Jansen, Schmid and Sun, Attention Bottlenecks for Multimodal Fusion, NeurIPS "
        "2021, arXiv:2107.00135",
        equation=r"[z_c; b_c] \leftarrow \mathrm{Transformer}_c([z_c; b]), \quad b \leftarrow "
        r"\frac{1}{|P|} \sum_{c \in P} b_c, \quad h = \frac{1}{|P|} \sum_{c \in P} z_c^{\mathrm{class}}",
        when="Long sequences of columns that each say much by themselves, any of which may be missing. A transformer a "
        "column: the cost is the sum of the squared lengths, where a single stream has the square of their sum.",
        tokens="used",
    ),
    FusionEntry(
        name="single_stream",
        target=f"{ROOM}.single_stream:SingleStream",
        options=SingleStreamOptions,
        summary="One transformer over the tokens of all columns: early fusion.",
        paper="Kim, Son and Kim, ViLT: Vision-and-Language Transformer Without Convolution or Region Supervision, ICML "
        "2021, arXiv:2102.03334; after VisualBERT (arXiv:1908.03557) and UNITER (arXiv:1909.11740)",
        equation=r"h = \mathrm{Transformer}([c; t_1; \dots; t_M])_{\mathrm{class}}",
        when="Short sequences whose single tokens belong together, such as words and image regions, and enough rows to "
        "learn which. The cost grows with the square of the number of all tokens.",
        tokens="used",
    ),
    FusionEntry(
        name="perceiver",
        target=f"{ROOM}.perceiver:Perceiver",
        options=PerceiverOptions,
        summary="A few learned latents read the tokens of all columns.",
        paper="Jaegle, Gimeno, Brock, Zisserman, Vinyals and Carreira, Perceiver: General Perception with Iterative "
        "Attention, ICML 2021, arXiv:2103.03206; the query of Perceiver IO, ICLR 2022, arXiv:2107.14795",
        equation=r"l \leftarrow \mathrm{Transformer}(l + \mathrm{Attention}(l, [t_1; \dots; t_M])), \quad "
        r"h = \frac{1}{N} \sum_n l_n",
        when="Many columns or very long sequences: the cost is linear in the number of tokens, and depth costs "
        "nothing for them.",
        tokens="used",
    ),
    FusionEntry(
        name="attention_pooling",
        target=f"{ROOM}.attention_pooling:AttentionPooling",
        options=AttentionPoolingOptions,
        summary="Learned queries pool the tokens of all columns.",
        paper="Lee, Lee, Kim, Kosiorek, Choi and Teh, Set Transformer: A Framework for Attention-based "
        "Permutation-Invariant Neural Networks, ICML 2019, arXiv:1810.00825",
        equation=r"h = \mathrm{LN}(g + \mathrm{FFN}(g)), \quad "
        r"g = \mathrm{LN}(s + \mathrm{Attention}(s, \mathrm{FFN}([t_1; \dots; t_M])))",
        when="Little data or time, and a few tokens among many that matter. The cheapest by attention: one look, "
        "linear in the number of tokens.",
        tokens="used",
    ),
)
