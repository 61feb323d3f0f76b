"""Put MNIST into one table; writes data/mnist.parquet beside this file.

The 10,000 official test images stay test. 5,000 of the 60,000 training images, 500 of each digit, are set aside for
validation, so that epochs are never chosen on the test images.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare, read_idx  # noqa: E402

NEEDS = tuple(f"mnist/{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
SEED = 0
VALIDATION_PER_DIGIT = 500


def make_table(source: Path) -> pa.Table:
    """All 70,000 images: the training file, then the test file.

    Args:
        source: the folder that holds `mnist`.
    """
    train_images, train_digits = read_part(source, "train")
    test_images, test_digits = read_part(source, "t10k")
    split = np.where(set_aside(train_digits), "validation", "train").tolist() + ["test"] * len(test_digits)
    columns = {
        "image": [encode_png(pixels) for images in (train_images, test_images) for pixels in images],
        "digit": np.concatenate([train_digits, test_digits]).astype(np.int64),
        "split": split,
    }
    return pa.table(columns, schema=pa.schema([("image", pa.binary()), ("digit", pa.int64()), ("split", pa.string())]))


def read_part(source: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 28, 28) and digits (N,) of `train` or `t10k`."""
    return (
        read_idx(source / f"mnist/{part}-images-idx3-ubyte.gz"),
        read_idx(source / f"mnist/{part}-labels-idx1-ubyte.gz"),
    )


def set_aside(digits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which training images are for validation: so many of each digit, drawn with a seed."""
    generator = np.random.default_rng(SEED)
    chosen = np.zeros(len(digits), dtype=np.bool_)
    for digit in range(10):
        chosen[generator.permutation(np.flatnonzero(digits == digit))[:VALIDATION_PER_DIGIT]] = True
    return chosen


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Grey pixels (H, W) as a PNG file."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/mnist.parquet", make_table, NEEDS))
