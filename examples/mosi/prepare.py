"""Put the utterances of CMU-MOSI side by side with those before them; writes data/utterances.parquet beside this file.

The features of text and video come from networks that were trained on the official training videos. On those videos a
model looks far better than it is, so that none of them can choose anything. Validation videos are therefore drawn from
the official test videos, and a third of these is given up for it.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("cmu_mosi/features.npz", "cmu_mosi/utterances.csv")
COLUMNS = ("audio", "text", "video")
SENTIMENTS = {"0": "negative", "1": "positive"}
SEED = 0
VALIDATION_VIDEOS = 10
CONTEXT = 10  # the utterance itself and at most nine before it

Utterance = dict[str, str]


def make_table(source: Path) -> pa.Table:
    """The utterances: features, sequences of features up to the utterance, sentiment, video and split.

    Args:
        source: the folder that holds `cmu_mosi`.
    """
    with (source / NEEDS[1]).open(encoding="utf-8", newline="") as file:
        utterances = list(csv.DictReader(file))
    runs = preceding(utterances)
    columns: dict[str, pa.Array] = {}
    with np.load(source / NEEDS[0], allow_pickle=False) as features:
        for name in COLUMNS:
            values = features[name].astype(np.float32)
            columns[name] = pa.array(list(values), VECTOR)
            columns[f"{name}_so_far"] = pa.array([list(values[rows]) for rows in runs], pa.list_(VECTOR))
    chosen = validation_videos(utterances)
    plain = {
        "sentiment": [SENTIMENTS[one["label"]] for one in utterances],
        "video_id": [one["video_id"] for one in utterances],
        "split": ["validation" if one["video_id"] in chosen else one["split"] for one in utterances],
    }
    return pa.table({**columns, **plain})


def preceding(utterances: list[Utterance]) -> list[NDArray[np.int64]]:
    """For each utterance the rows of its video up to itself, itself last; at most `CONTEXT` of them.

    Rows of a video stand together and in the order in which they were spoken.
    """
    starts: dict[str, int] = {}
    for row, one in enumerate(utterances):
        starts.setdefault(one["video_id"], row)
    return [np.arange(max(starts[one["video_id"]], row - CONTEXT + 1), row + 1) for row, one in enumerate(utterances)]


def validation_videos(utterances: list[Utterance]) -> set[str]:
    """Videos of the official test part that choose instead of being tested on."""
    held_out = sorted({one["video_id"] for one in utterances if one["split"] == "test"})
    return set(np.random.default_rng(SEED).permutation(held_out)[:VALIDATION_VIDEOS].tolist())


VECTOR = pa.list_(pa.float32())

if __name__ == "__main__":
    sys.exit(prepare(Path(__file__), HERE / "data/utterances.parquet", make_table, NEEDS))
