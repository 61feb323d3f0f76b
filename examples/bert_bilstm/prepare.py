"""Take the questions of Banking77; writes data/questions.parquet beside this file.

The official test part stays test. Of the training part a seeded tenth of each intent is for validation, a further share
keeps its intent, and the rest loses it and can teach only through the teacher.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("banking77/train.csv", "banking77/test.csv")
SEED = 0
VALIDATION, LABELLED = 0.1, 0.5


def make_table(source: Path) -> pa.Table:
    """Training rows with and without intent, validation rows, test rows.

    Args:
        source: the folder that holds `banking77`.
    """
    generator = np.random.default_rng(SEED)
    by_intent: dict[str, list[str]] = defaultdict(list)
    for one in read(source / NEEDS[0]):
        by_intent[one["category"]].append(one["text"])
    rows = []
    for intent, texts in by_intent.items():
        order = generator.permutation(len(texts))
        held, kept = round(VALIDATION * len(texts)), round((VALIDATION + LABELLED) * len(texts))
        for place, index in enumerate(order):
            split, known = ("validation", True) if place < held else ("train", place < kept)
            rows.append({"text": texts[index], "intent": intent if known else None, "split": split})
    rows += [{"text": one["text"], "intent": one["category"], "split": "test"} for one in read(source / NEEDS[1])]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in ("text", "intent", "split")]))


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/questions.parquet", make_table, NEEDS))
