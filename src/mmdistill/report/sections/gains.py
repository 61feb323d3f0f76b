"""The paired gain of every student over its baseline."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.results import Gain, Results
from mmdistill.report.sections.verdict import Tone, tone_of
from mmdistill.report.table import Cell, Column, Row, Table

VERDICTS: dict[Tone, str] = {"good": "helped", "bad": "hurt", "unclear": "no clear difference"}


def paired(results: Results, gain: Gain) -> list[tuple[int, float, float]]:
    """Seed, score of the student and score of the baseline, for every seed that both have."""
    student, baseline = (
        {run.seed: run.metrics[gain.metric] for run in results.models[name].runs if gain.metric in run.metrics}
        for name in (gain.student, gain.baseline)
    )
    return [(seed, student[seed], baseline[seed]) for seed in student if seed in baseline]


def subject(results: Results, gain: Gain) -> list[str]:
    """Name of the student and, when it is compared with several models, of the one this gain is over."""
    several = sum(other.student == gain.student for other in results.all_gains) > 1
    return [results.label(gain.student), *([f"over {results.label(gain.baseline)}"] if several else [])]


def seed_gains(results: Results, gain: Gain) -> list[float]:
    """The gain of every seed, positive when the student is better."""
    sign = -1.0 if results.higher(gain.metric) is False else 1.0
    return [sign * (student - baseline) for _, student, baseline in paired(results, gain)]


def gains_table(results: Results) -> Table | None:
    """One row a student, or None when no student has a baseline."""
    if not results.all_gains:
        return None
    columns = [
        Column("Student", text=True),
        Column("Compared with", text=True),
        Column("Metric", text=True),
        Column("Gain", "↑"),
        Column("95 % interval"),
        Column("p"),
        Column("Seeds"),
        Column("Verdict", text=True),
    ]
    notes = [
        "A gain is positive when the student is better, whatever the direction of the metric. Its interval resamples "
        "seeds and test rows together.",
        *[gain.verdict for gain in results.all_gains if gain.verdict and gain.verdict != results.verdict],
    ]
    return Table("Gain over the model beside it", columns, [_row(results, gain) for gain in results.all_gains], notes)


def _row(results: Results, gain: Gain) -> Row:
    tone = tone_of(gain)
    verdict = VERDICTS[tone] if gain.interval else "no interval, no claim"
    return Row(
        [
            Cell(results.label(gain.student)),
            Cell(results.label(gain.baseline)),
            Cell(results.metric_label(gain.metric)),
            Cell(numbers.signed(gain.mean), gain.mean, tone=tone),
            Cell(numbers.interval(gain.interval)),
            Cell(numbers.p_value(gain.p_value), gain.p_value),
            Cell(str(gain.pairs), gain.pairs),
            Cell(verdict),
        ],
        styles(results)[gain.student].colour,
    )
