"""Agreement of student and teacher."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from mmdistill.errors import MMDistillError
from mmdistill.evaluation import agreement as module
from mmdistill.evaluation.agreement import agreement, kendall, spearman

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.standard_normal((30, 6)), RNG.standard_normal((30, 6))


def test_a_copy_of_the_teacher_agrees_fully() -> None:
    found = agreement(TEACHER, TEACHER, RNG.integers(0, 6, 30))
    assert found["top1"] == found["top1_teacher_right"] == found["top1_teacher_wrong"] == 1.0
    assert found["kl"] == 0.0
    assert found["spearman"] == pytest.approx(1)
    assert found["kendall"] == pytest.approx(1)


def test_kl_is_that_of_torch() -> None:
    student, teacher = (torch.from_numpy(values).log_softmax(-1) for values in (STUDENT, TEACHER))
    expected = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    assert agreement(STUDENT, TEACHER)["kl"] == pytest.approx(expected.item())


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_are_those_of_scipy(ties: bool) -> None:
    student, teacher = (STUDENT.round(), TEACHER.round()) if ties else (STUDENT, TEACHER)
    for ours, theirs in ((spearman, stats.spearmanr), (kendall, stats.kendalltau)):
        expected = [theirs(*pair).statistic for pair in zip(student, teacher, strict=True)]
        np.testing.assert_allclose(ours(student, teacher), expected, atol=1e-12)


def test_blocks_do_not_change_kendall(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kendall(STUDENT, TEACHER)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 40)
    np.testing.assert_array_equal(kendall(STUDENT, TEACHER), whole)


def test_with_many_classes_kendall_looks_at_some_rows_and_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KENDALL_PAIRS", 36 * 4)
    found = agreement(STUDENT, TEACHER)
    assert found["kendall_rows"] == 4
    assert found["kendall"] == pytest.approx(kendall(STUDENT, TEACHER)[[0, 10, 19, 29]].mean())


def test_agreement_where_the_teacher_is_right_and_where_it_is_wrong() -> None:
    teacher, student = np.eye(3)[[0, 1, 2, 0, 1]], np.eye(3)[[0, 2, 2, 0, 0]]
    found = agreement(student, teacher, np.array([0, 1, 2, 1, -1]))
    assert found["top1"] == pytest.approx(3 / 5)
    assert found["top1_teacher_right"] == pytest.approx(2 / 3)
    assert found["top1_teacher_wrong"] == 1.0


def test_a_row_of_equal_logits_has_no_rank_correlation() -> None:
    flat = STUDENT.copy()
    flat[0] = 1.0
    found = agreement(flat, TEACHER)
    assert found["spearman"] == pytest.approx(spearman(STUDENT[1:], TEACHER[1:]).mean())
    assert agreement(np.ones((2, 3)), TEACHER[:2, :3])["kendall"] is None


def test_nothing_to_compare_is_null() -> None:
    found = agreement(STUDENT[:0], TEACHER[:0], np.zeros(0, dtype=np.int64))
    assert found["top1"] is None
    assert found["rows"] == 0
    json.dumps(found, allow_nan=False)


def test_shapes_that_differ_are_named() -> None:
    with pytest.raises(MMDistillError, match=r"\(30, 6\).*\(30, 5\)"):
        agreement(STUDENT, TEACHER[:, :5])
