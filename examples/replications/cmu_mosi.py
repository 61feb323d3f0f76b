"""A teacher of three modalities does not help a student of one: the utterances of CMU-MOSI.

Sentiment, positive or negative, of 2,199 utterances of 93 video reviews (Zadeh et al., 2016) from the utterance
features of Poria et al., "Context-Dependent Sentiment Analysis in User-Generated Videos", ACL 2017: 100 numbers of a
network that reads the transcript, 100 of one that sees the video, and 73 descriptors of the voice. The official split
keeps 31 videos for testing. A teacher learns from all three; a student that hears and a student that reads learn from
it and from the targets, each beside the same student without a teacher.

Run it with ``MMDISTILL_DATA=/path/to/data python examples/replications/cmu_mosi.py``. It writes the table
``data/cmu_mosi.parquet`` beside this file, runs ``cmu_mosi.yaml`` into ``runs/cmu_mosi``, and prints what the run found
beside what was found before. The report of the run begins with its verdict.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmdistill.errors import MMDistillError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from example_data import prepare  # noqa: E402

NEEDS = ("cmu_mosi/features.npz", "cmu_mosi/utterances.csv")
TABLE, RECIPE = HERE / "data/cmu_mosi.parquet", HERE / "cmu_mosi.yaml"
COLUMNS = ("audio", "text", "video")
SENTIMENTS = {"0": "negative", "1": "positive"}
REFERENCE = {"teacher": 76.9, "audio": 55.0, "audio-baseline": 55.2, "text": 75.7, "text-baseline": 75.6}


def make_table(source: Path) -> pa.Table:
    """The utterances with their features, sentiment, video and official split.

    Args:
        source: the folder that holds `cmu_mosi`.
    """
    with (source / "cmu_mosi/utterances.csv").open(encoding="utf-8", newline="") as file:
        utterances = list(csv.DictReader(file))
    with np.load(source / "cmu_mosi/features.npz", allow_pickle=False) as features:
        vectors = {column: pa.array(features[column].tolist(), pa.list_(pa.float32())) for column in COLUMNS}
    plain = {
        "sentiment": [SENTIMENTS[one["label"]] for one in utterances],
        "video_id": [one["video_id"] for one in utterances],
        "split": [one["split"] for one in utterances],
    }
    return pa.table({**vectors, **plain})


def figures(results: dict[str, Any]) -> list[str]:
    """Accuracy of every model in percent, the gains, and the reference, as lines of a Markdown table."""

    def accuracy(model: str) -> float:
        return 100 * statistics.fmean(run["metrics"]["accuracy"] for run in results["models"][model]["runs"])

    lines = [
        "| model | without teacher | with teacher | gain (95 % interval) | reference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines.append(f"| teacher, all three | {accuracy('teacher'):.1f} | | | {REFERENCE['teacher']} |")
    for gain in results["gains"]:
        student, baseline = gain["student"], gain["baseline"]
        low, high = (100 * end for end in gain["ci95"])
        lines.append(
            f"| {student} | {accuracy(baseline):.1f} | {accuracy(student):.1f} | "
            f"{100 * gain['mean']:+.1f} ({low:+.1f} to {high:+.1f}) | {REFERENCE[baseline]} → {REFERENCE[student]} |"
        )
    return lines


def main() -> int:
    """Make the table, run the recipe, print the figures; gives an exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=Path, default=HERE.parent.parent / "runs", help="folder of the run folders")
    parser.add_argument("--overwrite", action="store_true", help="train every model again")
    parser.add_argument("keys", nargs="*", help="keys of the recipe to set, such as seeds=3")
    given = parser.parse_args()
    status = prepare(Path(__file__), TABLE, make_table, NEEDS)
    if status:
        return status
    from mmdistill.recipe import Recipe
    from mmdistill.run import run

    try:
        # Relative where it can be, so that the run folder names no folder of this machine.
        table = TABLE.relative_to(Path.cwd()) if TABLE.is_relative_to(Path.cwd()) else TABLE
        recipe = Recipe.load(RECIPE, [f"data.table={table}", *given.keys])
        finished = run(recipe, root=given.runs, overwrite=given.overwrite)
    except MMDistillError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"Accuracy on the test videos in percent, mean of {len(recipe.seeds)} seeds.\n")
    print("\n".join(figures(finished.results)), "\n")
    for gain in finished.results["gains"]:
        print(gain["verdict"])
    print(f"\nReport: {finished.folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
