"""Take a small part of MNIST, most of it unlabelled; writes data/digits.parquet beside this file.

Training and validation images are drawn from MNIST's training part, test images from its test part, each digit as often
as any other. Unlabelled images teach only through the teacher.
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

PARTS = ("train", "t10k")
NEEDS = tuple(f"mnist/{part}-{kind}.gz" for part in PARTS for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
SEED = 0
LABELLED, UNLABELLED, VALIDATION, TEST = 500, 2_000, 1_000, 2_000


def make_table(source: Path) -> pa.Table:
    """Labelled and unlabelled training rows, validation rows, test rows.

    Args:
        source: the folder that holds `mnist`.
    """
    generator = np.random.default_rng(SEED)
    counts = {"train": (LABELLED, UNLABELLED, VALIDATION), "t10k": (TEST,)}
    names = {"train": (("train", True), ("train", False), ("validation", True)), "t10k": (("test", True),)}
    rows = []
    for part in PARTS:
        images = read_idx(source / f"mnist/{part}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"mnist/{part}-labels-idx1-ubyte.gz")
        chosen = np.stack([generator.permutation(np.flatnonzero(labels == digit))[:500] for digit in range(10)], axis=1)
        places = np.cumsum([0, *counts[part]]) // 10
        for (split, labelled), begin, end in zip(names[part], places, places[1:], strict=False):
            rows += [row(images, labels, part, int(index), split, labelled) for index in chosen[begin:end].ravel()]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def row(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], part: str, index: int, split: str, labelled: bool
) -> dict[str, object]:
    """One image, with its digit when the label is kept."""
    sink = io.BytesIO()
    Image.fromarray(images[index]).save(sink, "PNG")
    image = {"bytes": sink.getvalue(), "path": f"mnist/{part}/{index}.png"}
    return {"image": image, "digit": int(labels[index]) if labelled else None, "split": split}


MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema([("image", MEDIA), ("digit", pa.int64()), ("split", pa.string())])

if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/digits.parquet", make_table, NEEDS))
