"""Pair blurred MNIST images with noisy spoken digits; writes data/pairs.parquet beside this file.

10,000 pairs of the same digit, as many of each. An image is left with its first 4 principal components, so that about
two in three can still be told; a recording is a log-mel spectrogram, standardised, with noise as loud as itself.
Neither is enough, and which of the two can be trusted differs from pair to pair: that is what a fusion has to find out.
"""

from __future__ import annotations

import csv
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmdistill.data.modalities import sound

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
SIZES = {"train": 8_000, "validation": 1_000, "test": 1_000}
TAKES = {"train": range(5, 45), "validation": range(45, 50), "test": range(5)}  # 0 to 4: the official test part
IMAGES = {"train": "train", "validation": "train", "test": "t10k"}
COMPONENTS = 4
NOISE = 1.0
SAMPLE_RATE, SECONDS = 8_000, 1.5
MEL_BANDS, FRAME, HOP = 16, 25.0, 25.0  # milliseconds; finer ones leave a fusion little to do

Recording = dict[str, str]
SCHEMA = pa.schema(
    [
        ("image", pa.list_(pa.float32())),
        ("sound", pa.list_(pa.list_(pa.float32()))),
        ("digit", pa.int64()),
        ("speaker", pa.string()),
        ("split", pa.string()),
    ]
)


def make_pairs(source: Path) -> pa.Table:
    """All pairs, split by split and digit by digit.

    Args:
        source: the folder that holds `mnist` and `fsdd`.
    """
    generator = np.random.default_rng(SEED)
    with (source / "fsdd/index.csv").open(encoding="utf-8", newline="") as file:
        recordings = list(csv.DictReader(file))
    chosen = {split: draw_recordings(recordings, split, generator) for split in SIZES}
    digits = {split: np.array([int(one["label"]) for one in rows]) for split, rows in chosen.items()}
    components = image_components(source, digits, generator)
    spectrograms = standardised_spectrograms(source, chosen)
    rows = []
    for split, recordings_of_split in chosen.items():
        for recording, image in zip(recordings_of_split, components[split], strict=True):
            clean = spectrograms[recording["file"]]
            noisy = clean + NOISE * generator.standard_normal(clean.shape, dtype=np.float32)
            rows.append(
                {
                    "image": image.tolist(),
                    "sound": noisy.tolist(),
                    "digit": int(recording["label"]),
                    "speaker": recording["speaker"],
                    "split": split,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def draw_recordings(recordings: list[Recording], split: str, generator: np.random.Generator) -> list[Recording]:
    """The recordings of a split, as many of each digit, each about as often as every other."""
    chosen: list[Recording] = []
    for digit in range(10):
        own = [one for one in recordings if int(one["label"]) == digit and int(one["take"]) in TAKES[split]]
        chosen += [own[index] for index in np.resize(generator.permutation(len(own)), SIZES[split] // 10)]
    return chosen


def image_components(
    source: Path, digits: dict[str, NDArray[np.int64]], generator: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """An image of each digit, none twice, as coordinates (N, 4) along the main axes of the training images.

    Args:
        source: the folder that holds `mnist`.
        digits: the digit of each pair (N,), by split.
        generator: draws the images.
    """
    pools = {part: ImagePool(source, part, generator) for part in ("train", "t10k")}
    images = {split: pools[IMAGES[split]].take(labels) for split, labels in digits.items()}
    centre = images["train"].mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(images["train"], rowvar=False))  # the axis of the largest variance is the last
    main = axes[:, : -COMPONENTS - 1 : -1]
    return {split: ((pixels - centre) @ main).astype(np.float32) for split, pixels in images.items()}


class ImagePool:
    """The images of one part of MNIST, dealt out by digit in a seeded order, none twice."""

    def __init__(self, source: Path, part: str, generator: np.random.Generator) -> None:
        self.images = read_idx(source / f"mnist/{part}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"mnist/{part}-labels-idx1-ubyte.gz")
        self.left = [generator.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]

    def take(self, digits: NDArray[np.int64]) -> NDArray[np.float64]:
        """The next image of each digit: pixels (N, 784) from 0 to 1."""
        chosen = np.empty(len(digits), dtype=np.int64)
        for digit in range(10):
            places = np.flatnonzero(digits == digit)
            chosen[places], self.left[digit] = np.split(self.left[digit], [len(places)])
        return self.images[chosen].reshape(len(digits), -1) / 255.0


def standardised_spectrograms(source: Path, chosen: dict[str, list[Recording]]) -> dict[str, NDArray[np.float32]]:
    """The log-mel (frames, 16) of each chosen recording, by file; each band has mean 0 and deviation 1 in training.

    Args:
        source: the folder that holds `fsdd`.
        chosen: the recordings of each split.
    """
    options = sound.mel_options(SAMPLE_RATE, MEL_BANDS, FRAME, HOP, 20.0, None)
    with zipfile.ZipFile(source / "fsdd/recordings.zip") as archive:
        log_mels = {
            file: sound.log_mel(sound.mono(sound.decode(archive.read(f"recordings/{file}"), SECONDS)[0]), options)
            for file in sorted({one["file"] for rows in chosen.values() for one in rows})
        }
    frames = np.concatenate([log_mels[file] for file in sorted({one["file"] for one in chosen["train"]})])
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    return {file: ((log_mel - mean) / deviation).astype(np.float32) for file, log_mel in log_mels.items()}


if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/pairs.parquet", make_pairs, NEEDS))
