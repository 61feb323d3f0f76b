"""Put sentences beside pictures and the objects drawn in them; writes data/pairs.parquet beside this file.

Validation sentences are drawn from the training part; all pictures and box orders of a sentence go with it. Left out
are training and validation rows whose picture is also a test picture, byte for byte, and training rows whose picture is
a validation picture: two such rows may share sentence and answer.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

SOURCES = ("dev", "hidden", "test")
NEEDS = (
    "nlvr_subset/images.zip",
    "nlvr_subset/pairs.csv",
    *(f"nlvr_subset/structured_{source}.jsonl.gz" for source in SOURCES),
)
SEED = 0
VALIDATION_SENTENCES = 80  # of 533
ANSWERS = {"1": "true", "0": "false"}
SHAPES, COLOURS = ("square", "circle", "triangle"), ("Yellow", "Black", "#0099ff")
SIDE = 100  # of a box, in the units of the source
SIZES = (0.1, 0.2, 0.3)
EDGE = 0.02  # nearer to an edge is at it

Pair = dict[str, str]
Thing = tuple[str, str, int, int, int]


def make_table(source: Path) -> pa.Table:
    """Pairs of picture and sentence with the objects of the picture, in the order of the source.

    Args:
        source: the folder that holds `nlvr_subset`.
    """
    with (source / "nlvr_subset/pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    boxes = {key: found for name in SOURCES for key, found in read_boxes(source, name).items()}
    with zipfile.ZipFile(source / "nlvr_subset/images.zip") as archive:
        pictures = [archive.read(f"images/{one['file']}") for one in pairs]
    splits = without_known_pictures(splits_of(pairs), [hashlib.sha256(picture).hexdigest() for picture in pictures])
    rows = [
        {
            "picture": {"bytes": picture, "path": one["file"]},
            "sentence": one["sentence"],
            "objects": (vectors := numbers(boxes[one["source"], one["identifier"]])),
            "counts": counts(vectors),
            "answer": ANSWERS[one["label"]],
            "sentence_id": sentence_id(one),
            "split": split,
        }
        for one, picture, split in zip(pairs, pictures, splits, strict=True)
        if split
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_boxes(source: Path, name: str) -> dict[tuple[str, str], list[list[Thing]]]:
    """(part, identifier) → the objects of each of the three boxes."""
    with gzip.open(source / f"nlvr_subset/structured_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        lines: list[dict[str, Any]] = [json.loads(line) for line in file]
    return {(line["source"], line["identifier"]): line["boxes"] for line in lines}


def sentence_id(pair: Pair) -> str:
    """What the rows of one sentence have in common: `1572` of the identifier `1572-0`, with its part."""
    return f"{pair['source']}-{pair['identifier'].split('-')[0]}"


def splits_of(pairs: list[Pair]) -> list[str]:
    """The split of each row; a sentence that occurs under several numbers stays on one side."""
    train = sorted({one["sentence"] for one in pairs if one["split"] == "train"})
    chosen = set(np.random.default_rng(SEED).permutation(train)[:VALIDATION_SENTENCES].tolist())
    return ["validation" if one["split"] == "train" and one["sentence"] in chosen else one["split"] for one in pairs]


def without_known_pictures(splits: list[str], pictures: list[str]) -> list[str]:
    """The splits, empty for rows whose picture is also in a later split: train before validation before test."""
    order = ("train", "validation", "test")
    last: dict[str, int] = {}
    for split, picture in zip(splits, pictures, strict=True):
        last[picture] = max(last.get(picture, 0), order.index(split))
    return [
        split if order.index(split) == last[picture] else "" for split, picture in zip(splits, pictures, strict=True)
    ]


def numbers(boxes: list[list[Thing]]) -> list[list[float]]:
    """One vector an object: its box, shape and colour as indicators, its size and the place of its edges, in [0, 1]."""
    return [
        [
            *(float(number == place) for place in range(3)),
            *(float(shape == known) for known in SHAPES),
            *(float(colour == known) for known in COLOURS),
            *(value / SIDE for value in (size, x, y, x + size, y + size)),
        ]
        for number, box in enumerate(boxes)
        for shape, colour, size, x, y in box
    ]


def counts(objects: list[list[float]]) -> list[float]:
    """How many objects of each kind the boxes hold: the fewest, the middle and the most of a box, all, and in how many.

    Kinds are all, shapes, colours, coloured shapes, sizes, these at an edge of the box, and the colour on top and at
    the bottom.
    """
    things = np.array(objects)
    box, shapes, colours = things[:, :3], things[:, 3:6], things[:, 6:9]
    size, left, upper, right, lower = things[:, 9:].T
    coloured = (shapes[:, :, None] * colours[:, None, :]).reshape(len(things), -1)
    sizes = np.isclose(size[:, None], SIZES)
    kinds = np.concatenate([np.ones((len(things), 1)), shapes, colours, coloured, sizes], axis=1)
    at_edge = (np.minimum(left, upper) < EDGE) | (np.maximum(right, lower) > 1 - EDGE)
    ends = [colours * outermost(box, place)[:, None] for place in (-upper, lower)]
    per_box = box.T @ np.concatenate([kinds, kinds * at_edge[:, None], *ends], axis=1)
    parts = [np.sort(per_box, axis=0).ravel(), per_box.sum(axis=0), (per_box > 0).sum(axis=0)]
    return [float(value) for part in parts for value in part]


def outermost(box: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which objects lie furthest out in their own box, (N,), from box indicators (N, 3) and places (N,)."""
    furthest = np.where(box > 0, place[:, None], -np.inf).max(axis=0)
    return place >= furthest[box.argmax(axis=1)]


MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("picture", MEDIA),
        ("sentence", pa.string()),
        ("objects", pa.list_(pa.list_(pa.float32()))),
        ("counts", pa.list_(pa.float32())),
        ("answer", pa.string()),
        ("sentence_id", pa.string()),
        ("split", pa.string()),
    ]
)

if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/pairs.parquet", make_table, NEEDS))
