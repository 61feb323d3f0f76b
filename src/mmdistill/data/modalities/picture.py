"""One picture: decoded, upright, without transparency, in grey or RGB of 8 bits, and brought to a size."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from mmdistill.data.modalities.base import CellError

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "AVIF")
INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, OverflowError, struct.error)
"""What Pillow's readers raise on files that are not what they say they are."""


@cache
def _readable_formats() -> list[str]:
    # Named one by one, as some of Pillow's readers start other programs (Ghostscript for EPS).
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def decode(data: bytes, max_pixels: int, around: tuple[int, int]) -> Image.Image:
    """Decode a file that is in memory; the first frame of one that has several.

    Args:
        data: the file.
        max_pixels: largest width x height, read from the header before anything is decoded.
        around: (height, width) that is wanted in the end; a much larger JPEG is decoded at a fraction of its size.

    Raises:
        CellError: when it is empty, of no known format, too large, truncated or damaged.
    """
    if not data:
        raise CellError("is an empty file, not a picture")
    try:
        image = Image.open(io.BytesIO(data), formats=_readable_formats())
        check_pixels(image.width, image.height, max_pixels)
        if image.format == "JPEG":
            side = 2 * max(around)
            image.draft(None, (side, side))  # None keeps the mode
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CellError(f"is a picture of too many pixels ({error})", fix="Make it smaller") from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise CellError(f"is no picture of a known format ({known})", fix="Convert the file") from error
    except CellError:
        raise
    except (*_DAMAGED, MemoryError) as error:
        raise CellError(f"is a damaged or truncated picture ({error})", fix="Replace the file") from error
    return image


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture that is too large.

    Raises:
        CellError: when width x height is over `max_pixels`.
    """
    if width * height > max_pixels:
        raise CellError(
            f"is a picture of {width} x {height} = {width * height:,} pixels, more than max_pixels = {max_pixels:,}",
            fix="Make it smaller, or raise `max_pixels` of the column",
        )


def from_array(values: Any) -> Image.Image:
    """A picture from an array or nested lists of shape (H, W), (H, W, C) or (C, H, W), with C 1, 2, 3 or 4.

    Integers are 0 to 255 (0 to 65535 in an array of uint16), floats are 0 to 1, truth values are black and white.

    Raises:
        CellError: for other shapes, types or ranges, and for NaN and infinity.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise CellError("is a nested list whose rows differ in length, not a picture") from error
    if array.ndim == 3 and array.shape[-1] not in (1, 2, 3, 4) and array.shape[0] in (1, 2, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[-1] > 4):
        raise CellError(f"is an array of shape {array.shape}, not (height, width) or (height, width, channels)")
    array = np.ascontiguousarray(_eight_bits(array))
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return Image.fromarray(array)


def _eight_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return np.rint(array / 257.0).astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise CellError(f"is an array of type {array.dtype}, not of numbers")
    limit = 1.0 if array.dtype.kind == "f" else 255
    if not (array.min() >= 0 and array.max() <= limit):  # false for NaN too
        raise CellError(
            f"is an array of {array.dtype} with values from {array.min()} to {array.max()}",
            fix="Give integers from 0 to 255 or floats from 0 to 1",
        )
    return np.rint(array * 255.0).astype(np.uint8) if array.dtype.kind == "f" else array.astype(np.uint8)


def plain(image: Image.Image, background: str) -> Image.Image:
    """Upright by its EXIF orientation, laid on `background` where transparent, mode ``L`` or ``RGB``.

    Raises:
        CellError: for modes whose range cannot be told, with values outside it.
    """
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGED:  # metadata that cannot be read says nothing about the pixels
        turn = None
    if turn is not None:
        image = image.transpose(turn)
    if image.mode in ("1", "L", "RGB") and "transparency" not in image.info:
        return image.convert("L") if image.mode == "1" else image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_deep(np.asarray(image)))
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        under = Image.new("RGBA", over.size, (*ImageColor.getrgb(background)[:3], 255))
        return Image.alpha_composite(under, over).convert("RGB")
    return image.convert("RGB")


def _deep(values: np.ndarray) -> np.ndarray:
    """8 bits from 16-bit greys (which Pillow may hold in 32 bits) or from floats of 0 to 1."""
    limit = 1.0 if values.dtype.kind == "f" else 65535
    if not (values.min() >= 0 and values.max() <= limit):
        raise CellError(
            f"is a picture of {values.dtype} with values from {values.min()} to {values.max()}",
            fix="Save it with 8 or 16 bits",
        )
    return np.rint(values * (255.0 / limit)).astype(np.uint8)


def is_grey(image: Image.Image) -> bool:
    """Whether a picture of mode L or RGB has no colour, allowing for what JPEG adds (2 of 255)."""
    if image.mode == "L":
        return True
    values = np.asarray(image, dtype=np.int16)
    return int(np.ptp(values, axis=-1).max()) <= 2


def resize(image: Image.Image, size: tuple[int, int], fit: str, interpolation: str, background: str) -> Image.Image:
    """Bring a picture of mode L or RGB to `size` (height, width): crop, pad or stretch; untouched when it has it."""
    height, width = size
    if image.size == (width, height):
        return image
    method = INTERPOLATIONS[interpolation]
    if fit == "stretch":
        return image.resize((width, height), method)
    scales = width / image.width, height / image.height
    if fit == "crop":
        scale = max(scales)
        cut_width, cut_height = min(image.width, width / scale), min(image.height, height / scale)
        left, top = (image.width - cut_width) / 2, (image.height - cut_height) / 2
        return image.resize((width, height), method, box=(left, top, left + cut_width, top + cut_height))
    scale = min(scales)
    inner = max(1, min(width, round(image.width * scale))), max(1, min(height, round(image.height * scale)))
    colour = ImageColor.getcolor(background, image.mode)
    framed = Image.new(image.mode, (width, height), colour)
    framed.paste(image.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return framed
