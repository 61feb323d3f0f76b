"""Whether distillation helped: the first thing a reader sees, in words and in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.foremost import key_models
from mmdistill.report.results import Gain, Results
from mmdistill.report.spread import spread

Tone = Literal["good", "bad", "unclear"]


@dataclass(frozen=True)
class Verdict:
    """The verdict.

    Args:
        tone: ``good`` only when the whole interval is above zero.
        badge: two to five words.
        sentence: a plain sentence.
        cautions: what limits the verdict, such as a single seed.
    """

    tone: Tone
    badge: str
    sentence: str
    cautions: list[str]

    @property
    def rest(self) -> str | None:
        """What follows the badge when the sentence begins with it, so that it need not be said twice; else None."""
        return self.sentence[len(self.badge) :] if self.sentence.startswith(self.badge) else None


@dataclass(frozen=True)
class KeyFigure:
    """One number worth a large type. `key` is the colour of the model it is about, or empty."""

    title: str
    text: str
    value: float | None
    note: str = ""
    key: str = ""
    tone: str = ""


def tone_of(gain: Gain | None) -> Tone:
    """``good`` or ``bad`` when the interval excludes zero, else ``unclear``; without an interval nothing is claimed."""
    if gain is None or gain.interval is None:
        return "unclear"
    low, high = gain.interval
    if low > 0:
        return "good"
    return "bad" if high < 0 else "unclear"


def verdict(results: Results) -> Verdict:
    """The verdict on the main student."""
    gain = results.main_gain
    tone = tone_of(gain)
    return Verdict(
        tone, _badge(results, gain, tone), results.verdict or _sentence(results, gain, tone), _cautions(results, gain)
    )


def _badge(results: Results, gain: Gain | None, tone: Tone) -> str:
    if gain is None:
        return "No gain can be claimed" if results.student else "Teachers only"
    if gain.interval is None:
        return "Interval unknown: no claim"
    return {"good": "Distillation helped", "bad": "Distillation hurt", "unclear": "No clear difference"}[tone]


def _sentence(results: Results, gain: Gain | None, tone: Tone) -> str:
    """A sentence for results that bring none."""
    if gain is None:
        return "No gain can be claimed, because no baseline was trained beside the student."
    student, baseline = results.label(gain.student), results.label(gain.baseline)
    metric = results.metric_label(gain.metric)
    if gain.mean is None or gain.interval is None:
        return f"No gain can be claimed: the interval of {student} over {baseline} in {metric} is not known."
    size = f"{numbers.signed(gain.mean)} {metric}, 95 % interval {numbers.interval(gain.interval)}"
    if tone == "good":
        return f"Distillation helped: {student} is better than {baseline} by {size}."
    if tone == "bad":
        return f"Distillation hurt: {student} is worse than {baseline} ({size})."
    return f"No clear difference between {student} and {baseline}: {size}, which includes zero."


def _cautions(results: Results, gain: Gain | None) -> list[str]:
    cautions = []
    if gain is None and results.student is not None:
        cautions.append(
            "Without a baseline (the same student with the same budget and no teacher) nothing here shows what the "
            "teacher added."
        )
    if gain is not None and gain.pairs == 1 and "One seed" not in results.verdict:
        cautions.append("One seed only: how much the gain changes from seed to seed is not known.")
    metric = results.primary_metric
    student = results.student and spread(results.models[results.student].values(metric))
    majority = results.majority.get(metric)
    if student and majority is not None and _not_better(student.mean, majority, results.higher_is_better):
        cautions.append("The student is no better than always answering the most frequent class.")
    return cautions


def _not_better(value: float, reference: float, higher_is_better: bool) -> bool:
    return value <= reference if higher_is_better else value >= reference


def key_figures(results: Results) -> list[KeyFigure]:
    """The gain with its interval, the scores, and how much smaller and faster the student is."""
    figures = [_gain_figure(results)] if results.main_gain and results.main_gain.mean is not None else []
    figures += [_score_figure(results, name) for name in key_models(results)]
    student, teacher = results.student, results.teacher
    if student and teacher:
        figures += _size_figures(results, student, teacher)
    return [figure for figure in figures if figure.value is not None]


def _gain_figure(results: Results) -> KeyFigure:
    gain = results.main_gain
    assert gain is not None
    seeds = f"{gain.pairs} seed{'s' if gain.pairs != 1 else ''}"
    note = f"95 % interval {numbers.interval(gain.interval)}, {seeds}" if gain.interval else f"no interval, {seeds}"
    title = f"{results.metric_label(gain.metric)} gain"
    return KeyFigure(
        title, numbers.signed(gain.mean), gain.mean, note, styles(results)[gain.student].colour, tone_of(gain)
    )


def _score_figure(results: Results, name: str) -> KeyFigure:
    model = results.models[name]
    values = spread(model.values(results.primary_metric))
    if values is None:
        return KeyFigure(results.label(name), numbers.MISSING, None)
    note = results.metric_label(results.primary_metric)
    if values.std is not None:
        note = f"± {numbers.score(values.std)} over {values.count} seeds"
    return KeyFigure(results.label(name), numbers.score(values.mean), values.mean, note, styles(results)[name].colour)


def _size_figures(results: Results, student: str, teacher: str) -> list[KeyFigure]:
    small, large = results.models[student], results.models[teacher]
    figures = []
    compression = results.compression or quotient(large.parameters, small.parameters)
    if compression is not None:
        note = f"{numbers.compact(large.parameters)} → {numbers.compact(small.parameters)} parameters"
        figures.append(KeyFigure("Smaller", numbers.ratio(compression), compression, note))
    slow, fast = large.latency_ms.get("batch_1"), small.latency_ms.get("batch_1")
    faster = quotient(slow, fast)
    if faster is not None:
        note = f"{numbers.significant(slow)} → {numbers.significant(fast)} ms for one row"
        figures.append(KeyFigure("Faster", numbers.ratio(faster), faster, note))
    return figures


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    """The quotient, or None when it means nothing."""
    return None if numerator is None or not denominator else numerator / denominator
