"""Write the tables of measured results between their markers: README.md, README.zh-CN.md, docs/article.md,
docs/comparison.md and, by `example_tables.py`, the README of every example.

    python tools/make_results.py [--runs runs]

Every figure comes from the `results.json` of a run that a command of the table made; runs that are not there are left
out and named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from mmdistill import catalog
from mmdistill.losses.entry import LossEntry
from mmdistill.report import numbers
from mmdistill.report.compare import Comparison, compare
from mmdistill.report.objectives import SUPERVISED
from mmdistill.report.ranking import Entrant

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import example_tables  # noqa: E402

EXAMPLES = {
    "demo": "make demo",
    "av_digits": "make example NAME=av_digits",
    "reviews": "make example NAME=reviews",
    "article": "make example NAME=article",
    "covid_xray": "make example NAME=covid_xray",
    "mosi": "make example NAME=mosi",
    "nlvr": "make example NAME=nlvr",
    "easy_vqa": "make example NAME=easy_vqa",
}
"""Run → its command. `av_digits_fusion` trains teachers alone: it has no gain to list, and a table on its own page."""
ARTICLE = {
    "article": "KD, T = 4, with targets",
    "article-mse": "MSE of logits only",
    "article-sgd": "KD, plain gradient descent",
}
ENGLISH = ["command", "student reads", "metric", "teacher", "student", "baseline", "gain (95 % interval)", "parameters"]
CHINESE = ["命令", "学生读取", "指标", "教师", "学生", "基线", "增益（95 % 区间）", "参数量之比"]
COMPARED = "av_digits_losses"
KINDS = ["what is compared", "students", "helped", "hurt", "no clear difference", "best on validation", "median"]
NORM = "gradient_norm"
WEAK = 0.1
TEXTBOOK = ["what is learnt", "teacher", "student", "baseline", "gain in points (95 % interval)", "verdict"]


def mean(model: dict[str, Any], metric: str) -> float:
    """Mean of a metric over the seeds."""
    return statistics.fmean(run["metrics"][metric] for run in model["runs"])


def example_rows(runs: Path) -> list[list[str]]:
    """A line for every student of every example that was run."""
    rows = []
    for name, command in EXAMPLES.items():
        results = read(runs, name)
        for gain in results["gains"] if results else []:
            models, metric = results["models"], results["primary_metric"]
            student, baseline = models[gain["student"]], models[gain["baseline"]]
            scores = [f"{mean(model, metric):.3f}" for model in (models["teacher"], student, baseline)]
            ratio = models["teacher"]["parameters"] / student["parameters"]
            change = f"{gain['mean']:+.3f} ({gain['ci95'][0]:+.3f} to {gain['ci95'][1]:+.3f})"
            columns = ", ".join(student["columns"])
            rows.append([f"`{command}`", columns, metric, *scores, change, f"1/{ratio:.0f}"])
    return rows


def article_rows(runs: Path) -> list[list[str]]:
    """A line for every variant of the textbook exercise."""
    rows = []
    for name, what in ARTICLE.items():
        results = read(runs, name)
        if results:
            models, gain = results["models"], results["gain"]
            scores = [f"{mean(models[model], 'accuracy'):.2%}" for model in ("teacher", "student", "baseline")]
            low, high = (100 * end for end in gain["ci95"])
            verdict = "helped" if low > 0 else "hurt" if high < 0 else "no clear difference"
            rows.append([what, *scores, f"{100 * gain['mean']:+.2f} ({low:+.2f} to {high:+.2f})", verdict])
    return rows


def kind_of(student: Entrant) -> str:
    """What the loss of a student compares, by what the catalog says of it."""
    name = next(loss for loss in student.objective if loss != SUPERVISED).partition(" ")[0]
    entry = catalog.get("loss", name)
    assert isinstance(entry, LossEntry)
    if "target" in entry.needs:
        return "logits of the rows with a target"
    kinds = {argument.rpartition("_")[2] for argument in entry.needs}
    if kinds & {"maps", "stages"}:
        return "maps"
    if "features" in kinds:
        # Losses that take any two widths compare rows with each other, unless they bring a regressor of their own.
        return "features" if entry.equal_widths or entry.family == "features" else "relations of features"
    return "logits of every row"


def kind_rows(comparison: Comparison) -> list[list[str]]:
    """A line for every kind of loss, the best median validation score first; verdicts are the adjusted ones."""
    kinds: dict[str, list[Entrant]] = {}
    for student in comparison.students:
        kinds.setdefault(kind_of(student), []).append(student)
    lines = []
    for kind, students in kinds.items():
        verdicts = [student.verdict_adjusted for student in students]
        scores = [student.validation.mean for student in students if student.validation]
        counts = [str(verdicts.count(word)) for word in ("helped", "hurt", "no clear difference")]
        best, median = max(scores), statistics.median(scores)
        lines.append((median, [kind, str(len(students)), *counts, numbers.score(best), numbers.score(median)]))
    return [line for _, line in sorted(lines, key=lambda one: one[0], reverse=True)]


def gradients(comparison: Comparison) -> str:
    """The students whose loss on the teacher hardly pulls, by the gradient norms that their runs logged."""
    ratios = {student.name: ratio for student in comparison.students if (ratio := gradient_ratio(student)) is not None}
    weak = sorted((name for name in ratios if ratios[name] < WEAK), key=lambda name: ratios[name])
    listed = ", ".join(f"`{name}` {ratios[name]:.2g}" for name in weak)
    return (
        f"Norm of the gradient of the loss on the teacher over that of the loss on the targets, each with its weight, "
        f"median over training, where it is below {WEAK}: {listed or 'none'}."
    )


def gradient_ratio(student: Entrant) -> float | None:
    """Median over training and seeds of the distillation term's gradient norm over the supervised one's."""
    ratios = []
    for history in student.run.histories.get(student.name, {}).values():
        norms = {name: values for name, values in history.columns.items() if name.endswith(f"/{NORM}")}
        supervised = norms.pop(f"{SUPERVISED}/{NORM}", None)
        if supervised and len(norms) == 1:
            (term,) = norms.values()
            ratios += [own / other for own, other in zip(term, supervised, strict=True) if own >= 0 and other > 0]
    return statistics.median(ratios) if ratios else None


def machine(comparison: Comparison) -> str:
    """Where and how long the run took, as it noted itself."""
    (run,) = comparison.runs
    known, spent = run.environment, run.results.seconds
    teacher, evaluation, whole = (
        numbers.duration(seconds) for seconds in (spent["teacher"], spent["evaluation"], sum(spent.values()))
    )
    return (
        f"Measured with mmdistill {run.results.version} and PyTorch {known['versions']['torch']} on a machine with "
        f"{known['cpu_count']} cores ({known['processor']}, {known['platform'].split('-')[0]}), of which the run used "
        f"{known['threads']}: {whole} from preparation to the last score, {teacher} of them for the teacher and "
        f"{evaluation} for the evaluation."
    )


def read(runs: Path, name: str) -> dict[str, Any]:
    """The results of a run; empty when it was not made."""
    path = runs / name / "results.json"
    if not path.exists():
        print(f"left out, not run: {name}", file=sys.stderr)
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put(path: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker:begin -->` and `<!-- marker:end -->`."""
    content = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, _, rest = content.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Write all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    runs = parser.parse_args().runs
    examples, article = example_rows(runs), article_rows(runs)
    put(ROOT / "README.md", "results", markdown(ENGLISH, examples))
    put(ROOT / "README.zh-CN.md", "results", markdown(CHINESE, examples))
    put(ROOT / "docs" / "article.md", "article", markdown(TEXTBOOK, article))
    for readme in sorted((ROOT / "examples").glob("*/README.md")):
        example_tables.write(readme, runs)
    if read(runs, COMPARED):
        compared = compare([runs / COMPARED])
        page = ROOT / "docs" / "comparison.md"
        put(page, "ranking", compared.to_markdown().rstrip())
        put(page, "kinds", markdown(KINDS, kind_rows(compared)))
        put(page, "gradients", gradients(compared))
        put(page, "machine", machine(compared))


if __name__ == "__main__":
    main()
