"""Pictures of every kind become uint8 values (channels, height, width)."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdistill.data.modalities.base import CellError
from mmdistill.errors import InputError
from tests.data_rows.making import extracted, feature, fitted, grey_png, modality, png

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def flat(colour: tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


def pixel(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values[:, 0, 0])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat(RED), RED),
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("1", (8, 8), 1), WHITE),
        (flat((255, 0, 0, 0), "RGBA"), WHITE),
        (flat((255, 0, 0, 51), "RGBA"), (255, 204, 204)),
        (Image.new("LA", (8, 8), (0, 0)), WHITE),
        (flat(RED).convert("P"), RED),
        (Image.fromarray(np.full((8, 8), 65535, np.uint16)), WHITE),
        (Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)), (100, 100, 100)),
    ],
    ids=["rgb", "grey", "bilevel", "transparent", "half transparent", "grey alpha", "palette", "16 bit", "16"],
)
def test_every_mode_of_png_is_right(image: Image.Image, expected: tuple[int, ...]) -> None:
    assert pixel(extracted("image", png(image), size=8, channels=3)) == expected


def test_16_bits_held_in_32_are_right() -> None:
    image = Image.fromarray(np.full((8, 8), 257 * 100, np.int32))
    assert pixel(extracted("image", png(image, format="TIFF"), size=8)) == (100,)
    with pytest.raises(CellError, match="with values from 70000"):
        extracted("image", png(Image.fromarray(np.full((8, 8), 70_000, np.int32)), format="TIFF"), size=8)


def test_cmyk_jpeg_is_right() -> None:
    values = extracted("image", png(flat((0, 255, 255, 0), "CMYK"), format="JPEG", quality=95), size=8)
    np.testing.assert_allclose(pixel(values), flat((0, 255, 255, 0), "CMYK").convert("RGB").getpixel((0, 0)), atol=6)


def test_a_palette_with_a_transparent_colour_is_laid_on_the_background() -> None:
    image = flat(RED).convert("P")
    data = png(image, transparency=image.getpixel((0, 0)))
    assert pixel(extracted("image", data, size=8, channels=3, background="#00ff00")) == GREEN


def test_float_pictures_are_zero_to_one() -> None:
    image = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    assert pixel(extracted("image", png(image, format="TIFF"), size=8)) == (128,)
    with pytest.raises(CellError, match="with values from 300"):
        extracted("image", png(Image.fromarray(np.full((8, 8), 300.0, np.float32)), format="TIFF"), size=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(orientation: int) -> None:
    upright = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png(np.ascontiguousarray(turned), exif=exif)
    np.testing.assert_array_equal(extracted("image", data, size=[4, 6])[0], upright)


def test_metadata_that_cannot_be_read_does_not_matter() -> None:
    assert pixel(extracted("image", png(flat(RED), exif=b"Exif\0\0garbage and more"), size=8)) == RED


def test_crop_pad_and_stretch() -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = RED
    wide[:, 8:] = GREEN
    crop = extracted("image", wide, size=4)
    assert (crop == np.array(RED)[:, None, None]).all()
    pad = extracted("image", wide, size=12, fit="pad", background="blue")
    np.testing.assert_array_equal(pad[:, 4:8], np.moveaxis(wide, -1, 0))
    assert pixel(pad) == (0, 0, 255)
    stretch = extracted("image", wide, size=[4, 3], fit="stretch", interpolation="nearest")
    np.testing.assert_array_equal(stretch[:, 0].T, [(0, 0, 0), RED, GREEN])


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(extracted("image", png(values), size=[9, 7]), np.moveaxis(values, -1, 0))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_very_thin_picture_fits(fit: str) -> None:
    assert extracted("image", np.zeros((1, 3000), np.uint8), size=16, fit=fit).shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (np.full((4, 4), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 4, 1), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 5, 3), 9, np.int64), (9, 9, 9)),
        (np.moveaxis(np.full((4, 5, 3), RED, np.uint8), -1, 0), RED),
        (np.full((4, 4), 0.2), (51, 51, 51)),
        (np.full((4, 4), True), WHITE),
        (np.full((4, 4), 65535, np.uint16), WHITE),
        ([[9, 9], [9, 9]], (9, 9, 9)),
        ([[[255, 0, 0]] * 4] * 4, RED),
        (flat(RED), RED),
        ({"bytes": png(flat(RED)), "path": None}, RED),
        (bytearray(png(flat(RED))), RED),
    ],
)
def test_arrays_lists_and_pil_images(cell: object, expected: tuple[int, ...]) -> None:
    assert pixel(extracted("image", cell, size=4, channels=3)) == expected


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (3.5, r"is a number \(3.5\), not a picture"),
        ({"pixels": 1}, "a mapping with the keys pixels"),
        (np.zeros(784), r"an array of shape \(784,\)"),
        (np.zeros((4, 4, 7, 2)), r"an array of shape \(4, 4, 7, 2\)"),
        (np.zeros((0, 4)), r"an array of shape \(0, 4\)"),
        (np.full((4, 4), 300), "values from 300 to 300"),
        (np.full((4, 4), -1), "values from -1"),
        (np.full((4, 4), np.nan), "values from nan"),
        (np.full((4, 4), 200.0), "floats from 0 to 1"),
        (np.full((4, 4), "x"), "not of numbers"),
        ([[1, 2], [3]], "differ in length"),
        (b"", "an empty file"),
        (b"%PDF-1.7 no picture", "no picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no picture of a known format"),
    ],
)
def test_says_what_is_wrong_with_a_picture(cell: object, message: str) -> None:
    with pytest.raises(CellError, match=message):
        extracted("image", cell, size=4)


@pytest.mark.parametrize("cell", ["bad.png", {"bytes": b"junk", "path": "bad.png"}])
def test_the_file_is_named(tmp_path: Path, cell: object) -> None:
    (tmp_path / "bad.png").write_bytes(b"junk")
    with pytest.raises(CellError, match=r"The cell \('bad.png'\) is no picture"):
        extracted("image", cell, tmp_path, size=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = png(noise, format=kind)
    with pytest.raises(CellError):
        extracted("image", data[: len(data) * 2 // 3], size=8)


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(CellError, match="too many pixels"):
        extracted("image", bomb, size=8)


@pytest.mark.parametrize(
    "cell", [png(flat(RED, size=(30, 30))), flat(RED, size=(30, 30)), np.zeros((30, 30), np.uint8)]
)
def test_the_largest_number_of_pixels_is_a_setting(cell: object) -> None:
    with pytest.raises(CellError, match="30 x 30 = 900 pixels, more than max_pixels = 899"):
        extracted("image", cell, size=8, max_pixels=899)
    assert extracted("image", cell, size=8, max_pixels=900).shape[1:] == (8, 8)


def test_grey_is_inferred_only_when_every_training_picture_is_grey() -> None:
    grey_in_colour = png(flat((80, 80, 80)))
    assert fitted("image", [grey_png(3), grey_in_colour], size=8).state["channels"] == 1
    assert fitted("image", [grey_png(3), png(flat(RED))], size=8).state["channels"] == 3
    assert fitted("image", [grey_png(3)], size=8, channels=3).state["channels"] == 3
    assert fitted("image", [png(flat(RED))], size=8, channels=1).state["channels"] == 1


def test_state_holds_the_statistics_of_the_values() -> None:
    info = fitted("image", [png(flat((10, 20, 30))), png(flat((30, 20, 50)))], size=8)
    assert info.state["size"] == [8, 8]
    np.testing.assert_allclose(info.state["mean"], [20, 20, 40])
    np.testing.assert_allclose(info.state["std"], [10, 1, 10])  # a constant channel gets 1
    assert info.arrays["values"].shape == (3, 8, 8)
    assert info.arrays["values"].dtype == "uint8"


def test_unreadable_pictures_do_not_hinder_the_statistics_unless_there_are_no_others() -> None:
    assert fitted("image", [b"junk", grey_png(5)], size=8).state["mean"] == [5.0]
    with pytest.raises(CellError, match="no picture") as caught:
        modality("image").fit(iter([{"x": b"junk"}, {"x": b""}]))
    assert caught.value.position == 0


@pytest.mark.parametrize("cell", [None, "", {"bytes": None, "path": None}])
def test_absence(cell: object) -> None:
    assert modality("image").absent({"x": cell})
    assert not modality("image").absent({"x": b"something"})


def test_a_large_jpeg_is_close_to_what_full_decoding_gives(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 1600)[None, :, None] * np.ones((1200, 1, 3))
    stream = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(stream, "JPEG", quality=95)
    full = Image.open(io.BytesIO(stream.getvalue())).convert("RGB")
    quick = extracted("image", stream.getvalue(), size=[24, 32], channels=3)
    whole = extracted("image", full, size=[24, 32], channels=3)
    np.testing.assert_allclose(quick.astype(int), whole.astype(int), atol=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, r"data.columns.x.size"),
        ({"size": [4, 4, 4]}, r"data.columns.x.size"),
        ({"sise": 8}, r"data.columns.x.sise: There is no such setting. Did you mean 'size'"),
        ({"channels": 2}, r"data.columns.x.channels"),
        ({"background": "no colour"}, r"data.columns.x.background.*no colour"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        feature("image", **settings)
