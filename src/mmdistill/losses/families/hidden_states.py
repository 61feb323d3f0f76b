"""Losses between the hidden states, attention and token relations of sequence models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


class AttentionMSEOptions(Options):
    """Options of `attention_mse`."""

    heads: Literal["mean", "summed_maps"] = Field(
        default="mean",
        description="mean of the heads' errors (TinyBERT); summed_maps: the error between the sums of all heads' "
        "scores, for different numbers of heads (TextBrewer).",
    )


class AttentionCrossEntropyOptions(Options):
    """Options of `attention_cross_entropy`."""

    heads: Literal["mean", "averaged_maps"] = Field(
        default="mean",
        description="mean of the heads' cross-entropies; averaged_maps: the cross-entropy between the means of all "
        "heads' scores, for different numbers of heads.",
    )


class TokenGramOptions(Options):
    """`token_gram` has no options."""


class PKDOptions(Options):
    """Options of `pkd`."""

    state: Literal["first", "mean"] = Field(
        default="first",
        description="Which state of a layer is compared: that of the first token, [CLS] in BERT, or the mean of the "
        "real tokens, for models without such a token.",
    )


class MiniLMOptions(Options):
    """Options of `minilm`."""

    relation_heads: int = Field(
        default=4,
        ge=1,
        description="Parts of the channels that have relations of their own; divides the widths of both sides.",
    )


_TEXTBREWER = (
    "Yang, Cui, Chen, Che, Liu, Wang, Hu, TextBrewer: An Open-Source Knowledge Distillation Toolkit for Natural "
    "Language Processing, ACL 2020, arXiv:2002.12620, table 2"
)

ENTRIES = (
    LossEntry(
        name="pkd",
        target="mmdistill.losses.pkd:PKD",
        options=PKDOptions,
        summary="Squared distance of the normalised [CLS] states, or mean states, of several layers.",
        family="features",
        needs=("student_layers", "teacher_layers"),
        accepts=("weight", "mask"),
        paper="Sun, Cheng, Gan, Liu, Patient Knowledge Distillation for BERT Model Compression, EMNLP 2019, "
        "arXiv:1908.09355, equation 7",
        equation=r"\sum_l \left\| \frac{h^s_l}{\|h^s_l\|} - \frac{h^t_l}{\|h^t_l\|} \right\|_2^2",
        typical_weight="10 to 1000 beside kd and the supervised loss",
        when="For transformers with fewer layers than their teacher, when kd overfits to the last one.",
        cost="O(B·D) time and memory a layer.",
        pulls=False,
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="attention_mse",
        target="mmdistill.losses.attention_mse:AttentionMSE",
        options=AttentionMSEOptions,
        summary="Squared error between attention scores before the softmax.",
        family="features",
        needs=("student_attention", "teacher_attention"),
        accepts=("weight", "mask"),
        paper="Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu, TinyBERT: Distilling BERT for Natural Language "
        "Understanding, EMNLP Findings 2020, arXiv:1909.10351, equation 7",
        equation=r"\tfrac{1}{h L^2} \sum_i \| A^s_i - A^t_i \|_F^2",
        typical_weight="1, beside fitnets on the hidden states",
        when="For transformers of the same number of heads and the same tokens.",
        cost="O(B·heads·L²) time and memory.",
        pulls=False,
        equal_widths=False,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="attention_cross_entropy",
        target="mmdistill.losses.attention_cross_entropy:AttentionCrossEntropy",
        options=AttentionCrossEntropyOptions,
        summary="Cross-entropy between attention distributions, given as scores.",
        family="features",
        needs=("student_attention", "teacher_attention"),
        accepts=("weight", "mask"),
        paper=_TEXTBREWER,
        equation=r"-\tfrac{1}{h L} \sum_{i,q} \sum_k \sigma(A^t_i)_{qk} \log \sigma(A^s_i)_{qk}",
        typical_weight="1, beside fitnets on the hidden states",
        when="As attention_mse, when what is attended to matters and the size of the scores does not.",
        cost="O(B·heads·L²) time and memory.",
        equality="minimum",
        pulls=False,
        equal_widths=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="token_gram",
        target="mmdistill.losses.token_gram:TokenGram",
        options=TokenGramOptions,
        summary="Squared error between Gram matrices of tokens, of one layer or of consecutive layers.",
        family="features",
        needs=("student_layers", "teacher_layers"),
        accepts=("weight", "mask"),
        paper=_TEXTBREWER,
        equation=r"\tfrac{1}{L^2} \left\| H^s_1 H_2^{s\top} / D^s - H^t_1 H_2^{t\top} / D^t \right\|_F^2",
        typical_weight="1, beside kd",
        when="For sequence models of different widths, without an adapter.",
        cost="O(B·L²·D) time and O(B·L²) memory a pair of layers.",
        pulls=False,
        equal_widths=False,
        invariances=("permutation", "rotation"),
    ),
    LossEntry(
        name="minilm",
        target="mmdistill.losses.minilm:MiniLM",
        options=MiniLMOptions,
        summary="KL divergence between self-attention relations of tokens: of queries, keys, values or hidden states.",
        family="features",
        needs=("student_tokens", "teacher_tokens"),
        accepts=("weight", "mask"),
        paper="Wang, Bao, Huang, Dong, Wei, MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing "
        "Pretrained Transformers, ACL Findings 2021, arXiv:2012.15828, equations 5 to 8",
        equation=r"\tfrac{1}{h L} \sum_{i,q} \mathrm{KL}\big(\sigma(T_i T_i^\top / \sqrt{d^t})_q \,\|\, "
        r"\sigma(S_i S_i^\top / \sqrt{d^s})_q\big)",
        typical_weight="1 each for queries, keys and values, without other losses",
        when="To distil a transformer of any width and number of heads from one layer of its teacher.",
        cost="O(B·L²·D) time and O(B·heads·L²) memory.",
        pulls=False,
        equal_widths=False,
    ),
)
