"""Take what may be known from the women's clothing reviews; writes data/reviews.parquet beside this file.

Left out on purpose: `rating`, which the same person gives in the same minute and which nearly states the answer, and
`positive_feedback_count`, which grows after the review is published. Left out as well are validation and test rows
whose review text stands word for word in an earlier part, where it would be recognised rather than judged.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("womens_clothing_reviews/reviews.csv.gz",)
COLUMNS = ("title", "review_text", "age", "clothing_id", "division", "department", "class_name")
SPLITS = {"train": "train", "val": "validation", "test": "test"}  # in the order in which texts are claimed
ANSWERS = {"1": "yes", "0": "no"}


def make_table(source: Path) -> pa.Table:
    """The reviews in the order of the source; an empty cell is a missing one.

    Args:
        source: the folder that holds `womens_clothing_reviews`.
    """
    with gzip.open(source / NEEDS[0], "rt", encoding="utf-8", newline="") as file:
        reviews = list(csv.DictReader(file))
    owner = first_splits(reviews)
    kept = [row for row in reviews if not row["review_text"] or owner[row["review_text"]] == row["split"]]
    columns = {name: [row[name] or None for row in kept] for name in COLUMNS}
    columns["age"] = [int(age) if age else None for age in columns["age"]]
    columns["recommended"] = [ANSWERS[row["recommended"]] for row in kept]
    columns["split"] = [SPLITS[row["split"]] for row in kept]
    return pa.table(columns)


def first_splits(reviews: list[dict[str, str]]) -> dict[str, str]:
    """For each review text the first split that holds it: train before validation before test."""
    owner: dict[str, str] = {}
    for split in SPLITS:
        for row in reviews:
            if row["split"] == split:
                owner.setdefault(row["review_text"], split)
    return owner


if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/reviews.parquet", make_table, NEEDS))
