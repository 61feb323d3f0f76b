"""What is particular to losses on a teacher's largest logits: what is exact, and where DistillKit differs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.truncation import truncate_logits


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 7), logits(6, 7, seed=1)
ALL = ("topk_kl", "topk_jsd", "topk_tvd", "topk_hinge", "topk_logistic_ranking")
DIVERGENCES = ALL[:3]


def loss(name: str, *arguments: Any, **options: Any) -> Tensor:
    result: Tensor = getattr(functional, name)(*arguments, **options)
    return result


def stored(k: int) -> dict[str, Tensor]:
    truncated = truncate_logits(TEACHER, k)
    return {f"teacher_{name}": value for name, value in truncated._asdict().items()}


# Truncation


def test_truncation_by_hand() -> None:
    dense = torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log()
    values, indices, log_remainder = truncate_logits(dense, 2)
    assert indices.tolist() == [[1, 3]]
    torch.testing.assert_close(values.exp(), torch.tensor([[0.6, 0.25]]))
    torch.testing.assert_close(log_remainder.exp(), torch.tensor([0.15]))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.sampled_from([1.0, 100.0, 1e4]))
def test_no_weight_is_lost(k: int, scale: float) -> None:
    dense = logits(4, 3, 7, seed=2) * scale
    values, _, log_remainder = truncate_logits(dense, k)
    whole = torch.cat((values, log_remainder[..., None]), dim=-1).logsumexp(-1)
    torch.testing.assert_close(whole, dense.logsumexp(-1))


def test_a_truncation_of_everything_leaves_nothing() -> None:
    values, _, log_remainder = truncate_logits(TEACHER, 100)
    assert values.shape == TEACHER.shape
    assert log_remainder.exp().eq(0).all()


def test_a_truncation_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="At least one"):
        truncate_logits(TEACHER, 0)


# Dense and stored teachers


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("k", [2, 4, 7])
def test_a_stored_teacher_teaches_what_the_dense_one_does(name: str, k: int) -> None:
    options = {"temperature": 3.0} if name in DIVERGENCES else {}
    dense = loss(name, STUDENT, TEACHER, k=k, **options)
    torch.testing.assert_close(loss(name, STUDENT, **stored(k), **options), dense)
    torch.testing.assert_close(loss(name, STUDENT, STUDENT, **stored(k), **options), dense)  # stored ones win


@pytest.mark.parametrize("name", ["topk_kl", "topk_hinge"])
def test_logits_and_log_probabilities_are_the_same_teacher(name: str) -> None:
    expected = loss(name, STUDENT, **stored(3))
    mass = TEACHER.logsumexp(-1)
    shifted = stored(3)
    shifted["teacher_values"] = shifted["teacher_values"] - mass[:, None]
    shifted["teacher_log_remainder"] = shifted["teacher_log_remainder"] - mass
    torch.testing.assert_close(loss(name, STUDENT, **shifted), expected)


@pytest.mark.parametrize("name", [*DIVERGENCES, "topk_logistic_ranking"])
def test_entries_that_are_not_there_do_not_count(name: str) -> None:
    """A row that has fewer than k classes is filled up with −∞."""
    short = stored(3)
    filled = {
        "teacher_values": torch.cat((short["teacher_values"], torch.full((6, 1), -torch.inf)), dim=-1),
        "teacher_indices": torch.cat((short["teacher_indices"], truncate_logits(TEACHER, 4).indices[:, 3:]), dim=-1),
    }
    nothing = torch.full((6,), -torch.inf)
    options = {"remainder": "zero"} if name in DIVERGENCES else {}
    expected = loss(name, STUDENT, **{**short, "teacher_log_remainder": nothing}, **options)
    torch.testing.assert_close(loss(name, STUDENT, **filled, teacher_log_remainder=nothing, **options), expected)


def test_the_modules_take_a_stored_teacher_by_name() -> None:
    module = losses.TopKKL(k=3)
    torch.testing.assert_close(module(STUDENT, **stored(3)), functional.topk_kl(STUDENT, TEACHER, k=3))


def test_stored_half_precision_and_short_integers_are_taken() -> None:
    small = stored(3)
    small["teacher_values"] = small["teacher_values"].half()
    small["teacher_indices"] = small["teacher_indices"].int()
    torch.testing.assert_close(
        functional.topk_kl(STUDENT, **small), functional.topk_kl(STUDENT, TEACHER, k=3), rtol=1e-2, atol=1e-2
    )


# What is exact


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_with_all_classes_it_is_the_divergence_over_all_classes(temperature: float) -> None:
    options = {"k": 7, "temperature": temperature}
    torch.testing.assert_close(
        functional.topk_kl(STUDENT, TEACHER, **options), functional.kd(STUDENT, TEACHER, temperature=temperature)
    )
    ours, theirs = (STUDENT / temperature).softmax(-1), (TEACHER / temperature).softmax(-1)
    distance = temperature**2 * 0.5 * (ours - theirs).abs().sum(-1).mean()
    torch.testing.assert_close(functional.topk_tvd(STUDENT, TEACHER, **options), distance)
    mean = 0.5 * (ours + theirs)
    jensen = 0.5 * ((theirs * (theirs / mean).log()).sum(-1) + (ours * (ours / mean).log()).sum(-1)).mean()
    torch.testing.assert_close(functional.topk_jsd(STUDENT, TEACHER, **options), temperature**2 * jensen)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_it_never_exceeds_the_divergence_over_all_classes_and_grows_with_k(name: str) -> None:
    found = torch.stack([loss(name, STUDENT, TEACHER, k=k) for k in range(1, 8)])
    assert (found.diff() >= -1e-12).all()


def test_one_outcome_by_hand() -> None:
    teacher, student = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.2, 0.4, 0.4]]).log()
    expected = 0.6 * torch.tensor(3.0).log() + 0.4 * torch.tensor(0.5).log()
    torch.testing.assert_close(functional.topk_kl(student, teacher, k=1), expected)
    torch.testing.assert_close(functional.topk_tvd(student, teacher, k=1), torch.tensor(0.4))


def test_the_rest_is_pushed_as_a_whole() -> None:
    student = STUDENT.clone().requires_grad_()
    functional.topk_kl(student, TEACHER, k=3).backward()
    kept = truncate_logits(TEACHER, 3).indices
    rest = torch.ones_like(STUDENT, dtype=torch.bool).scatter(-1, kept, value=False)
    share = STUDENT.masked_fill(~rest, -torch.inf).softmax(-1)
    assert student.grad is not None
    total = student.grad.masked_fill(~rest, 0).sum(-1, keepdim=True)
    torch.testing.assert_close(student.grad.masked_fill(~rest, 0), total * share)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("remainder", ["one_outcome", "dropped"])
def test_a_student_equal_to_its_teacher_has_no_loss_at_any_temperature(name: str, remainder: str) -> None:
    assert loss(name, TEACHER, TEACHER, k=3, temperature=4.0, remainder=remainder).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("remainder", ["zero", "symmetric_uniform"])
def test_the_forms_of_distillkit_have_a_loss_at_equality(remainder: str) -> None:
    """`zero` drops the teacher's tail and not the student's; `symmetric_uniform` softens the two tails differently."""
    assert functional.topk_kl(TEACHER, TEACHER, k=3, temperature=4.0, remainder=remainder) > 0.01


def test_symmetric_uniform_is_one_outcome_at_temperature_one_only() -> None:
    for temperature, same in ((1.0, True), (2.0, False)):
        pair = [
            functional.topk_kl(STUDENT, TEACHER, k=3, temperature=temperature, remainder=remainder)
            for remainder in ("one_outcome", "symmetric_uniform")
        ]
        assert torch.isclose(*pair).item() is same


@pytest.mark.parametrize("remainder", ["zero", "symmetric_uniform"])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_forms_of_distillkit_stay_finite(name: str, remainder: str) -> None:
    signs = torch.where(STUDENT > 0, 1e4, -1e4).float()
    for teacher in (-signs, signs, torch.zeros_like(signs)):
        student = signs.clone().requires_grad_()
        value = loss(name, student, teacher, k=2, remainder=remainder)
        value.backward()
        assert torch.isfinite(value)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_zero_scales_the_teacher_up_to_one() -> None:
    values, indices, _ = truncate_logits(TEACHER, 3)
    theirs, ours = values.log_softmax(-1), STUDENT.log_softmax(-1).gather(-1, indices)
    expected = (theirs.exp() * (theirs - ours)).sum(-1).mean()
    torch.testing.assert_close(functional.topk_kl(STUDENT, TEACHER, k=3, remainder="zero"), expected)


# Rankings


def test_hinge_without_margin_asks_for_the_teachers_lead() -> None:
    assert functional.topk_hinge(TEACHER, TEACHER, k=4).item() == 0
    assert functional.topk_hinge(TEACHER, TEACHER, k=4, margin=0.5) > 0
    teacher, student = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.3, 0.6, 0.1]]).log()
    torch.testing.assert_close(functional.topk_hinge(student, teacher, k=2), torch.tensor(0.5 + 0.3))


def test_rankings_pass_over_ties() -> None:
    teacher = torch.tensor([[1.0, 1.0, 0.0]])
    student = torch.tensor([[3.0, -3.0, 0.0]])
    expected = 0.5 * (torch.tensor([-3.0, 3.0]).exp().log1p()).sum()
    torch.testing.assert_close(functional.topk_logistic_ranking(student, teacher, k=3), expected)
    level = torch.zeros(2, 3)
    for name in ALL[3:]:
        assert loss(name, student.expand(2, 3), level, k=3).item() == 0


def test_the_order_alone_matters_to_the_logistic_loss() -> None:
    expected = functional.topk_logistic_ranking(STUDENT, TEACHER, k=4)
    torch.testing.assert_close(functional.topk_logistic_ranking(STUDENT, TEACHER.exp(), k=4), expected)


# Bad input


@pytest.mark.parametrize("name", ALL)
def test_without_a_teacher_the_message_says_what_to_give(name: str) -> None:
    with pytest.raises(InputError, match="no teacher") as caught:
        loss(name, STUDENT)
    assert "teacher_logits" in str(caught.value)


def test_a_missing_remainder_is_an_error_where_it_counts() -> None:
    cut = stored(3)
    del cut["teacher_log_remainder"]
    with pytest.raises(InputError, match="teacher_log_remainder is not given"):
        functional.topk_kl(STUDENT, **cut)
    with pytest.raises(InputError, match="teacher_log_remainder is not given"):
        functional.topk_hinge(STUDENT, **cut)
    assert torch.isfinite(functional.topk_kl(STUDENT, **cut, remainder="dropped"))
    assert torch.isfinite(functional.topk_hinge(STUDENT, **cut, margin=0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_values": torch.zeros(5, 3)}, r"teacher_values has shape \(5, 3\)"),
        ({"teacher_values": torch.zeros(6, 8)}, r"teacher_values has shape \(6, 8\)"),
        ({"teacher_indices": torch.zeros(6, 3)}, "teacher_indices has shape"),
        ({"teacher_indices": torch.zeros(6, 2, dtype=torch.int64)}, "teacher_indices has shape"),
        ({"teacher_log_remainder": torch.zeros(6, 1)}, "teacher_log_remainder has shape"),
    ],
)
def test_shapes_that_do_not_belong_together_are_named(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        functional.topk_kl(STUDENT, **{**stored(3), **change})


def test_classes_that_differ_are_named() -> None:
    with pytest.raises(InputError, match="class counts differ"):
        functional.topk_kl(STUDENT, TEACHER[:, :5])


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="remainder"):
        losses.TopKKL(remainder="some")
    with pytest.raises(InputError, match="greater"):
        losses.TopKKL(k=0)
