"""Print the table of the fusions of a finished run as Markdown, and which of them the validation rows choose.

python examples/av_digits_fusion/table.py [runs/av_digits_fusion]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

RUN = Path(__file__).resolve().parents[2] / "runs/av_digits_fusion"
METRIC = "accuracy"


class Line(NamedTuple):
    """A fusion over its seeds; accuracies and their sample deviations in percent, seconds of one training."""

    fusion: str
    validation: float
    validation_spread: float
    test: float
    test_spread: float
    seconds: float
    parameters: int


def lines(results: dict[str, Any]) -> list[Line]:
    """A line for each model of a results.json, the best on the validation rows first; the test rows order nothing."""
    made = [line(name, model) for name, model in results["models"].items()]
    return sorted(made, key=lambda one: (-one.validation, one.parameters))


def line(name: str, model: dict[str, Any]) -> Line:
    """The means and deviations of one model's runs."""
    runs = model["runs"]
    validation = [100 * run["validation"][METRIC] for run in runs]
    test = [100 * run["metrics"][METRIC] for run in runs]
    seconds = statistics.mean(run["train_seconds"] for run in runs)
    return Line(name, *spread(validation), *spread(test), seconds, model["parameters"])


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample deviation; a single value deviates by nothing."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def markdown(table: list[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [
        f"| {one.fusion} | {one.validation:.1f} ± {one.validation_spread:.1f} | {one.test:.1f} ± {one.test_spread:.1f} "
        f"| {one.seconds:.0f} | {one.parameters:,} |"
        for one in table
    ]
    head = ["| fusion | validation, % | test, % | seconds | parameters |", "| --- | ---: | ---: | ---: | ---: |"]
    return "\n".join(head + rows)


def main(run: Path) -> int:
    """Print the table; 2 when the run is not finished."""
    try:
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        print(f"Error: {run} holds no results.json. Run the recipe first", file=sys.stderr)
        return 2
    table = lines(results)
    print(markdown(table))
    print(f"\nChosen on validation: {table[0].fusion}, {table[0].test:.1f} ± {table[0].test_spread:.1f} % on test.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else RUN))
