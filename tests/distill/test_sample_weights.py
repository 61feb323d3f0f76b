"""What a row counts, by hand, and how it enters a term."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import catalog
from mmdistill.distill.sample_weights.certainty import confidence, entropy
from mmdistill.distill.sample_weights.correctness import teacher_is_right
from mmdistill.distill.sample_weights.difficulty import difficulty
from mmdistill.distill.sample_weights.ranking import rank_agreement

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
