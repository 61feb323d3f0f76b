"""Several runs side by side: their students ranked on validation, with the test score and the gain beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from mmdistill.errors import InputError
from mmdistill.report import numbers
from mmdistill.report.markdown import markdown_table, plain
from mmdistill.report.ranking import LEVEL, Entrant, ranked_students, references
from mmdistill.report.results import Results
from mmdistill.report.run_folder import RunFolder, read_run_folder
from mmdistill.report.sections.verdict import tone_of
from mmdistill.report.spread import Spread
from mmdistill.report.table import Cell, Column, Row, Table, arrow, score_cell, without_empty_columns
from mmdistill.report.terminal import FittedTable


@dataclass(frozen=True)
class Comparison:
    """Runs of the same task and primary metric. Printed by rich as a table.

    Args:
        runs: in the order in which they were named.
        students: all of theirs, ranked by the mean validation score.
        references: their teachers and baselines.
    """

    runs: list[RunFolder]
    students: list[Entrant]
    references: list[Entrant]

    def table(self) -> Table:
        """One row a student, the best on validation first; below them, set apart, the teachers and baselines."""
        first = self.runs[0].results
        metric, direction = first.metric_label(first.primary_metric), arrow(first.higher_is_better)
        columns = [
            Column("Model", text=True),
            Column("Losses", text=True),
            Column(f"Validation: {metric}", direction),
            Column(f"Test: {metric}", direction),
            Column("Gain", "↑"),
            Column("95 % interval"),
            Column("Verdict", text=True),
            Column("p (Holm)"),
            Column("Training time", "↓"),
            Column("× baseline", "↓"),
            Column("Parameters", "↓"),
            Column("Latency, 1 row (ms)", "↓"),
            Column("Retained", "↑"),
            Column("Seeds"),
            Column("Reads", text=True),
        ]
        rows = [self._row(entrant) for entrant in (*self.students, *self.references)]
        return without_empty_columns(Table("Ranked on validation", columns, rows))

    def _row(self, entrant: Entrant) -> Row:
        model, gain = entrant.model, entrant.gain
        place = "" if entrant.rank is None else f"{entrant.rank}.\u00a0"  # stays on one line with the name
        time, latency = entrant.train_seconds, model.latency_ms.get("batch_1")
        stands = entrant.verdict == entrant.verdict_adjusted or entrant.verdict_adjusted is None
        cells = [
            Cell(f"{place}{self.name_of(entrant)}"),
            Cell(" + ".join(entrant.objective)),
            score_cell(entrant.validation),
            score_cell(entrant.test),
            Cell(numbers.signed(gain.mean), gain.mean, tone=tone_of(gain)) if gain else Cell(numbers.MISSING),
            Cell(numbers.interval(gain.interval if gain else None)),
            Cell(entrant.verdict or "", note="" if stands else "alone"),
            Cell(numbers.p_value(entrant.p_adjusted), entrant.p_adjusted),
            Cell(numbers.duration(time.mean if time else None), time.mean if time else None),
            Cell(numbers.ratio(entrant.train_time_ratio), entrant.train_time_ratio),
            Cell(numbers.compact(model.parameters), model.parameters),
            Cell(numbers.significant(latency), latency),
            Cell(numbers.percent(entrant.retained), entrant.retained),
            Cell(str(len(model.runs)), len(model.runs)),
            Cell(" + ".join(model.columns)),
        ]
        return Row(cells, quiet=model.role != "student")

    def name_of(self, entrant: Entrant) -> str:
        """The model's name, with its run in front where there are several, by its path where they are called alike."""
        if len(self.runs) == 1:
            return entrant.name
        names = [run.path.name for run in self.runs]
        alike = len(set(names)) < len(names)
        return f"{entrant.run.path if alike else entrant.run.path.name}/{entrant.name}"

    def cautions(self) -> list[str]:
        """What has to be known to read the table."""
        return [caution for caution in (*_about_scores(self), *_about_gains(self.students), _TIMES) if caution]

    def to_json(self) -> dict[str, Any]:
        """The same for machines: numbers at full precision, null where something is not known."""
        first = self.runs[0].results
        return {
            "task": first.task,
            "primary_metric": first.primary_metric,
            "higher_is_better": first.higher_is_better,
            "ranked_on": "validation",
            "gains_tested": sum(student.p_adjusted is not None for student in self.students),
            "students": [_json(student) for student in self.students],
            "references": [_json(reference) for reference in self.references],
            "cautions": self.cautions(),
        }

    def to_markdown(self) -> str:
        """The table and the cautions as Markdown."""
        cautions = "\n".join(f"- {plain(caution)}" for caution in self.cautions())
        return f"{markdown_table(self.table())}\n\n{cautions}\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(FittedTable(self.table()), *[Text(caution, style="dim") for caution in self.cautions()])


_TIMES = (
    "Training time is that of one seed, as its run measured it; it can be compared where the machine was alike and had "
    "nothing else to do."
)


def compare(run_folders: Sequence[Path]) -> Comparison:
    """Read several finished runs and rank their students on validation. A folder that is named twice is read once.

    Raises:
        InputError: when there is no folder, one is not finished, or the runs have other tasks or primary metrics.
    """
    if not run_folders:
        raise InputError("There is no run to compare", fix="Name one run folder or more")
    runs = [
        read_run_folder(folder) for folder in {Path(folder).resolve(): Path(folder) for folder in run_folders}.values()
    ]
    for run in runs[1:]:
        _refuse_other(runs[0], run)
    return Comparison(runs, ranked_students(runs), references(runs))


def _refuse_other(first: RunFolder, run: RunFolder) -> None:
    expected = _must_agree(first.results)
    for what, found in _must_agree(run.results).items():
        if expected[what] != found:
            raise InputError(
                f"The runs cannot be compared: the {what} is {found!r}, and that of {first.path} is {expected[what]!r}",
                where=str(run.path),
                fix="Compare runs of the same task and primary metric",
            )


def _must_agree(results: Results) -> dict[str, Any]:
    return {"task": results.task, "primary metric": results.primary_metric, "direction": results.higher_is_better}


def _about_scores(comparison: Comparison) -> Iterator[str]:
    ranked = [student for student in comparison.students if student.rank is not None]
    if len(ranked) > 1:
        yield (
            f"{len(ranked)} students were ranked on the mean of their validation scores. The first of many owes part "
            "of its place to chance: its validation score is too good, and those behind it may be no worse (Cawley and "
            "Talbot, JMLR 11, 2010). Choose by validation and read the test score of that one; the largest number of "
            "the test column is no result."
        )
    unranked = [comparison.name_of(student) for student in comparison.students if student.rank is None]
    if unranked:
        yield f"Not ranked, for want of a validation score: {', '.join(unranked)}."
    held_out = {
        (data.identity.get("table"), data.identity.get("held_out"))
        for run in comparison.runs
        if (data := run.results.data) is not None and data.identity
    }
    if len(held_out) > 1:
        yield (
            "The runs do not hold out the same rows of the same table: a higher score in one of them may be a matter "
            "of its rows."
        )
    counts = {len(student.model.runs) for student in comparison.students}
    spreads = "± is the sample standard deviation over seeds." if max(counts, default=0) > 1 else ""
    one = "Where there is one seed, nothing is known of how much another would change." if 1 in counts else ""
    yield " ".join(part for part in (spreads, one) if part)


def _about_gains(students: Sequence[Entrant]) -> Iterator[str]:
    tested = [student for student in students if student.p_adjusted is not None]
    if len(tested) < 2:
        return
    helped, stand = (
        sum(verdict == "helped" for verdict in verdicts)
        for verdicts in ([one.verdict for one in tested], [one.verdict_adjusted for one in tested])
    )
    yield (
        f"A gain is over the student's own baseline, on test rows, and its verdict is that of its interval alone. "
        f"{len(tested)} gains are told here, so that some may look clear by chance: p is adjusted for all of them by "
        f"Holm's method (Scandinavian Journal of Statistics 6, 1979). {helped} helped by their intervals, {stand} also "
        f"with an adjusted p below {LEVEL}; a verdict that does not stand so is marked (alone)."
    )
    draws = [student.gain.resamples for student in tested if student.gain and student.gain.resamples]
    least = min((2 / (count + 1) for count in draws), default=0.0)
    if least * len(tested) >= LEVEL:
        yield (
            f"No p can be smaller here than {numbers.significant(least)}, as an interval has at most {max(draws):,} "
            f"resamples: among {len(tested)} gains none could pass. Set evaluation.resamples to "
            f"{round(4 * len(tested) / LEVEL):,} or more."
        )


def _json(entrant: Entrant) -> dict[str, Any]:
    model, gain, interval = entrant.model, entrant.gain, entrant.gain.interval if entrant.gain else None
    return {
        "rank": entrant.rank,
        "folder": str(entrant.run.path),
        "run": entrant.run.results.name,
        "model": entrant.name,
        "label": entrant.run.results.label(entrant.name),
        "role": model.role,
        "columns": model.columns,
        "losses": entrant.objective,
        "validation": _spread_json(entrant.validation),
        "test": _spread_json(entrant.test),
        "seeds": [run.seed for run in model.runs],
        "baseline": gain.baseline if gain else None,
        "gain": gain.mean if gain else None,
        "ci95": list(interval) if interval else None,
        "p_value": gain.p_value if gain else None,
        "p_adjusted": entrant.p_adjusted,
        "verdict": entrant.verdict,
        "verdict_adjusted": entrant.verdict_adjusted,
        "retained": entrant.retained,
        "train_seconds": _spread_json(entrant.train_seconds),
        "train_time_ratio": entrant.train_time_ratio,
        "parameters": model.parameters,
        "megabytes": model.megabytes,
        "latency_ms": dict(model.latency_ms),
    }


def _spread_json(values: Spread | None) -> dict[str, Any] | None:
    return None if values is None else {"mean": values.mean, "std": values.std}
