"""Pair MNIST images with Free Spoken Digit recordings of the same digit; writes data/pairs.parquet beside this file.

The official test part of each source stays test: the 300 recordings of takes 0 to 4, each with an MNIST test image of
its own. Training pairs come from takes 5 to 44, validation pairs from takes 45 to 49, both with MNIST training images,
and no image is used twice. 300 training pairs keep their label; 4,000 lose it and can teach only through the teacher.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare, read_idx  # noqa: E402

NEEDS = (
    "mnist/train-images-idx3-ubyte.gz",
    "mnist/train-labels-idx1-ubyte.gz",
    "mnist/t10k-images-idx3-ubyte.gz",
    "mnist/t10k-labels-idx1-ubyte.gz",
    "fsdd/index.csv",
    "fsdd/recordings.zip",
)
SEED = 0
LABELLED, UNLABELLED, VALIDATION = 300, 4_000, 500
VALIDATION_TAKES = range(45, 50)

Recording = dict[str, str]


def make_pairs(source: Path) -> pa.Table:
    """All pairs: labelled and unlabelled training rows, validation rows, test rows.

    Args:
        source: the folder that holds `mnist` and `fsdd`.
    """
    generator = np.random.default_rng(SEED)
    with (source / "fsdd/index.csv").open(encoding="utf-8", newline="") as file:
        recordings = list(csv.DictReader(file))
    test = [one for one in recordings if one["split"] == "test"]
    validation = [one for one in recordings if one["split"] == "train" and int(one["take"]) in VALIDATION_TAKES]
    train = [one for one in recordings if one["split"] == "train" and int(one["take"]) not in VALIDATION_TAKES]

    labelled = draw(train, LABELLED, generator)
    chosen = {one["file"] for one in labelled}
    unlabelled = draw([one for one in train if one["file"] not in chosen], UNLABELLED, generator)
    parts = [
        ("train", True, labelled),
        ("train", False, unlabelled),
        ("validation", True, draw(validation, VALIDATION, generator)),
        ("test", True, test),
    ]
    pictures = {part: Pictures(source, part, generator) for part in ("train", "t10k")}
    with zipfile.ZipFile(source / "fsdd/recordings.zip") as archive:
        rows = [
            pair(archive, pictures["t10k" if split == "test" else "train"], recording, split, keep)
            for split, keep, part in parts
            for recording in part
        ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def draw(recordings: list[Recording], count: int, generator: np.random.Generator) -> list[Recording]:
    """`count` recordings, as many of each digit; a recording comes again only after all others of its digit."""
    chosen: list[Recording] = []
    for digit in range(10):
        own = [one for one in recordings if int(one["label"]) == digit]
        rounds = -(-count // 10 // len(own))
        order = np.concatenate([generator.permutation(len(own)) for _ in range(rounds)])
        chosen += [own[index] for index in order[: count // 10]]
    return chosen


class Pictures:
    """The images of one part of MNIST, dealt out by digit in a seeded order, none twice."""

    def __init__(self, source: Path, part: str, generator: np.random.Generator) -> None:
        self.images = read_idx(source / f"mnist/{part}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"mnist/{part}-labels-idx1-ubyte.gz")
        self.name = part
        self.left: list[Iterator[int]] = [
            iter(generator.permutation(np.flatnonzero(labels == digit)).tolist()) for digit in range(10)
        ]

    def deal(self, digit: int) -> tuple[str, bytes]:
        """Name and PNG bytes of the next image of a digit."""
        index = next(self.left[digit])
        return f"mnist/{self.name}/{index}.png", encode_png(self.images[index])


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Grey pixels (H, W) as a PNG file."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def pair(
    archive: zipfile.ZipFile, pictures: Pictures, recording: Recording, split: str, keep_label: bool
) -> dict[str, object]:
    """One row: a recording and an image of the same digit, which is written down only when the label is kept."""
    digit = int(recording["label"])
    path, png = pictures.deal(digit)
    return {
        "image": {"bytes": png, "path": path},
        "sound": {"bytes": archive.read(f"recordings/{recording['file']}"), "path": f"fsdd/{recording['file']}"},
        "digit": digit if keep_label else None,
        "speaker": recording["speaker"],
        "split": split,
    }


MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("image", MEDIA), ("sound", MEDIA), ("digit", pa.int64()), ("speaker", pa.string()), ("split", pa.string())]
)

if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/pairs.parquet", make_pairs, NEEDS))
