"""Fusions by products of the columns: bilinear, tensor and modulating ones. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.errors import InputError, nearest
from mmdistill.models.fusion.entry import FusionEntry

Width = Annotated[int, Field(ge=1)]
ROOM = "mmdistill.models.fusion"


class ResultOptions(Options):
    """What fusions by products have in common."""

    dim: int = Field(default=128, ge=1, description="Width of the result.")


class ProductOptions(ResultOptions):
    """Options of the fusion `product`."""

    residual: bool = Field(
        default=True, description="Add the sum of the projected columns, which keeps what each says alone."
    )


class MLBOptions(ResultOptions):
    """Options of the fusion `mlb`."""

    rank: int = Field(default=128, ge=1, description="Width in which the columns are multiplied.")
    activation: Literal["tanh", "none"] = Field(
        default="tanh", description="What each column passes before the product; tanh as in the paper's experiments."
    )


class MFBOptions(ResultOptions):
    """Options of the fusion `mfb`."""

    factors: int = Field(default=5, ge=1, description="Products that are added for each feature; 5 in the paper.")
    normalise: bool = Field(
        default=True, description="Signed square roots and a length of one, as in the paper; false: the plain sums."
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Chance of zeroing a product while training; 0.1 in the paper."
    )


class MutanOptions(ResultOptions):
    """Options of the fusion `mutan`."""

    width: int = Field(default=64, ge=1, description="Width that each column is projected to first.")
    rank: int = Field(default=5, ge=1, description="Products that are added for each feature; 10 in the paper.")


class TensorOptions(Options):
    """Options of the fusion `tensor`."""

    width: int | None = Field(
        default=None,
        ge=1,
        description="Width that each column is made before the product, which has (1 + width)^columns entries. None: "
        "the largest up to 32 with at most 4,096 entries (32 for two columns, 15 for three, 7 for four, 4 for five).",
    )
    activation: Literal["tanh", "relu"] = Field(
        default="tanh",
        description="Behind the layer that makes a column narrow. relu as in the paper, for widths of 16 and more; of "
        "a few units one that is off for every row would cost much.",
    )
    hidden: list[Width] = Field(
        default=[128],
        description="Width of each Linear and ReLU layer behind; an empty list hands over the plain tensor.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")


class LowRankTensorOptions(ResultOptions):
    """Options of the fusion `low_rank_tensor`."""

    rank: int = Field(default=4, ge=1, description="Products that are added for each feature.")


class FiLMOptions(ResultOptions):
    """Options of the fusion `film`."""

    by: str | None = Field(
        default=None,
        description="The column that conditions the others, such as the question about a picture. None: the first in "
        "the order of their names.",
    )

    def check(self, columns: Collection[str], where: str) -> None:
        """See `Options`."""
        if self.by is not None and self.by not in columns:
            raise InputError(
                f"The model has no column named {self.by!r} that could condition the others",
                where=f"{where}.by",
                fix=nearest(self.by, list(columns)),
            )


ENTRIES = (
    FusionEntry(
        name="product",
        target=f"{ROOM}.product:Product",
        options=ProductOptions,
        summary="Columns projected to one width and multiplied element by element, plus their sum.",
        equation=r"h = \prod_{c \in P} p_c + \sum_{c \in P} p_c, \quad p_c = W_c x_c + b_c",
        when="The answer depends on the columns together, as a question and its picture: the first product to try.",
    ),
    FusionEntry(
        name="mlb",
        target=f"{ROOM}.mlb:MLB",
        options=MLBOptions,
        summary="Low-rank bilinear pooling: tanh, product, projection.",
        paper="Kim, On, Lim, Kim, Ha and Zhang, Hadamard Product for Low-rank Bilinear Pooling, ICLR 2017, "
        "arXiv:1610.04325",
        equation=r"h = P \prod_{c \in P} \tanh(U_c x_c + b_c) + b",
        when="As `product`, with bounded factors: embeddings whose size differs much cannot outweigh each other.",
    ),
    FusionEntry(
        name="mfb",
        target=f"{ROOM}.mfb:MFB",
        options=MFBOptions,
        summary="Factorized bilinear pooling: sums of several products, normalised.",
        paper="Yu, Yu, Fan and Tao, Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual "
        "Question Answering, ICCV 2017, arXiv:1708.01471",
        equation=r"z_i = \sum_{j=1}^{k} \prod_{c \in P} (U_c x_c + b_c)_{ij}, \quad "
        r"y = \mathrm{sign}(z) \sqrt{|z|}, \quad h = y / \lVert y \rVert_2",
        when="Two columns whose features interact in more than one way; the unit length wants a larger learning rate.",
    ),
    FusionEntry(
        name="mutan",
        target=f"{ROOM}.mutan:Mutan",
        options=MutanOptions,
        summary="Tucker fusion: small projections, then sums of products of a given rank.",
        paper="Ben-younes, Cadene, Cord and Thome, MUTAN: Multimodal Tucker Fusion for Visual Question Answering, "
        "ICCV 2017, arXiv:1705.06676",
        equation=r"h = \sum_{r=1}^{R} \prod_{c \in P} M_c^r \tanh(W_c x_c + b_c)",
        when="Wide embeddings: they are made narrow first, and all pairs of the narrow features can interact.",
    ),
    FusionEntry(
        name="tensor",
        target=f"{ROOM}.tensor:TensorFusion",
        options=TensorOptions,
        summary="Tensor fusion: every product of features of any set of columns.",
        paper="Zadeh, Chen, Poria, Cambria and Morency, Tensor Fusion Network for Multimodal Sentiment Analysis, "
        "EMNLP 2017, arXiv:1707.07250",
        equation=r"h = \mathrm{MLP}\Bigl(\bigotimes_c [1; z_c]\Bigr), \quad z_c = \tanh(W_c x_c + b_c)",
        when="Two or three columns and enough rows; what one, two and all of them say stay apart.",
    ),
    FusionEntry(
        name="low_rank_tensor",
        target=f"{ROOM}.low_rank_tensor:LowRankTensor",
        options=LowRankTensorOptions,
        summary="Low-rank tensor fusion: the same products without making the tensor.",
        paper="Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency, Efficient Low-rank Multimodal Fusion With "
        "Modality-Specific Factors, ACL 2018, arXiv:1806.00064",
        equation=r"h = \sum_{r=1}^{R} w_r \prod_c F_c^r [1; x_c] + b",
        when="Tensor fusion of many columns; its cost grows with their number and not with their product.",
    ),
    FusionEntry(
        name="film",
        target=f"{ROOM}.film:FiLM",
        options=FiLMOptions,
        summary="One column scales and shifts the features of the others.",
        paper="Perez, Strub, de Vries, Dumoulin and Courville, FiLM: Visual Reasoning with a General Conditioning "
        "Layer, AAAI 2018, arXiv:1709.07871",
        equation=r"h = \frac{1}{|P|} \sum_{c \in P} \gamma_c \odot (W_c x_c + b_c) + \beta, \quad "
        r"\gamma_c = 1 + V_c x_{by} + v_c, \quad \beta = V x_{by} + v",
        when="One column says what to look for in the others: a question, an instruction, a clinical context.",
    ),
)
