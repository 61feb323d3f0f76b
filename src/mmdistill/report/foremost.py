"""Which models come first where there is no room for all of them."""

from __future__ import annotations

from collections.abc import Collection

from mmdistill.report.results import Results
from mmdistill.report.spread import spread


def key_models(results: Results) -> list[str]:
    """Teacher, student and baseline of the verdict, as far as they exist; without a student the best teacher."""
    teacher = results.teacher if results.student else _best_teacher(results)
    return [name for name in (teacher, results.student, results.baseline) if name]


def foremost(results: Results, names: Collection[str], most: int) -> list[str]:
    """The names in reading order: all of them, or where there are more than `most` the key models among them and those
    that are best on validation.

    Models without a score on validation come last.
    """
    ordered = [name for name in results.ordered if name in names]
    if len(ordered) <= most:
        return ordered
    key, scores = key_models(results), _validation_scores(results)
    ranked = sorted(ordered, key=lambda name: (name not in key, -scores.get(name, float("-inf"))))
    return [name for name in ordered if name in ranked[:most]]


def among(shown: Collection[str], names: Collection[str]) -> str:
    """What to say behind a title when not all of the names are shown; empty when they are."""
    return "" if len(shown) == len(names) else f" ({len(shown)} of {len(names)} models, the best on validation)"


def _best_teacher(results: Results) -> str | None:
    """The teacher with the best mean score on validation, the first of equals; any teacher where none is known."""
    scores = _validation_scores(results)
    known = [name for name in results.with_role("teacher") if name in scores]
    return max(known, key=scores.__getitem__) if known else results.teacher


def _validation_scores(results: Results) -> dict[str, float]:
    """Mean score on validation in the primary metric over the seeds, higher for better, of models that have one."""
    sign = 1.0 if results.higher_is_better else -1.0
    found = {
        name: spread(run.validation.get(results.primary_metric) for run in model.runs)
        for name, model in results.models.items()
    }
    return {name: sign * values.mean for name, values in found.items() if values is not None}
