"""The types of column that a recipe may name, with their extraction settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from mmdistill.catalog import Entry, register
from mmdistill.data.modalities.base import ModalityOptions
from mmdistill.data.modalities.tokenizer_files import local_tokenizer


class FileOptions(ModalityOptions):
    """Settings of columns whose cells may be files."""

    reads_files: ClassVar[bool] = True

    root: str | None = Field(
        default=None,
        description="Folder or zip file that paths of this column start from; the table's folder when left out.",
    )
    max_megabytes: float = Field(default=256.0, gt=0, description="A larger file is refused before it is read.")


def _colour(value: str) -> str:
    from PIL import ImageColor

    ImageColor.getrgb(value)  # raises a ValueError that names the value
    return value


class ImageOptions(FileOptions):
    """How a picture becomes uint8 values of shape (channels, height, width)."""

    size: (
        Annotated[int, Field(ge=1, le=4096)]
        | tuple[Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=4096)]]
    ) = Field(default=64, description="Side of a square, or [height, width], in pixels.")
    channels: Literal["auto", 1, 3] = Field(
        default="auto", description="1 (grey) or 3 (RGB); auto: 1 when every sampled training picture is grey, else 3."
    )
    fit: Literal["crop", "pad", "stretch"] = Field(
        default="crop",
        description="crop: fill the size and cut what stands out on both sides; pad: fit inside and add borders of the "
        "background colour; stretch: ignore the proportions.",
    )
    background: Annotated[str, AfterValidator(_colour)] = Field(
        default="white", description="Colour behind transparent pixels and of borders: a CSS name or #rrggbb."
    )
    interpolation: Literal["bilinear", "bicubic", "nearest"] = Field(
        default="bilinear", description="How pixels are resampled (with antialiasing but for nearest)."
    )
    max_pixels: int = Field(
        default=64_000_000,
        ge=1,
        description="A picture with more pixels is refused from its header, before it is decoded.",
    )

    @property
    def height_and_width(self) -> tuple[int, int]:
        """The size as (height, width)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class TextOptions(ModalityOptions):
    """How a text becomes token ids."""

    tokenizer: str = Field(
        default="word",
        min_length=1,
        description="word, bpe or character: trained on the training rows; else a folder with a tokenizer.json, such a "
        "file, or the name of a model on the Hugging Face hub.",
    )
    vocabulary: int = Field(
        default=10_000, ge=8, description="Most tokens of a trained tokenizer, with padding and unknown; bpe needs 258."
    )
    min_count: int = Field(default=2, ge=1, description="A rarer word, pair or character gets no token of its own.")
    max_length: int = Field(default=256, ge=1, description="Tokens kept, from the beginning.")
    max_characters: int = Field(default=1_000_000, ge=1, description="A longer text is refused.")
    normalize: Literal["auto", "NFC", "NFKC", "none"] = Field(
        default="auto", description="Unicode normalisation; auto: NFKC for a trained tokenizer, none for a loaded one."
    )
    lowercase: Literal["auto"] | bool = Field(
        default="auto", description="Lower the case; auto: yes for a trained tokenizer, no for a loaded one."
    )
    collapse_whitespace: bool = Field(
        default=True, description="Turn runs of white space into one space and trim the ends."
    )
    strip_html: bool = Field(default=False, description="Remove HTML tags and decode entities such as &amp;.")
    strip_urls: bool = Field(default=False, description="Remove web addresses.")

    @property
    def trained(self) -> bool:
        """Whether the tokenizer is trained on the training rows."""
        return self.tokenizer in ("word", "bpe", "character")

    def files(self, root: Path | None) -> tuple[Path, ...]:
        """The tokenizer.json, when it is on this machine."""
        file = None if self.trained else local_tokenizer(self.tokenizer, root)
        return () if file is None else (file,)

    @model_validator(mode="after")
    def _room_for_bytes(self) -> TextOptions:
        if self.tokenizer == "bpe" and self.vocabulary < 258:
            raise ValueError(
                "a bpe vocabulary holds the 256 bytes, padding and unknown: vocabulary must be 258 or more"
            )
        return self


class AudioOptions(FileOptions):
    """How a sound becomes log-mel frames or a waveform."""

    sample_rate: int = Field(default=16_000, ge=1_000, le=192_000, description="Samples a second after resampling.")
    features: Literal["log_mel", "waveform"] = Field(default="log_mel", description="What the model reads.")
    mel_bins: int = Field(default=64, ge=4, le=256, description="Mel bands of log_mel.")
    frame_length: float = Field(default=25.0, gt=1, le=1000, description="Length of a log_mel frame in milliseconds.")
    hop: float = Field(default=10.0, gt=0, le=1000, description="Milliseconds from one log_mel frame to the next.")
    low_frequency: float = Field(default=20.0, ge=0, description="Lower edge of the mel bands in hertz.")
    high_frequency: float | None = Field(
        default=None, gt=0, description="Upper edge of the mel bands in hertz; half the sample rate when left out."
    )
    max_seconds: float = Field(default=10.0, gt=0, le=3600, description="A longer sound is cut at its end.")
    min_seconds: float = Field(default=0.0, ge=0, le=3600, description="A shorter sound is followed by silence.")
    normalize: Literal["none", "peak", "rms"] = Field(
        default="none", description="Scale each sound to a peak of 1, or to a root mean square of 0.1 (-20 dB)."
    )
    trim_silence: float | None = Field(
        default=None,
        gt=0,
        le=120,
        description="Remove both ends that lie so many decibels under the peak; off when left out.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> AudioOptions:
        if self.min_seconds > self.max_seconds:
            raise ValueError("min_seconds is larger than max_seconds")
        if self.features == "log_mel":
            nyquist = self.sample_rate / 2
            high = nyquist if self.high_frequency is None else self.high_frequency
            if high > nyquist:
                raise ValueError(f"high_frequency is above half the sample rate ({nyquist:g} Hz)")
            if self.low_frequency >= high:
                raise ValueError("low_frequency is not below high_frequency")
            if self.frame_length * self.sample_rate < 8_000:
                raise ValueError("a frame must hold 8 samples or more: raise frame_length or sample_rate")
            if self.hop * self.sample_rate < 1_000:
                raise ValueError("hop is shorter than one sample")
        return self


Scaling = Literal["standard", "log", "quantile"]


class TabularOptions(ModalityOptions):
    """How several columns of the table become standardised numbers and category indices."""

    numeric: tuple[str, ...] = Field(default=(), description="Columns of the table that hold numbers.")
    categorical: tuple[str, ...] = Field(default=(), description="Columns of the table that hold categories.")
    scaling: Scaling | dict[str, Scaling] = Field(
        default="standard",
        description="For all numeric columns, or by column: standard (mean 0, deviation 1), log (of 1 + size, sign "
        "kept, then standard) or quantile (to a normal distribution).",
    )
    impute: Literal["median", "mean"] = Field(
        default="median", description="What stands for a missing number, over training rows; `missing` marks it."
    )
    min_count: int = Field(
        default=2, ge=1, description="A category seen less often in training rows counts as unknown."
    )
    max_categories: int = Field(
        default=1_000, ge=1, description="The most frequent categories that are kept, per column."
    )

    def sources(self, column: str, source: str | None) -> tuple[str, ...]:  # noqa: ARG002 - named one by one instead
        """The numeric columns, then the categorical ones."""
        return (*self.numeric, *self.categorical)

    def scaling_of(self, name: str) -> Scaling:
        """The scaling of one numeric column."""
        return self.scaling.get(name, "standard") if isinstance(self.scaling, dict) else self.scaling

    @model_validator(mode="after")
    def _columns(self) -> TabularOptions:
        names = (*self.numeric, *self.categorical)
        if not names:
            raise ValueError("name the columns of the table under `numeric`, `categorical` or both")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        if isinstance(self.scaling, dict):
            unknown = sorted(set(self.scaling) - set(self.numeric))
            if unknown:
                raise ValueError(f"scaling names columns that are not numeric: {', '.join(unknown)}")
        return self


class VectorOptions(FileOptions):
    """How ready-made features become one vector a row, or a sequence of them."""

    key: str | None = Field(
        default=None,
        description="Name of the array in an .npz file. With `root: features.npz` the cell is a row of that array; "
        "`source: row` takes the row's own number.",
    )
    sequence: Literal["auto"] | bool = Field(
        default="auto",
        description="true: (length, D) for each row; false: (D,); auto: as the first training row has it.",
    )
    max_length: int = Field(
        default=1_000, ge=1, description="Elements of a sequence that are kept, from the beginning."
    )
    max_megabytes: float = Field(
        default=2_048.0, gt=0, description="A larger file or array is refused before it is read."
    )


_IMAGE = "Pictures: path, zip member, bytes, array or PIL image, to uint8 (channels, height, width)."
_TEXT = "Texts, cleaned, to token ids of a tokenizer trained on the training rows or loaded."
_AUDIO = "Sounds of any rate, channels and length, to log-mel frames or a waveform."
_TABULAR = "Several numeric and categorical columns as one modality, with missing values."
_VECTOR = "Ready-made feature vectors or sequences of them, also from .npy and .npz files."

register(Entry("modality", "image", "mmdistill.data.modalities.image:ImageModality", ImageOptions, _IMAGE))
register(Entry("modality", "text", "mmdistill.data.modalities.text:TextModality", TextOptions, _TEXT))
register(Entry("modality", "audio", "mmdistill.data.modalities.audio:AudioModality", AudioOptions, _AUDIO))
register(Entry("modality", "tabular", "mmdistill.data.modalities.tabular:TabularModality", TabularOptions, _TABULAR))
register(Entry("modality", "vector", "mmdistill.data.modalities.vector:VectorModality", VectorOptions, _VECTOR))
