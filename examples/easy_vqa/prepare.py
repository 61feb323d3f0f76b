"""Join the pictures and questions of easy-VQA; writes data/questions.parquet beside this file.

Every row is a question about a picture. `answer` is known for all of them; `answer_of_4000` only for the first 4,000
training questions of a seeded shuffle and for the test questions, so that the others can teach only through a teacher.
The table has two splits, those of the source: what chooses settings has to come out of the training rows.
"""

from __future__ import annotations

import csv
import gzip
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("easy_vqa/questions.csv.gz", "easy_vqa/images.zip")
SEED = 0
LABELLED = 4_000
SCHEMA = pa.schema(
    [
        ("picture", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("answer_of_4000", pa.string()),
        ("file", pa.string()),
        ("split", pa.string()),
    ]
)


def make_table(source: Path) -> pa.Table:
    """The questions in the order of the source, where those about one picture stand together.

    Args:
        source: the folder that holds `easy_vqa`.
    """
    with gzip.open(source / NEEDS[0], "rt", encoding="utf-8", newline="") as file:
        questions = list(csv.DictReader(file))
    training = np.flatnonzero([one["split"] == "train" for one in questions])
    labelled = set(np.random.default_rng(SEED).permutation(training)[:LABELLED].tolist())
    with zipfile.ZipFile(source / NEEDS[1]) as archive:
        pictures = {file: archive.read(file) for file in sorted({one["file"] for one in questions})}
    rows = [
        {
            "picture": {"bytes": pictures[one["file"]], "path": one["file"]},
            "question": one["question"],
            "answer": one["answer"],
            "answer_of_4000": one["answer"] if row in labelled or one["split"] == "test" else None,
            "file": one["file"],
            "split": one["split"],
        }
        for row, one in enumerate(questions)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/questions.parquet", make_table, NEEDS))
