"""Put chest X-rays beside laboratory values; writes data/images.parquet beside this file.

Left out on purpose: the days to and from intensive care and death, which state the answer; how the picture was taken
(projection, device), which says who could not stand up; and on which day a value was measured. Values of ±infinity
stand for results beyond the scale of the test; they are left empty, since a size cannot be given to them.
"""

from __future__ import annotations

import csv
import math
import sys
import zipfile
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("covid_xray/metadata.csv", "covid_xray/images.zip")
TESTS = ("crp", "d-dimer", "factor_xii", "ldh", "lymphocytes", "neutrophils", "pco2", "po2")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
ANSWERS = {"1": "yes", "0": "no"}


def make_table(source: Path) -> pa.Table:
    """One row a picture, in the order of the source; an empty laboratory value is a missing one.

    Args:
        source: the folder that holds `covid_xray`.
    """
    with (source / NEEDS[0]).open(encoding="utf-8", newline="") as file:
        pictures = list(csv.DictReader(file))
    with zipfile.ZipFile(source / NEEDS[1]) as archive:
        xrays = [archive.read(f"images/{one['file']}") for one in pictures]
    columns: dict[str, pa.Array] = {
        "xray": pa.array([{"bytes": png, "path": one["file"]} for png, one in zip(xrays, pictures, strict=True)], MEDIA)
    }
    for test in TESTS:
        columns[test.replace("-", "_")] = pa.array([measured(one[f"{test}_val"]) for one in pictures], pa.float64())
    columns["patient"] = pa.array([one["patient_id"] for one in pictures])
    columns["intensive_care"] = pa.array([ANSWERS[one["icu"]] for one in pictures])
    columns["split"] = pa.array([SPLITS[one["split"]] for one in pictures])
    return pa.table(columns)


def measured(cell: str) -> float | None:
    """A laboratory value; None where none was taken, or where it lies beyond the scale of the test."""
    value = float(cell) if cell else math.inf
    return value if math.isfinite(value) else None


MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/images.parquet", make_table, NEEDS))
