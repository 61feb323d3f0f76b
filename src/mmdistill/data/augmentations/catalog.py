"""The augmentations, one for each modality and named after it. Imports no torch.

An augmentation is two functions. ``parameters(options, seed, rows, views) -> dict[str, Tensor]`` draws, for each row
and view, numbers in relative units (fractions of a side or a length, decibels), so that they mean the same for every
feature of a column; keys are there only for what is on, and `active` (bool (B,)) always. ``apply(arrays, parameters,
info, present=None) -> arrays`` carries them out on a feature's batch, on its device. View 0 is the clean row; rows
whose modality is absent, and padding, stay as they are.

Everything is off by default, and every number of an options class is an amount that is off at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from mmdistill.catalog import Entry, Options, register


@dataclass(frozen=True)
class Augmentation:
    """What an entry of the kind `augmentation` names: the two functions described above."""

    parameters: Callable[..., dict[str, Any]]
    apply: Callable[..., dict[str, Any]]


class AugmentationOptions(Options):
    """Base of the options: tells whether anything is on, and whether a view can be made again without its batch."""

    @property
    def varies(self) -> bool:
        """Whether any amount differs from 0."""
        return any(value for _, value in self if isinstance(value, int | float))

    @property
    def reproducible(self) -> bool:
        """Whether (row, view) alone decides the result; not when values of other rows of the batch are swapped in."""
        return not getattr(self, "swap_rows", 0)


class ImageAugmentation(AugmentationOptions):
    """How training images vary."""

    crop: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Smallest side of a random crop as a fraction of the image's side; 0: no crop.",
    )
    flip: bool = Field(default=False, description="Mirror left and right, for half of the rows.")
    shift: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Largest move in each direction, as a fraction of the side; the border is continued.",
    )
    rotation: float = Field(default=0.0, ge=0, le=180, description="Largest turn, in degrees either way.")
    brightness: float = Field(
        default=0.0, ge=0, le=1, description="Factor on the values between 1 - this and 1 + this."
    )
    contrast: float = Field(default=0.0, ge=0, le=1, description="Factor on the distance from the image's mean grey.")
    saturation: float = Field(
        default=0.0, ge=0, le=1, description="Factor on the distance from the pixel's grey; colour images only."
    )
    erase: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Largest side of a box filled with the image's mean, as a fraction of the side.",
    )
    noise: float = Field(
        default=0.0, ge=0, le=1, description="Standard deviation of Gaussian noise, as a fraction of the value range."
    )


class TextAugmentation(AugmentationOptions):
    """How training texts vary."""

    drop: float = Field(
        default=0.0, ge=0, lt=1, description="Chance of a token to be left out; one token always stays."
    )
    swap: float = Field(default=0.0, ge=0, le=1, description="Chance of two neighbouring tokens to change places.")


class AudioAugmentation(AugmentationOptions):
    """How training sounds vary."""

    gain: float = Field(default=0.0, ge=0, le=60, description="Largest change of level, in decibels either way.")
    shift: float = Field(
        default=0.0, ge=0, le=1, description="Largest move in time, as a fraction of the length; silence enters."
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Largest level of white noise relative to the sound's own (0.1 is 20 dB below).",
    )
    time_mask: float = Field(
        default=0.0, ge=0, lt=1, description="Longest silenced stretch, as a fraction of the length."
    )
    frequency_mask: float = Field(
        default=0.0, ge=0, lt=1, description="Widest silenced band, as a fraction of the mel scale up to 8 kHz."
    )


class TabularAugmentation(AugmentationOptions):
    """How training rows of numbers and categories vary."""

    noise: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Standard deviation of Gaussian noise on numbers, in standard deviations of each.",
    )
    swap_rows: float = Field(
        default=0.0, ge=0, le=1, description="Chance of a value to be replaced with another row's of the batch."
    )
    missing: float = Field(default=0.0, ge=0, lt=1, description="Chance of a value to be marked as missing.")


class VectorAugmentation(AugmentationOptions):
    """How training vectors and sequences of vectors vary."""

    noise: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Standard deviation of Gaussian noise, in standard deviations of each number.",
    )
    drop: float = Field(default=0.0, ge=0, lt=1, description="Chance of a number to be set to its mean.")
    swap_rows: float = Field(
        default=0.0, ge=0, le=1, description="Chance of a number to be replaced with another row's of the batch."
    )
    time_mask: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Longest stretch of a sequence set to the mean, as a fraction of its length.",
    )


for _name, _options, _summary in (
    ("image", ImageAugmentation, "Crop, flip, shift, turn, colours, erase and noise."),
    ("text", TextAugmentation, "Tokens left out and neighbours swapped."),
    ("audio", AudioAugmentation, "Gain, time shift, noise, time and frequency masks; waveform and log-mel alike."),
    ("tabular", TabularAugmentation, "Noise, values of other rows, values marked as missing."),
    ("vector", VectorAugmentation, "Noise, numbers left out, values of other rows, time masks."),
):
    register(Entry("augmentation", _name, f"mmdistill.data.augmentations.{_name}:AUGMENTATION", _options, _summary))
