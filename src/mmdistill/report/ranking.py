"""The students of several runs in the order of their validation scores, with what their runs say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmdistill.evaluation.multiplicity import holm
from mmdistill.report.objectives import objective_of
from mmdistill.report.results import Gain, Model, Results
from mmdistill.report.run_folder import RunFolder
from mmdistill.report.sections.comparison import retained
from mmdistill.report.sections.gains import VERDICTS
from mmdistill.report.sections.verdict import quotient, tone_of
from mmdistill.report.spread import Spread, spread

LEVEL = 0.05
"""An adjusted p-value below it is a gain, or a loss, that stands among all that are told."""


@dataclass(frozen=True)
class Entrant:
    """A model of a run, with what is compared. Scores are those of the primary metric; times are seconds of one seed.

    Args:
        run: where it comes from.
        name: of the model.
        rank: place by the mean validation score, 1 for the best; entrants of equal scores share one. None without a
            validation score.
        gain: over its baseline; None where none was trained.
        p_adjusted: p-value of the gain, adjusted for all gains that are told.
    """

    run: RunFolder
    name: str
    rank: int | None = None
    gain: Gain | None = None
    p_adjusted: float | None = None

    @property
    def model(self) -> Model:
        """Its entry in the results."""
        return self.run.results.models[self.name]

    @property
    def objective(self) -> list[str]:
        """Names of the losses that it learnt from; empty for teachers and baselines."""
        return objective_of(self.run.recipe_content, self.name) if self.model.role == "student" else []

    @property
    def validation(self) -> Spread | None:
        """Over the seeds."""
        return spread(run.validation.get(self.run.results.primary_metric) for run in self.model.runs)

    @property
    def test(self) -> Spread | None:
        """Over the seeds."""
        return spread(self.model.values(self.run.results.primary_metric))

    @property
    def train_seconds(self) -> Spread | None:
        """Over the seeds."""
        return spread(run.train_seconds for run in self.model.runs)

    @property
    def train_time_ratio(self) -> float | None:
        """Training time as a multiple of its baseline's."""
        if self.gain is None or self.train_seconds is None:
            return None
        baseline = spread(run.train_seconds for run in self.run.results.models[self.gain.baseline].runs)
        return quotient(self.train_seconds.mean, baseline.mean if baseline else None)

    @property
    def retained(self) -> float | None:
        """Test score as a share of the teacher's."""
        return retained(self.run.results, self.name)

    @property
    def verdict(self) -> str | None:
        """`helped`, `hurt` or `no clear difference` by the interval of the gain alone; None without an interval."""
        return VERDICTS[tone_of(self.gain)] if self.gain and self.gain.interval else None

    @property
    def verdict_adjusted(self) -> str | None:
        """The same, where only a gain whose adjusted p-value is below the level counts as clear."""
        if self.verdict is None or self.p_adjusted is None:
            return None
        return self.verdict if self.p_adjusted < LEVEL else VERDICTS["unclear"]


def ranked_students(runs: Sequence[RunFolder]) -> list[Entrant]:
    """Every student of the runs, the best on validation first; those without a validation score come last.

    Test scores play no part in it. Of a run without students the teachers are ranked.
    """
    students = [Entrant(run, name, gain=_gain(run.results, name)) for run in runs for name in _ranked(run.results)]
    return sorted(_with_ranks(_with_adjusted_p(students)), key=_place)


def references(runs: Sequence[RunFolder]) -> list[Entrant]:
    """The teachers and baselines of the runs, which take no part in the ranking."""
    beside = [(run, name) for run in runs for name in run.results.with_role("teacher", "baseline")]
    return [Entrant(run, name) for run, name in beside if name not in _ranked(run.results)]


def _ranked(results: Results) -> list[str]:
    """What a run asks to be compared: its students, or its teachers where it has none."""
    return results.with_role("student") or results.with_role("teacher")


def _gain(results: Results, student: str) -> Gain | None:
    """Its gain over the baseline; that over a control is another question."""
    own = (gain for gain in results.all_gains if gain.student == student and gain.compared_with != "control")
    return next(own, None)


def _with_adjusted_p(students: list[Entrant]) -> list[Entrant]:
    known = [student.gain.p_value for student in students if student.gain and student.gain.p_value is not None]
    adjusted = iter(holm(known))
    return [
        replace(student, p_adjusted=next(adjusted)) if student.gain and student.gain.p_value is not None else student
        for student in students
    ]


def _with_ranks(students: list[Entrant]) -> list[Entrant]:
    """Each with one more than the number of better ones as its rank."""
    scores = [student.validation.mean if student.validation else None for student in students]
    better = _better(students[0].run.results.higher_is_better) if students else None
    ranks = [
        None if score is None or better is None else 1 + sum(better(other, score) for other in scores)
        for score in scores
    ]
    return [replace(student, rank=rank) for student, rank in zip(students, ranks, strict=True)]


def _better(higher_is_better: bool) -> Callable[[float | None, float], bool]:
    sign = 1 if higher_is_better else -1
    return lambda other, score: other is not None and sign * other > sign * score


def _place(student: Entrant) -> tuple[bool, int]:
    return student.rank is None, student.rank or 0
