"""What is particular to yes-or-no outputs, labels, numbers, tokens and frames."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 5), logits(6, 5, seed=1)
SEQUENCES = logits(3, 4, 5), logits(3, 4, 5, seed=1)


# Yes or no


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_one_output_is_kd_between_two_classes(temperature: float) -> None:
    student, teacher = STUDENT[:, :1], TEACHER[:, :1]
    pairs = [torch.cat((side, torch.zeros_like(side)), dim=-1) for side in (student, teacher)]
    ours = functional.binary_kd(student, teacher, temperature=temperature)
    torch.testing.assert_close(ours, functional.kd(*pairs, temperature=temperature))


def test_outputs_are_averaged_or_summed() -> None:
    mean, total = (functional.binary_kd(STUDENT, TEACHER, reduction=reduction) for reduction in ("mean", "sum"))
    torch.testing.assert_close(total, 5 * mean)
    apart = torch.stack([functional.binary_kd(STUDENT[:, [i]], TEACHER[:, [i]]) for i in range(5)])
    torch.testing.assert_close(mean, apart.mean())


def test_labels_do_not_take_probability_from_each_other() -> None:
    """A softmax would see a student that agrees on all labels but one as wrong on every one."""
    student = TEACHER.clone()
    student[:, 0] += 3
    student.requires_grad_()
    functional.multilabel_kd(student, TEACHER).backward()
    assert student.grad is not None
    assert student.grad[:, 1:].abs().max() < 1e-12
    assert student.grad[:, 0].abs().min() > 0


def test_multilabel_kd_by_the_papers_equation() -> None:
    ours, theirs = STUDENT.sigmoid(), TEACHER.sigmoid()
    each = theirs * (theirs / ours).log() + (1 - theirs) * ((1 - theirs) / (1 - ours)).log()
    torch.testing.assert_close(functional.multilabel_kd(STUDENT, TEACHER), each.sum(-1).mean())


def test_multilabel_kd_still_teaches_where_the_authors_clamp_does_not() -> None:
    teacher = torch.tensor([[-30.0]])
    student = torch.tensor([[30.0]], requires_grad=True)
    cut = student.sigmoid().clamp(1e-8, 1 - 1e-8)
    (theirs,) = torch.autograd.grad(F.kl_div((1 - cut).log(), 1 - teacher.sigmoid(), reduction="sum"), student)
    (ours,) = torch.autograd.grad(functional.multilabel_kd(student, teacher), student)
    assert theirs.item() == 0
    assert ours.item() == pytest.approx(1)


# Numbers


def test_distances_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 0.0]])
    assert functional.regression_kd(student, teacher).item() == pytest.approx((0.25 + 9) / 2)
    assert functional.regression_kd(student, teacher, distance="l1").item() == pytest.approx(3.5 / 2)
    huber = functional.regression_kd(student, teacher, distance="huber", delta=2.0)
    assert huber.item() == pytest.approx((0.125 + 2 * (3 - 1)) / 2)


def test_half_the_heteroscedastic_distance_is_the_divergence_of_gaussians() -> None:
    variance = logits(6, 5, seed=2).exp()
    ours = functional.regression_kd(STUDENT, TEACHER, variance, heteroscedastic=True, smallest_variance=1e-12)
    gaussians = [torch.distributions.Normal(mean, variance.sqrt()) for mean in (TEACHER, STUDENT)]
    torch.testing.assert_close(0.5 * ours, torch.distributions.kl_divergence(*gaussians).mean())


def test_a_teacher_without_doubt_does_not_divide_by_zero() -> None:
    nothing = torch.zeros_like(TEACHER)
    value = functional.regression_kd(STUDENT, TEACHER, nothing, heteroscedastic=True, smallest_variance=0.01)
    torch.testing.assert_close(value, 100 * functional.regression_kd(STUDENT, TEACHER))


def test_the_teachers_variance_gets_no_gradient() -> None:
    student, variance = STUDENT.clone().requires_grad_(), torch.ones_like(TEACHER).requires_grad_()
    functional.regression_kd(student, TEACHER, variance, heteroscedastic=True).backward()
    assert variance.grad is None


@pytest.mark.parametrize("variance", [None, torch.ones(6, 1)])
def test_a_variance_that_is_needed_must_fit(variance: Tensor | None) -> None:
    with pytest.raises(InputError, match="teacher_variance"):
        functional.regression_kd(STUDENT, TEACHER, variance, heteroscedastic=True)


def test_numbers_come_in_columns() -> None:
    with pytest.raises(InputError, match=r"\(rows, 1\)"):
        functional.regression_kd(STUDENT[:, 0], TEACHER[:, 0])


def test_the_teacher_bounds_the_students_error() -> None:
    target = torch.zeros(3, 2)
    teacher = torch.tensor([[1.0, 1.0]] * 3)
    student = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.0, 0.0]], requires_grad=True)
    value = functional.bounded_regression(student, teacher, target)
    assert value.item() == pytest.approx(4 / 3)
    value.backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.tensor([[4 / 3, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    wider = functional.bounded_regression(student, teacher, target, margin=1.0)
    assert wider.item() == pytest.approx((4 + 1.25) / 3)


def test_bounded_regression_leaves_rows_without_target_out() -> None:
    labelled, target = torch.tensor([True, False, True, True, False, True]), logits(6, 5, seed=3)
    expected = functional.bounded_regression(STUDENT[labelled], TEACHER[labelled], target[labelled])
    torch.testing.assert_close(functional.bounded_regression(STUDENT, TEACHER, target, labelled), expected)


def test_bounded_regression_refuses_classes_as_targets() -> None:
    with pytest.raises(InputError, match="one number for each value"):
        functional.bounded_regression(STUDENT, TEACHER, torch.zeros(6, dtype=torch.int64))


# Tokens


def test_token_kd_is_kd_where_every_token_counts() -> None:
    ours = functional.token_kd(*SEQUENCES, temperature=2.0)
    torch.testing.assert_close(ours, functional.kd(*SEQUENCES, temperature=2.0))


def test_tokens_without_label_are_left_out() -> None:
    target = torch.tensor([[1, 2, -100, -100], [0, -100, -100, -100], [3, 3, 3, 3]])
    known = target >= 0
    expected = functional.kd(SEQUENCES[0][known], SEQUENCES[1][known], temperature=1.0)
    torch.testing.assert_close(functional.token_kd(*SEQUENCES, target), expected)
    mask = torch.tensor([True, True, True, False]).expand(3, 4)
    both = known & mask
    expected = functional.kd(SEQUENCES[0][both], SEQUENCES[1][both], temperature=1.0)
    torch.testing.assert_close(functional.token_kd(*SEQUENCES, target, mask=mask), expected)


def test_rows_without_targets_learn_from_the_teacher_at_all_their_tokens() -> None:
    target = torch.tensor([[1, -100, -100, -100], [-100] * 4, [-100] * 4])
    labelled = torch.tensor([True, False, False])
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    counted = torch.tensor([[True, False, False, False], [True, True, False, False], [False] * 4])
    torch.testing.assert_close(
        functional.token_kd(*SEQUENCES, target, labelled, mask=mask), functional.token_kd(*SEQUENCES, mask=counted)
    )


@pytest.mark.parametrize("name", ["token_kd", "frame_kd"])
def test_long_rows_count_more_over_positions_and_the_same_over_rows(name: str) -> None:
    loss = getattr(functional, name)
    mask = torch.arange(4) < torch.tensor([4, 1, 0])[:, None]
    each = [loss(SEQUENCES[0][i : i + 1], SEQUENCES[1][i : i + 1], mask=mask[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(*SEQUENCES, mask=mask), (4 * each[0] + each[1]) / 5)
    torch.testing.assert_close(loss(*SEQUENCES, mask=mask, average="rows"), (each[0] + each[1]) / 2)
    weight = torch.tensor([1.0, 3.0, 1.0])
    weighted = loss(*SEQUENCES, weight=weight, mask=mask, average="rows")
    torch.testing.assert_close(weighted, (each[0] + 3 * each[1]) / 4)
    assert loss(*SEQUENCES, mask=torch.zeros_like(mask), average="rows").item() == 0


def test_one_token_a_row_is_kd() -> None:
    target = torch.tensor([0, -100, 1, 2, -1, 3])
    known = target >= 0
    for average in ("positions", "rows"):
        ours = functional.token_kd(STUDENT, TEACHER, target, average=average)
        torch.testing.assert_close(ours, functional.kd(STUDENT[known], TEACHER[known], temperature=1.0))


def test_labels_of_another_length_are_named() -> None:
    with pytest.raises(InputError, match="target has shape"):
        functional.token_kd(*SEQUENCES, torch.zeros(3, 5, dtype=torch.int64))


# Frames


def frames(classes: str) -> Tensor:
    """A teacher whose likeliest class at each frame is 1 for ``x`` and the blank, 0, for ``-``."""
    index = torch.tensor([["-x".index(frame) for frame in classes]])
    return 3 * F.one_hot(index, 3).double() + 0.1 * logits(1, len(classes), 3, seed=4)


def counted(classes: str, **options: object) -> str:
    """The frames that a loss counts in full (1), in part (+) or not at all (0), told by its gradient."""
    teacher = frames(classes)
    student = logits(*teacher.shape, seed=5).requires_grad_()
    functional.frame_kd(student, teacher, blank=0, **options).backward()
    plain = student.detach().clone().requires_grad_()
    functional.frame_kd(plain, teacher).backward()
    assert student.grad is not None
    assert plain.grad is not None
    ratio = (student.grad.norm(dim=-1) / plain.grad.norm(dim=-1))[0]
    shares = (ratio / ratio.max().clamp(min=1e-12)).tolist()
    return "".join("1" if share > 0.999 else "0" if share < 1e-9 else "+" for share in shares)


def test_without_blank_frame_kd_is_kd() -> None:
    torch.testing.assert_close(
        functional.frame_kd(*SEQUENCES, temperature=2.0), functional.kd(*SEQUENCES, temperature=2.0)
    )


def test_blank_elimination_keeps_the_spikes() -> None:
    assert counted("--x---x-") == "00100010"
    teacher = frames("--x---x-")
    student = logits(*teacher.shape, seed=5)
    spikes = torch.tensor([2, 6])
    expected = functional.kd(student[:, spikes], teacher[:, spikes], temperature=1.0)
    torch.testing.assert_close(functional.frame_kd(student, teacher, blank=0), expected)


def test_context_keeps_blanks_on_both_sides_of_a_spike() -> None:
    assert counted("---x----x", context=1) == "001110011"
    assert counted("---x----x", context=2) == "011111111"


def test_blanks_can_count_less() -> None:
    assert counted("--x---x-", blank_weight=0.25) == "++1+++1+"
    teacher = frames("--x-")
    student = logits(*teacher.shape, seed=5)
    each = torch.stack([functional.kd(student[:, i], teacher[:, i], temperature=1.0) for i in range(4)])
    shares = torch.tensor([0.25, 0.25, 1.0, 0.25], dtype=torch.float64)
    torch.testing.assert_close(
        functional.frame_kd(student, teacher, blank=0, blank_weight=0.25), (shares * each).sum() / shares.sum()
    )
    whole = functional.frame_kd(student, teacher, blank=0, blank_weight=1.0)
    torch.testing.assert_close(whole, functional.frame_kd(student, teacher))


def test_a_masked_spike_has_no_context() -> None:
    teacher = frames("--x---x-")
    student = logits(*teacher.shape, seed=5)
    mask = torch.tensor([[True] * 5 + [False] * 3])
    kept = torch.tensor([1, 2, 3])
    expected = functional.kd(student[:, kept], teacher[:, kept], temperature=1.0)
    torch.testing.assert_close(functional.frame_kd(student, teacher, mask=mask, blank=0, context=1), expected)


def test_nothing_but_blanks_teaches_nothing() -> None:
    student = logits(1, 4, 3, seed=5).requires_grad_()
    for average in ("positions", "rows"):
        value = functional.frame_kd(student, frames("----"), blank=0, average=average)
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, student)
        assert gradient.abs().max() == 0


def test_frames_as_rows_can_be_blank_too() -> None:
    teacher, student = frames("--x-")[0], logits(4, 3, seed=5)
    expected = functional.kd(student[2:3], teacher[2:3], temperature=1.0)
    torch.testing.assert_close(functional.frame_kd(student, teacher, blank=0), expected)


def test_options_of_the_blank_are_checked() -> None:
    with pytest.raises(InputError, match="set blank"):
        losses.FrameKD(context=2)
    with pytest.raises(InputError, match="class 5"):
        functional.frame_kd(*SEQUENCES, blank=5)
    assert math.isfinite(functional.frame_kd(*SEQUENCES, blank=4).item())
