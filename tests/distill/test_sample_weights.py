"""What a row counts, by hand, and how it enters a term."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from mmdistill import catalog
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import Objective
from mmdistill.distill.sample_weights.certainty import confidence, entropy
from mmdistill.distill.sample_weights.correctness import teacher_is_right
from mmdistill.distill.sample_weights.difficulty import difficulty
from mmdistill.distill.sample_weights.ranking import rank_agreement
from mmdistill.distill.sample_weights.subset import subset
from mmdistill.errors import InputError
from mmdistill.recipe.schema import DistillSpec
from mmdistill.tasks.classification import ClassificationTask

# Probabilities of 1/2, 1/4, 1/4 and of 1, 0, 0.
HALF = [math.log(0.5), math.log(0.25), math.log(0.25)]
SURE = [50.0, -50.0, -50.0]
TEACHER = torch.tensor([HALF, SURE])


def assert_equal(values: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float32))


def test_confidence_is_the_largest_probability() -> None:
    assert_equal(confidence(TEACHER), [0.5, 1])
    assert_equal(confidence(TEACHER, power=2), [0.25, 1])
    warm = 2**0.5 / (2**0.5 + 2)
    assert_equal(confidence(TEACHER, temperature=2), [warm, 1])


def test_entropy_is_told_in_shares_of_the_largest() -> None:
    share = 1.5 * math.log(2) / math.log(3)
    assert_equal(entropy(TEACHER), [1 - share, 1])
    assert_equal(entropy(TEACHER, favour="uncertain"), [share, 0])
    assert_equal(entropy(torch.zeros(1, 5)), [0])
    assert_equal(entropy(torch.zeros(2, 1)), [1, 1])


def test_a_teacher_that_is_wrong_does_not_count() -> None:
    target = torch.tensor([0, 1])
    assert_equal(teacher_is_right(TEACHER, target), [1, 0])
    assert_equal(teacher_is_right(TEACHER, target, wrong=0.2), [1, 0.2])
    none = torch.zeros(2, dtype=torch.bool)
    assert_equal(teacher_is_right(TEACHER, target, none, unlabelled=0.5), [0.5, 0.5])


def test_rank_agreement_is_kendalls_tau_between_zero_and_one() -> None:
    teacher = torch.tensor([[3.0, 2.0, 1.0]]).expand(3, 3)
    student = torch.tensor([[9.0, 5.0, 0.0], [0.0, 5.0, 9.0], [5.0, 9.0, 0.0]])
    assert_equal(rank_agreement(student, teacher), [1, 0, 2 / 3])
    assert_equal(rank_agreement(student, teacher, favour="disagreement"), [0, 1, 1 / 3])


def test_difficulty_is_focal() -> None:
    student, target = TEACHER, torch.tensor([1, 0])
    assert_equal(difficulty(student, TEACHER, target), [0.75**2, 0])
    assert_equal(difficulty(student, TEACHER, target, gamma=0), [1, 1])
    # Without a target the teacher's class stands in.
    assert_equal(difficulty(student, TEACHER), [0.25, 0])
    assert_equal(difficulty(student, TEACHER, target, torch.tensor([False, True]), gamma=1), [0.5, 0])
    assert_equal(difficulty(student, TEACHER, measure="teacher_margin", gamma=1), [0.75, 0])


SEEN = torch.tensor([[True, True], [True, False], [False, True], [False, False]])


def test_a_row_counts_by_how_many_columns_the_student_was_not_shown() -> None:
    assert_equal(subset(SEEN, ("image", "sound")), [1, 2, 2, 4])
    assert_equal(subset(SEEN, ("image", "sound"), missing_weight=0.5), [1, 0.5, 0.5, 0.25])


def test_a_row_counts_what_is_stated_for_the_columns_that_the_student_was_shown() -> None:
    weights = {"sound + image": 0.5, "sound": 3.0}
    assert_equal(subset(SEEN, ("image", "sound"), missing_weight=1, weights=weights), [0.5, 1, 3, 1])
    assert_equal(subset(SEEN.flip(1), ("sound", "image"), missing_weight=1, weights=weights), [0.5, 1, 3, 1])


def small_objective(sample_weight: dict[str, Any], **options: Any) -> Objective:
    term = {"name": "kd", "sample_weight": {"name": "subset", **sample_weight}}
    taps = {"image": (4,), "sound": (4,), "fused": (4,), "logits": (3,)}
    return build_objective(
        {"class": ClassificationTask().loss},
        DistillSpec.model_validate({"losses": [term]}),
        student_taps=taps,
        teacher_taps=taps,
        total_steps=10,
        **options,
    )


def loss_of(objective: Objective, present: dict[str, Tensor], outputs: dict[str, Tensor]) -> float:
    """The distillation loss of four rows."""
    batch = {
        "present": present,
        "row": torch.arange(4),
        "target": {"class": torch.zeros(4, dtype=torch.int64)},
        "labelled": {"class": torch.ones(4, dtype=torch.bool)},
    }
    signals = {"logits": torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 5.0]])}
    student = {"logits": torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 0.0]])}
    value: float = objective(batch, student | outputs, signals, 0).parts["kd"].item()
    return value


HAS_ALL = {column: torch.ones(4, dtype=torch.bool) for column in ("image", "sound", "unread")}


@pytest.mark.parametrize("columns", [None, ("image", "sound")])
def test_subset_weights_reach_the_loss_through_what_was_seen(columns: tuple[str, ...] | None) -> None:
    """What the model was shown decides, and where nothing is hidden what the rows have."""
    alone = small_objective({"weights": {"image+sound": 0, "sound": 0}}, student_columns=columns)
    plain = small_objective({"missing_weight": 1.0}, student_columns=columns)
    hidden = loss_of(alone, HAS_ALL, {"seen": SEEN})
    absent = {"image": SEEN[:, 0], "sound": SEEN[:, 1], "unread": HAS_ALL["unread"]}
    assert hidden == pytest.approx(loss_of(alone, absent, {}))
    assert hidden != pytest.approx(loss_of(plain, HAS_ALL, {"seen": SEEN}), rel=1e-3)
    assert loss_of(alone, HAS_ALL, {}) == 0
    assert loss_of(plain, HAS_ALL, {}) == pytest.approx(loss_of(plain, HAS_ALL, {"seen": SEEN}))


@pytest.mark.parametrize("columns", [None, ("image", "sound")])
def test_a_weight_of_a_column_that_the_student_does_not_read_is_refused(columns: tuple[str, ...] | None) -> None:
    with pytest.raises(InputError, match=r"'sond', which the model does not read.*sound"):
        small_objective({"weights": {"sond": 2.0}}, student_columns=columns)
    with pytest.raises(InputError, match="twice"):
        small_objective({"weights": {"image+sound": 2.0, "sound+image": 1.0}}, student_columns=columns)


@pytest.mark.parametrize("options", [{"missing_weight": 0}, {"weights": {"sound": -1}}])
def test_weights_below_zero_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        small_objective(options)


ENTRIES = catalog.entries("sample weight")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_finite_and_not_negative(entry: catalog.Entry, scale: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "student_logits": (torch.randn(6, 4) * scale).to(dtype),
        "teacher_logits": (torch.randn(6, 4) * scale).to(dtype),
        "target": torch.arange(6) % 4,
        "seen": torch.tensor([[True, False], [False, True], [True, True], [False, False], [True, True], [True, False]]),
        "columns": ("image", "sound"),
    }
    function = entry.load()
    takes = function.__code__.co_varnames[: function.__code__.co_argcount]
    weights = function(**{name: value for name, value in given.items() if name in takes})
    assert weights.shape == (6,)
    assert weights.isfinite().all() and (weights >= 0).all()


def test_probabilities_are_those_of_pytorch() -> None:
    logits = torch.randn(5, 7)
    probabilities = F.softmax(logits, dim=1)
    torch.testing.assert_close(
        entropy(logits, favour="uncertain"), torch.distributions.Categorical(probabilities).entropy() / math.log(7)
    )
