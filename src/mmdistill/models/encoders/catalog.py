"""The encoders by name and their typed options. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmdistill.catalog import Options, register
from mmdistill.models.encoders.entry import EncoderEntry

Width = Annotated[int, Field(ge=1)]


class _Dropout(Options):
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")


class MapsOptions(_Dropout):
    """What image encoders have in common that pool maps."""

    grid: int = Field(
        default=2,
        ge=1,
        le=8,
        description="Cells along each side whose means are kept when maps are pooled; 1: one mean.",
    )
    pool: Literal["mean", "max"] = Field(
        default="mean",
        description="What is kept of a cell: its mean, or its maximum, which a small thing on a large ground needs.",
    )


class ImageCnnOptions(MapsOptions):
    """Options of the image encoder `cnn`."""

    width: int = Field(default=32, ge=1, description="Channels of the first layer; each next one has twice as many.")
    depth: int = Field(default=3, ge=1, le=6, description="Layers; each halves the resolution.")
    bias: bool = Field(
        default=False,
        description="Whether convolutions have a bias. The group norm behind them takes it out where a group is one "
        "channel; with more than 8 channels it keeps offsets between those of a group, which flat shapes on a plain "
        "ground need.",
    )


class ImageTinyCnnOptions(ImageCnnOptions):
    """Options of the image encoder `tiny_cnn`."""

    width: int = Field(default=12, ge=1, description="Channels of the first layer; each next one has twice as many.")


class ImageResnetOptions(MapsOptions):
    """Options of the image encoder `resnet`."""

    widths: list[Width] = Field(default=[16, 48, 128], min_length=1, description="Channels of each stage.")
    blocks: int = Field(default=1, ge=1, description="Residual blocks a stage.")


class ImageMobilenetOptions(MapsOptions):
    """Options of the image encoder `mobilenet`."""

    widths: list[Width] = Field(
        default=[16, 24, 40], min_length=1, description="Channels between the blocks, a stage each."
    )
    blocks: int = Field(default=2, ge=1, description="Inverted residuals a stage.")
    expansion: int = Field(default=4, ge=1, description="How much wider a block is inside.")
    dim: int = Field(default=64, ge=1, description="Width of the embedding.")


class ImageMlpOptions(_Dropout):
    """Options of the image encoder `mlp`."""

    hidden: list[Width] = Field(
        default=[512, 256], min_length=1, description="Width of each layer, the embedding last."
    )


class TimmOptions(Options):
    """Options of the image encoder `timm`."""

    model: str = Field(description="A name from `timm.list_models()`.")
    pretrained: bool = Field(
        default=False, description="Start from the weights timm publishes for it (downloads them)."
    )
    weights: str | None = Field(default=None, description="Start from this local .safetensors file instead.")
    frozen: bool = Field(default=False, description="Keep the weights as they are; only what follows is trained.")
    mean: list[float] | None = Field(
        default=None,
        description="Of pixels / 255, one a channel; when left out the model's own if pretrained, else the data's.",
    )
    std: list[float] | None = Field(default=None, description="As `mean`.")

    @model_validator(mode="after")
    def _one_source(self) -> TimmOptions:
        if self.pretrained and self.weights:
            raise ValueError("pretrained and weights both say where the weights come from; give one of them")
        return self


class TransformersOptions(Options):
    """What the encoders `transformers` of images and of text have in common."""

    model: str | None = Field(default=None, description="A model's name on the hub, or the folder of a saved one.")
    config: dict[str, Any] | None = Field(
        default=None, description="Keys of the model's configuration (`model_type` and sizes), in place of `model`."
    )
    pretrained: bool = Field(default=False, description="Start from its weights instead of random ones.")
    frozen: bool = Field(default=False, description="Keep the weights as they are; only what follows is trained.")
    pool: Literal["mean", "first"] = Field(default="mean", description="Mean of the tokens, or the first one.")

    @model_validator(mode="after")
    def _one_source(self) -> TransformersOptions:
        if (self.model is None) == (self.config is None):
            raise ValueError("give either model (a name or folder) or config (a mapping)")
        if self.pretrained and self.model is None:
            raise ValueError("pretrained weights need model (a name or folder)")
        return self


class ImageTransformersOptions(TransformersOptions):
    """Options of the image encoder `transformers`."""

    mean: list[float] | None = Field(
        default=None,
        description="Of pixels / 255, one a channel; when left out the model's own if pretrained, else the data's.",
    )
    std: list[float] | None = Field(default=None, description="As `mean`.")


class TextBagOptions(_Dropout):
    """Options of the text encoder `bag`."""

    dim: int = Field(default=64, ge=1, description="Width of a word's embedding and of the result.")
    init_std: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of a word's features before training; 1/sqrt(dim) if not given. With 1 the "
        "result is about as large as that of a normalised layer, which helps where columns are multiplied and words "
        "are few and frequent.",
    )


class TextLstmOptions(_Dropout):
    """Options of the text encoder `lstm`."""

    embedding: int = Field(default=64, ge=1, description="Width of a word's embedding.")
    hidden: int = Field(default=128, ge=1, description="Width of the state, in each direction.")
    layers: int = Field(default=1, ge=1, description="Layers.")
    pool: Literal["mean", "max", "last"] = Field(
        default="mean", description="How the states of a row become one vector."
    )


class TextBilstmOptions(TextLstmOptions):
    """Options of the text encoder `bilstm`."""

    hidden: int = Field(default=64, ge=1, description="Width of the state, in each direction.")


class _Attention(_Dropout):
    heads: int = Field(default=4, ge=1, description="Attention heads; a divisor of `dim`.")

    @model_validator(mode="after")
    def _heads_divide(self) -> _Attention:
        dim = getattr(self, "dim", self.heads)
        if dim % self.heads:
            raise ValueError(f"dim ({dim}) must be a multiple of heads ({self.heads})")
        return self


class TextTransformerOptions(_Attention):
    """Options of the text encoder `transformer`."""

    dim: int = Field(default=128, ge=1, description="Width of the tokens.")
    depth: int = Field(default=2, ge=1, description="Layers.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Chance of zeroing an activation while training.")
    positions: Literal["sinusoidal", "learned"] = Field(default="sinusoidal", description="How places are told apart.")
    max_length: int = Field(default=512, ge=1, description="Longest text that learned positions can hold.")


class AudioCnnOptions(_Dropout):
    """Options of the audio encoder `cnn`."""

    width: int = Field(default=24, ge=1, description="Channels of the first layer; each next one has twice as many.")
    depth: int = Field(default=3, ge=1, le=6, description="Layers; each halves time and frequency.")
    dim: int = Field(default=128, ge=1, description="Width of the embedding.")
    filters: int = Field(default=40, ge=4, description="Learned filters that stand for log-mel bands of a waveform.")


class AudioTinyCnnOptions(AudioCnnOptions):
    """Options of the audio encoder `tiny_cnn`."""

    width: int = Field(default=8, ge=1, description="Channels of the first layer; each next one has twice as many.")
    dim: int = Field(default=32, ge=1, description="Width of the embedding.")


class AudioCrnnOptions(_Dropout):
    """Options of the audio encoder `crnn`."""

    width: int = Field(default=24, ge=1, description="Channels of the first convolution; the second has twice as many.")
    depth: int = Field(default=2, ge=1, le=4, description="Convolutions; each halves time and frequency.")
    hidden: int = Field(default=64, ge=1, description="Width of the GRU in each direction.")
    layers: int = Field(default=1, ge=1, description="Layers of the GRU.")
    filters: int = Field(default=40, ge=4, description="Learned filters that stand for log-mel bands of a waveform.")


class TabularMlpOptions(_Dropout):
    """Options of the tabular encoder `mlp`."""

    hidden: list[Width] = Field(default=[128, 64], min_length=1, description="Widths; the last is the embedding.")
    embedding: int = Field(default=16, ge=1, description="Largest width of a category's embedding.")


class FtTransformerOptions(_Attention):
    """Options of the tabular encoder `ft_transformer`."""

    dim: int = Field(default=64, ge=1, description="Width of the tokens.")
    depth: int = Field(default=2, ge=1, description="Layers.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Chance of zeroing an activation while training.")


class VectorMlpOptions(_Dropout):
    """Options of the vector encoder `mlp`."""

    hidden: list[Width] = Field(default=[128, 64], min_length=1, description="Widths; the last is the embedding.")


class VectorGruOptions(_Dropout):
    """Options of the vector encoder `gru`."""

    hidden: int = Field(default=64, ge=1, description="Width of the state, in each direction.")
    layers: int = Field(default=1, ge=1, description="Layers.")
    bidirectional: bool = Field(default=True, description="Read each sequence backwards as well.")


class VectorTransformerOptions(_Attention):
    """Options of the vector encoder `transformer`."""

    dim: int = Field(default=64, ge=1, description="Width of the tokens.")
    depth: int = Field(default=2, ge=1, description="Layers.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Chance of zeroing an activation while training.")


def _encoder(
    modality: str, name: str, target: str, options: type[Options], summary: str, *requires: str, tokens: bool = True
) -> None:
    target = f"mmdistill.models.encoders.{target}"
    extra = "backbones" if requires else "train"
    kind = f"{modality} encoder"
    register(EncoderEntry(kind, name, target, options, summary, extra, requires or ("torch",), tokens=tokens))


_encoder("image", "tiny_cnn", "image_cnn:ImageCnn", ImageTinyCnnOptions, "Three small convolutions, for a student.")
_encoder("image", "cnn", "image_cnn:ImageCnn", ImageCnnOptions, "Plain convolutions of stride 2.")
_encoder("image", "resnet", "image_resnet:ImageResnet", ImageResnetOptions, "Compact residual network.")
_encoder("image", "mobilenet", "image_mobilenet:ImageMobilenet", ImageMobilenetOptions, "Compact inverted residuals.")
_encoder(
    "image", "mlp", "image_mlp:ImageMlp", ImageMlpOptions, "Linear and ReLU layers on flattened pixels.", tokens=False
)
_encoder("image", "timm", "image_timm:ImageTimm", TimmOptions, "Any model of timm.", "timm")
_encoder(
    "image", "transformers", "image_transformers:ImageTransformers", ImageTransformersOptions,
    "Any image encoder of transformers.", "transformers",
)  # fmt: skip
_encoder("text", "bag", "text_bag:TextBag", TextBagOptions, "Mean of word embeddings.")
_encoder("text", "lstm", "text_lstm:lstm", TextLstmOptions, "Word embeddings, then an LSTM.")
_encoder("text", "bilstm", "text_lstm:bilstm", TextBilstmOptions, "Word embeddings, then an LSTM in both directions.")
_encoder(
    "text", "transformer", "text_transformer:TextTransformer", TextTransformerOptions, "Small pre-norm transformer."
)
_encoder(
    "text", "transformers", "text_transformers:TextTransformers", TransformersOptions,
    "Any text encoder of transformers.", "transformers",
)  # fmt: skip
_encoder("audio", "tiny_cnn", "audio_cnn:AudioCnn", AudioTinyCnnOptions, "Three small convolutions, for a student.")
_encoder("audio", "cnn", "audio_cnn:AudioCnn", AudioCnnOptions, "Convolutions over time and frequency.")
_encoder("audio", "crnn", "audio_crnn:AudioCrnn", AudioCrnnOptions, "Convolutions, then a GRU in both directions.")
_encoder(
    "tabular", "mlp", "tabular_mlp:TabularMlp", TabularMlpOptions,
    "Numbers, indicators and embeddings through layers.", tokens=False,
)  # fmt: skip
_encoder(
    "tabular", "ft_transformer", "tabular_ft_transformer:FtTransformer", FtTransformerOptions,
    "A token for each number and category, then a transformer.",
)  # fmt: skip
_encoder("vector", "mlp", "vector_mlp:VectorMlp", VectorMlpOptions, "Linear and ReLU layers; sequences are averaged.")
_encoder("vector", "gru", "vector_gru:VectorGru", VectorGruOptions, "GRU over a sequence of vectors.")
_encoder(
    "vector", "transformer", "vector_transformer:VectorTransformer", VectorTransformerOptions,
    "Small pre-norm transformer over a sequence of vectors.",
)  # fmt: skip
