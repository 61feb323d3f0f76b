"""What is particular to the divergences beyond forward KL, NKD, DIST, WSLD and TTM."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional

SKEWED = ["skewed_kl", "skewed_reverse_kl"]
BOTH_SIDES = ["reverse_kl", "symmetric_kl", *SKEWED, "gjsd"]
WITH_TARGET = ["nkd", "wsld"]


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 5), logits(6, 5, seed=1)
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])
ONE_SURE = torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([[0.0, 1e4, 0.0]])
"""Student and teacher that are sure of different classes."""


def gradient(name: str, *arguments: Tensor, **options: float) -> Tensor:
    student = STUDENT.clone().requires_grad_()
    getattr(functional, name)(student, *arguments, **options).backward()
    assert student.grad is not None
    return student.grad


# Reverse and symmetric KL


def test_reverse_kl_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert functional.reverse_kl(student, teacher).item() == pytest.approx(expected)


def test_reverse_kl_is_kd_with_the_sides_exchanged() -> None:
    ours = functional.reverse_kl(STUDENT, TEACHER, temperature=3.0)
    torch.testing.assert_close(ours, functional.kd(TEACHER, STUDENT, temperature=3.0))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_symmetric_kl_is_the_weighted_sum_of_both(share: float) -> None:
    forward, reverse = (
        functional.kd(STUDENT, TEACHER, temperature=2.0),
        functional.reverse_kl(STUDENT, TEACHER, temperature=2.0),
    )
    ours = functional.symmetric_kl(STUDENT, TEACHER, temperature=2.0, reverse_share=share)
    torch.testing.assert_close(ours, (1 - share) * forward + share * reverse)


def test_symmetric_kl_does_not_tell_its_sides_apart() -> None:
    torch.testing.assert_close(functional.symmetric_kl(STUDENT, TEACHER), functional.symmetric_kl(TEACHER, STUDENT))


# Mixtures


@pytest.mark.parametrize("skew", [0.1, 0.5, 0.9])
def test_skewed_divergences_are_those_to_the_mixture(skew: float) -> None:
    p, q = TEACHER.softmax(-1), STUDENT.softmax(-1)
    forward = (p * (p / (skew * p + (1 - skew) * q)).log()).sum(-1).mean()
    reverse = (q * (q / (skew * q + (1 - skew) * p)).log()).sum(-1).mean()
    torch.testing.assert_close(functional.skewed_kl(STUDENT, TEACHER, skew=skew), forward)
    torch.testing.assert_close(functional.skewed_reverse_kl(STUDENT, TEACHER, skew=skew), reverse)


def test_without_skew_they_would_be_kd_and_reverse_kl() -> None:
    forward = functional.skewed_kl(STUDENT, TEACHER, skew=1e-9)
    reverse = functional.skewed_reverse_kl(STUDENT, TEACHER, skew=1e-9)
    torch.testing.assert_close(forward, functional.kd(STUDENT, TEACHER, temperature=1.0), rtol=1e-6, atol=0)
    torch.testing.assert_close(reverse, functional.reverse_kl(STUDENT, TEACHER), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SKEWED)
def test_skew_bounds_the_loss(name: str) -> None:
    assert getattr(functional, name)(*ONE_SURE, skew=0.1).item() == pytest.approx(-math.log(0.1))
    assert functional.kd(*ONE_SURE, temperature=1.0).item() == pytest.approx(1e4)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_gjsd_is_equation_1(beta: float) -> None:
    p, q = TEACHER.softmax(-1), STUDENT.softmax(-1)
    m = beta * p + (1 - beta) * q
    expected = (beta * p * (p / m).log() + (1 - beta) * q * (q / m).log()).sum(-1).mean()
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER, beta=beta), expected)


def test_gjsd_is_at_most_log_2_and_symmetric_in_the_middle() -> None:
    assert functional.gjsd(*ONE_SURE).item() == pytest.approx(math.log(2))
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER), functional.gjsd(TEACHER, STUDENT))


def test_gjsd_at_the_ends_is_what_the_formula_tends_to() -> None:
    """GKD: over β it tends to forward KL; over 1 − β to reverse KL. At the ends the formula itself is 0."""
    forward, reverse = functional.kd(STUDENT, TEACHER, temperature=1.0), functional.reverse_kl(STUDENT, TEACHER)
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER, beta=0.0), forward)
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER, beta=1.0), reverse)
    near = 1e-6
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER, beta=near) / near, forward, rtol=1e-4, atol=0)
    torch.testing.assert_close(functional.gjsd(STUDENT, TEACHER, beta=1 - near) / near, reverse, rtol=1e-4, atol=0)


def test_gjsd_with_and_without_t_squared_differ_by_it() -> None:
    paper = functional.gjsd(STUDENT, TEACHER, temperature=3.0)
    torch.testing.assert_close(paper, 9 * functional.gjsd(STUDENT, TEACHER, temperature=3.0, scale="none"))


def test_gjsd_averages_over_tokens_where_trl_without_labels_divides_by_rows() -> None:
    student, teacher = logits(2, 7, 5), logits(2, 7, 5, seed=1)
    p, q = teacher.softmax(-1), student.softmax(-1)
    m = (p + q) / 2
    theirs = 0.5 * (F.kl_div(m.log(), p, reduction="batchmean") + F.kl_div(m.log(), q, reduction="batchmean"))
    torch.testing.assert_close(7 * functional.gjsd(student, teacher), theirs)


def test_weights_of_one_over_the_length_average_within_each_sequence_first() -> None:
    """Equation 2 of GKD averages over a sequence's tokens before it averages over sequences."""
    student, teacher = logits(3, 4, 5), logits(3, 4, 5, seed=1)
    lengths = torch.tensor([1, 4, 2])
    mask = torch.arange(4)[None, :] < lengths[:, None]
    ours = functional.gjsd(student, teacher, 1 / lengths, mask)
    each = [functional.gjsd(student[row, None, :n], teacher[row, None, :n]) for row, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(ours, torch.stack(each).mean())


@pytest.mark.parametrize("name", BOTH_SIDES)
def test_the_squared_temperature_keeps_the_size_of_the_gradient(name: str) -> None:
    sizes = {temperature: gradient(name, TEACHER, temperature=temperature).norm() for temperature in (10.0, 40.0)}
    assert sizes[40.0] / sizes[10.0] == pytest.approx(1, abs=0.2)


@settings(max_examples=50, deadline=None)
@given(
    name=st.sampled_from(BOTH_SIDES),
    rows=st.integers(1, 4),
    classes=st.integers(1, 7),
    size=st.floats(0, 1e4),
    seed=st.integers(0, 1000),
)
def test_divergences_are_never_negative(name: str, rows: int, classes: int, size: float, seed: int) -> None:
    student, teacher = logits(rows, classes, seed=seed) * size, logits(rows, classes, seed=seed + 1) * size
    assert getattr(functional, name)(student, teacher) >= -1e-12


# NKD and WSLD


def test_nkd_by_hand() -> None:
    p, q = TEACHER.softmax(-1), STUDENT.softmax(-1)
    rows = []
    for row, label in enumerate(TARGET.tolist()):
        others = [index for index in range(5) if index != label]
        soft = (TEACHER[row, others] / 2).softmax(-1)
        other_term = (soft * (STUDENT[row, others] / 2).log_softmax(-1)).sum()
        rows.append(-p[row, label] * q[row, label].log() - 1.5 * 4 * other_term)
    ours = functional.nkd(STUDENT, TEACHER, TARGET, temperature=2.0)
    torch.testing.assert_close(ours, torch.stack(rows).mean())


def test_nkd_goes_on_making_an_equal_student_surer() -> None:
    student = TEACHER.clone().requires_grad_()
    functional.nkd(student, TEACHER, TARGET).backward()
    assert student.grad is not None
    assert (student.grad.gather(1, TARGET[:, None]) < 0).all()


def test_wsld_is_soft_cross_entropy_row_by_row_with_a_weight() -> None:
    hard_student = F.cross_entropy(STUDENT, TARGET, reduction="none")
    hard_teacher = F.cross_entropy(TEACHER, TARGET, reduction="none")
    weight = 1 - torch.exp(-hard_student / hard_teacher)
    soft = [functional.soft_cross_entropy(STUDENT[row, None], TEACHER[row, None], temperature=2.0) for row in range(6)]
    torch.testing.assert_close(functional.wsld(STUDENT, TEACHER, TARGET), (weight * torch.stack(soft)).mean())


def test_wsld_holds_its_weight_fixed() -> None:
    """Through the weight the student could make the loss smaller by nothing but the hard label."""
    hard = F.cross_entropy(STUDENT, TARGET, reduction="none") / F.cross_entropy(TEACHER, TARGET, reduction="none")
    soft = ((STUDENT / 2).softmax(-1) - (TEACHER / 2).softmax(-1)) * 2 / 6
    expected = (1 - torch.exp(-hard))[:, None] * soft
    torch.testing.assert_close(gradient("wsld", TEACHER, TARGET), expected, rtol=1e-5, atol=1e-9)


def test_wsld_leaves_rows_alone_that_the_student_knows_and_the_teacher_does_not() -> None:
    student = torch.tensor([[8.0, 0.0, 0.0]]).double()
    wrong, right = torch.tensor([[0.0, 5.0, 0.0]]).double(), torch.tensor([[8.0, 0.0, 0.0]]).double()
    target = torch.tensor([0])
    counted = [
        functional.wsld(student, teacher, target) / functional.soft_cross_entropy(student, teacher, temperature=2.0)
        for teacher in (wrong, right)
    ]
    assert counted[0] < 1e-3
    assert counted[1].item() == pytest.approx(1 - 1 / math.e, rel=1e-3)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_rows_without_target_do_not_count(name: str) -> None:
    function, known = getattr(functional, name), torch.tensor([True, False, True, True, False, True])
    expected = function(STUDENT[known], TEACHER[known], TARGET[known])
    torch.testing.assert_close(function(STUDENT, TEACHER, TARGET, known), expected)
    torch.testing.assert_close(function(STUDENT, TEACHER, torch.where(known, TARGET, -100)), expected)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_token_labels_of_minus_100_are_a_mask(name: str) -> None:
    student, teacher, target = (
        logits(2, 4, 5),
        logits(2, 4, 5, seed=1),
        torch.tensor([[1, 2, -100, -100], [0, 4, 3, 1]]),
    )
    function, known = getattr(functional, name), target >= 0
    expected = function(student[known], teacher[known], target[known])
    torch.testing.assert_close(function(student, teacher, target), expected)
    seen = torch.tensor([[True, False, True, True]] * 2)
    both = known & seen
    found = function(student, teacher, target, mask=seen)
    torch.testing.assert_close(found, function(student[both], teacher[both], target[both]))


# DIST


def pearson(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(student, teacher, strict=True)])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_by_correlations(temperature: float) -> None:
    q, p = (STUDENT / temperature).softmax(-1), (TEACHER / temperature).softmax(-1)
    inter, intra = 1 - pearson(q, p).mean(), 1 - pearson(q.T, p.T).mean()
    ours = functional.dist(STUDENT, TEACHER, temperature=temperature, inter_weight=2.0, intra_weight=0.5)
    torch.testing.assert_close(ours, temperature**2 * (2 * inter + 0.5 * intra))


def test_dist_is_zero_for_equal_sides_where_the_authors_code_is_not() -> None:
    """Their 1e-8 beside the product of the norms weighs most for classes that hardly occur."""
    probabilities = torch.tensor([[1e-6, 0.5], [2e-6, 0.6], [3e-6, 0.4]], dtype=torch.float64)
    sure = torch.cat((probabilities, 1 - probabilities.sum(-1, keepdim=True)), dim=1).log()
    assert functional.dist(sure, sure).item() == pytest.approx(0, abs=1e-9)
    centred = probabilities[:, 0] - probabilities[:, 0].mean()
    assert (1 - centred @ centred / (centred.norm() ** 2 + 1e-8)).item() > 0.99


@pytest.mark.parametrize("classes", [3, 5, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_student_has_no_correlation_and_no_gradient(classes: int, dtype: torch.dtype) -> None:
    """A head that starts at zero: the authors' code gives a gradient of the order of 1e7."""
    student = torch.full((6, classes), 0.1, dtype=dtype, requires_grad=True)
    loss = functional.dist(student, logits(6, classes, seed=1).to(dtype))
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_dist_of_maps_takes_pixels_for_rows() -> None:
    student, teacher = logits(2, 5, 3, 4), logits(2, 5, 3, 4, seed=1)
    rows = [side.permute(0, 2, 3, 1).reshape(-1, 5) for side in (student, teacher)]
    torch.testing.assert_close(functional.dist(student, teacher), functional.dist(*rows))
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    kept = [side[mask.flatten()] for side in rows]
    torch.testing.assert_close(functional.dist(student, teacher, mask=mask), functional.dist(*kept))


def test_a_rows_weight_in_dist_is_that_of_as_many_rows() -> None:
    repeated = torch.tensor([0, 1, 1, 2, 3, 3, 3, 5])
    weight = torch.tensor([1, 2, 1, 3, 0, 1])
    ours = functional.dist(STUDENT, TEACHER, weight)
    torch.testing.assert_close(ours, functional.dist(STUDENT[repeated], TEACHER[repeated]))


# TTM


def test_ttm_raises_the_teachers_probabilities_to_a_power() -> None:
    powers = TEACHER.softmax(-1) ** 0.3
    soft = powers / powers.sum(-1, keepdim=True)
    divergence = F.kl_div(STUDENT.log_softmax(-1), soft, reduction="none").sum(-1)
    torch.testing.assert_close(functional.ttm(STUDENT, TEACHER, exponent=0.3), divergence.mean())
    weighted = (powers.sum(-1) * divergence).mean()
    torch.testing.assert_close(functional.wttm(STUDENT, TEACHER, exponent=0.3), weighted)


def test_ttm_is_a_temperature_on_the_teachers_side() -> None:
    ours = functional.ttm(STUDENT, TEACHER, exponent=0.25)
    torch.testing.assert_close(ours, functional.kd(STUDENT, TEACHER / 4, temperature=1.0))


@pytest.mark.parametrize("name", ["ttm", "wttm"])
def test_an_exponent_of_one_is_plain_kd(name: str) -> None:
    ours = getattr(functional, name)(STUDENT, TEACHER, exponent=1.0)
    torch.testing.assert_close(ours, functional.kd(STUDENT, TEACHER, temperature=1.0))


def test_wttm_weighs_a_sure_teacher_by_1_and_an_undecided_one_by_a_power_of_the_classes() -> None:
    student = STUDENT[:1]
    sure, undecided = 1e4 * F.one_hot(torch.tensor([2]), 5).double(), torch.zeros(1, 5).double()
    for teacher, expected in ((sure, 1.0), (undecided, 5**0.8)):
        ratio = functional.wttm(student, teacher, exponent=0.2) / functional.ttm(student, teacher, exponent=0.2)
        assert ratio.item() == pytest.approx(expected)


# Wrong use


@pytest.mark.parametrize("name", [*BOTH_SIDES, "dist", "ttm", "wttm"])
def test_class_counts_that_differ_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"class counts differ.*\(6, 5\).*\(6, 4\)"):
        getattr(functional, name)(STUDENT, TEACHER[:, :4])


@pytest.mark.parametrize("name", WITH_TARGET)
def test_targets_of_another_shape_are_named(name: str) -> None:
    with pytest.raises(InputError, match="class counts differ"):
        getattr(functional, name)(STUDENT, TEACHER[:, :4], TARGET)
    with pytest.raises(InputError, match=r"target has shape \(4,\)"):
        getattr(functional, name)(STUDENT, TEACHER, TARGET[:4])


def test_one_class_is_refused_where_it_says_nothing() -> None:
    with pytest.raises(InputError, match="only one class"):
        functional.nkd(STUDENT[:, :1], TEACHER[:, :1], TARGET * 0)
    with pytest.raises(InputError, match="only one class"):
        functional.dist(STUDENT[:, :1], TEACHER[:, :1])


def test_masks_and_weights_of_another_shape_are_named() -> None:
    student, teacher = logits(2, 5, 3, 4), logits(2, 5, 3, 4, seed=1)
    with pytest.raises(InputError, match=r"mask has shape \(2, 9\).*\(2, 12\)"):
        functional.dist(student, teacher, mask=torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"weight has shape \(3,\).*2 rows"):
        functional.dist(student, teacher, torch.ones(3))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ReverseKL", "temperature", 0),
        ("SymmetricKL", "reverse_share", 1.1),
        ("SkewedKL", "skew", 0),
        ("SkewedReverseKL", "skew", 1),
        ("GJSD", "beta", -0.1),
        ("GJSD", "scale", "sometimes"),
        ("NKD", "gamma", -1),
        ("DIST", "intra_weight", math.inf),
        ("WSLD", "temperature", math.nan),
        ("TTM", "exponent", 0),
        ("WTTM", "exponent", -1),
    ],
)
def test_an_option_out_of_its_range_is_named(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=option):
        getattr(losses, name)(**{option: value})


def test_dist_with_epsilon_is_that_of_the_authors_at_high_temperatures() -> None:
    generator = torch.Generator().manual_seed(4)
    student, teacher = (torch.randn(5, 7, dtype=torch.float64, generator=generator) for _ in range(2))

    def correlation(first: Tensor, second: Tensor) -> Tensor:
        first, second = (side - side.mean(dim=1, keepdim=True) for side in (first, second))
        return ((first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + 1e-3)).mean()

    ours, theirs = (logits.div(20).softmax(dim=1) for logits in (student, teacher))
    expected = 400 * (2 - correlation(ours, theirs) - correlation(ours.T, theirs.T))
    torch.testing.assert_close(functional.dist(student, teacher, temperature=20.0, epsilon=1e-3), expected)
    # A row that does not count adds nothing to what the epsilon is compared with.
    longer = [torch.cat((logits, logits[:2] + 1)) for logits in (student, teacher)]
    weight = torch.tensor([1.0, 1, 1, 1, 1, 0, 0])
    torch.testing.assert_close(functional.dist(*longer, weight, temperature=20.0, epsilon=1e-3), expected)
