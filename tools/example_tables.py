"""Write the tables of scores in the README of every example between their markers, from the runs of its recipes.

    python tools/example_tables.py [--runs runs] [NAME …]

`<!-- scores:begin -->` … `<!-- scores:end -->` takes the run of recipe.yaml, `<!-- scores-<variant>:begin -->` that of
recipe.<variant>.yaml. Runs that are not there are left out and named.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path

from mmdistill.report import numbers
from mmdistill.report.markdown import markdown_table
from mmdistill.report.reading import read_results
from mmdistill.report.results import Model, Results
from mmdistill.report.sections.operating_points import operating_point_summary, operating_point_table
from mmdistill.report.spread import spread

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- (scores(?:-([a-z0-9_]+))?):begin -->\n).*?(<!-- \2:end -->)", re.DOTALL)
RATES = ("sensitivity", "specificity")


def scores(results: Results) -> str:
    """Every metric that the example is about for every subset of columns, the gains, and the operating points."""
    metrics = [results.primary_metric, *(rate for rate in RATES if rate in results.metrics)]
    parts = [subset_scores(results, metric) for metric in metrics]
    parts += [gains(results)] if results.all_gains else []
    points = operating_point_table(results)
    if points is not None:
        parts += [operating_point_summary(results), markdown_table(points)]
    return "\n\n".join([*parts, origin(results)])


def subset_scores(results: Results, metric: str) -> str:
    """A line for every subset of columns, a column for every model that can be scored on it."""
    models = {name: results.models[name] for name in results.ordered}
    subsets = dict.fromkeys(name for model in models.values() for run in model.runs for name in run.modalities)
    lines = [[f"{results.metric_label(metric)}, given", *models]]
    lines += [
        [subset.replace("+", " + "), *(score_on(model, subset, metric) for model in models.values())]
        for subset in sorted(subsets, key=lambda name: -name.count("+"))
    ]
    if metric == results.primary_metric:
        found = [worst(model, metric, results.higher_is_better) for model in models.values()]
        lines += [["*worst of a model's own*", *found]] if any(found) else []
        lines.append(["parameters", *(numbers.count(model.parameters) for model in models.values())])
    return table(lines)


def score_on(model: Model, subset: str, metric: str) -> str:
    """Mean ± deviation over the seeds; empty for a subset that the model is not scored on."""
    return mean([run.modalities[subset].get(metric) for run in model.runs if subset in run.modalities])


def worst(model: Model, metric: str, higher_is_better: bool) -> str:
    """The worst subset of every seed, as mean ± deviation; empty for a model of one column."""
    if any(len(run.modalities) < 2 for run in model.runs):
        return ""
    choose = min if higher_is_better else max
    found = [[scores[metric] for scores in run.modalities.values() if metric in scores] for run in model.runs]
    return mean([choose(values) for values in found if values])


def mean(values: list[float | None]) -> str:
    """Mean ± deviation of the values that are there."""
    found = spread(values)
    if found is None:
        return ""
    around = "" if found.std is None else f" ± {numbers.score(found.std)}"
    return f"{numbers.score(found.mean)}{around}"


def gains(results: Results) -> str:
    """A line for every student and the model beside it."""
    lines = [["student", "over", "gain", "95 % interval"]]
    for gain in results.all_gains:
        low, high = gain.interval or (None, None)
        interval = f"{numbers.signed(low)} to {numbers.signed(high)}"
        lines.append([gain.student, gain.baseline, numbers.signed(gain.mean), interval])
    return table(lines)


def origin(results: Results) -> str:
    """How the figures came about."""
    seeds = max(len(model.runs) for model in results.models.values())
    seconds = sum(results.seconds.values())
    rows = results.data.splits["test"].rows if results.data is not None and "test" in results.data.splits else None
    tested = "" if rows is None else f", {numbers.count(rows)} test rows"
    return (
        f"Means ± sample deviation over {seeds} seeds{tested}. The run took {numbers.duration(seconds)} in all, the "
        f"training of one student {numbers.duration(student_seconds(results))}."
    )


def student_seconds(results: Results) -> float | None:
    """Median seconds that a seed of a student is trained."""
    found = [run.train_seconds for name in results.with_role("student") for run in results.models[name].runs]
    known = [seconds for seconds in found if seconds is not None]
    return statistics.median(known) if known else None


def table(lines: list[list[str]]) -> str:
    """A Markdown table; the first line is its header, the first column text."""
    header, *rows = lines
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])


def write(readme: Path, runs: Path) -> None:
    """Write the tables of one README."""

    def filled(match: re.Match[str]) -> str:
        name = f"{readme.parent.name}-{match[3]}" if match[3] else readme.parent.name
        path = runs / name / "results.json"
        if not path.exists():
            print(f"left out, not run: {name}", file=sys.stderr)
            return match[0]
        return f"{match[1]}{scores(read_results(path))}\n{match[4]}"

    before = readme.read_text(encoding="utf-8")
    after = MARKED.sub(filled, before)
    if after != before:
        readme.write_text(after, encoding="utf-8")


def main() -> None:
    """Write the tables of the examples named, or of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="folders of examples/; all when left out")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    given = parser.parse_args()
    for readme in sorted((ROOT / "examples").glob("*/README.md")):
        if not given.names or readme.parent.name in given.names:
            write(readme, given.runs)


if __name__ == "__main__":
    main()
