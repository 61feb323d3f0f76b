"""What is particular to losses of relations between rows, and where published implementations differ."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STUDENT, TEACHER = rows(8, 5), rows(8, 7, seed=1)
RELATIONS = ["sp", "cc", "rkd_distance", "rkd_angle", "rkd", "dark_rank", "pkt", "cka"]


@pytest.mark.parametrize("name", RELATIONS)
def test_widths_may_differ_and_maps_are_flattened(name: str) -> None:
    loss = getattr(functional, name)
    maps = rows(8, 3, 2, 2), rows(8, 4, 3, 3, seed=1)
    assert loss(STUDENT, TEACHER) > 0
    torch.testing.assert_close(loss(*maps), loss(*(one.flatten(1) for one in maps)))


@pytest.mark.parametrize("name", [name for name in RELATIONS if name != "dark_rank"])
def test_a_row_of_little_weight_hardly_counts(name: str) -> None:
    loss, weight = getattr(functional, name), torch.ones(8)
    weight[0] = 1e-6
    torch.testing.assert_close(
        loss(STUDENT, TEACHER, weight).double(), loss(STUDENT[1:], TEACHER[1:]), rtol=0.3, atol=1e-3
    )
    torch.testing.assert_close(loss(STUDENT, TEACHER, torch.full((8,), 0.3)), loss(STUDENT, TEACHER))


def test_sp_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])
    half = math.sqrt(0.5)  # a row of the teacher's similarities
    assert functional.sp(student, teacher).item() == pytest.approx(2 * ((1 - half) ** 2 + half**2) / 4)


def test_sp_with_the_l1_norm_differs() -> None:
    """torchdistill passes 1 as the order of the norm."""
    product = [side @ side.T for side in (STUDENT, TEACHER)]
    ours = functional.sp(STUDENT, TEACHER, norm="l1")
    theirs = F.mse_loss(*(F.normalize(one, 1) for one in product), reduction="sum") / 64  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs)
    assert ours < 0.5 * functional.sp(STUDENT, TEACHER)


def test_the_series_of_cc_approaches_the_gaussian_kernel() -> None:
    def kernel(side: Tensor) -> Tensor:
        return torch.exp(-0.4 * torch.cdist(F.normalize(side), F.normalize(side)).square())

    expected = F.mse_loss(kernel(STUDENT), kernel(TEACHER))
    far, near = (functional.cc(STUDENT, TEACHER, order=order) for order in (1, 10))
    torch.testing.assert_close(near, expected, rtol=1e-6, atol=0)
    assert abs(near - expected) < abs(far - expected)


def test_cc_without_normalising_is_no_gaussian_kernel() -> None:
    """torchdistill expands the series for rows of any length."""
    scaled = functional.cc(3 * STUDENT, TEACHER)
    torch.testing.assert_close(scaled, functional.cc(STUDENT, TEACHER))
    free = functional.cc(3 * STUDENT, TEACHER, normalize=False)
    assert free > 2 * functional.cc(STUDENT, TEACHER, normalize=False)


def test_the_norm_of_cc_is_the_root_of_the_squares_over_the_pairs() -> None:
    squares, norm = (functional.cc(STUDENT, TEACHER, reduction=form) for form in ("mean_square", "norm"))
    torch.testing.assert_close(norm, squares.sqrt() / 8)


def test_the_consecutive_form_of_cc_multiplies_the_differences_of_neighbours() -> None:
    student, teacher = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.0], [4.0], [1.0]])
    assert functional.cc(student, teacher, form="consecutive").item() == pytest.approx((1 * 2 + 2 * 3) / 2)
    swapped = torch.tensor([1, 0, 2])
    assert functional.cc(student[swapped], teacher[swapped], form="consecutive").item() == pytest.approx((2 + 3) / 2)


def test_the_consecutive_form_of_cc_skips_rows_of_weight_zero() -> None:
    student, teacher = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.0], [4.0], [1.0]])
    weight = torch.tensor([1.0, 0.0, 1.0])
    assert functional.cc(student, teacher, weight, form="consecutive").item() == pytest.approx(1 * 3)
    assert functional.cc(student, teacher, 0 * weight, form="consecutive").item() == 0
    assert functional.cc(student[:1], teacher[:1], form="consecutive").item() == 0


def test_the_consecutive_form_of_cc_needs_equal_widths() -> None:
    with pytest.raises(InputError, match=r"\(8, 5\) and \(8, 7\).*adapter"):
        functional.cc(STUDENT, TEACHER, form="consecutive")


def test_rkd_distance_by_hand() -> None:
    """Distances 1, 2, 3 of the student and 1, 1, 2 of the teacher; means 2 and 4/3; each pair twice among nine."""
    student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    differences = [1 / 2 - 3 / 4, 2 / 2 - 3 / 4, 3 / 2 - 6 / 4]
    expected = sum(difference**2 / 2 for difference in differences) * 2 / 9
    assert functional.rkd_distance(student, teacher).item() == pytest.approx(expected)


def test_rkd_angle_by_hand() -> None:
    """A right angle of the student where the teacher's rows lie on a line."""
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[0.0], [-1.0], [1.0]])
    half = math.sqrt(0.5)  # the student's two other angles; the teacher's are 0
    expected = 2 * (0.5 + 2 * (1 - half) ** 2 / 2) / 27
    assert functional.rkd_angle(student, teacher).item() == pytest.approx(expected)


def test_rkd_means_are_over_zeros_as_published() -> None:
    """The authors average over all B² and B³ entries; over those that compare something the loss would be larger."""
    distances = [torch.cdist(side, side) for side in (STUDENT, TEACHER)]
    scaled = [side / (side.sum() / 56) for side in distances]
    published = functional.rkd_distance(STUDENT, TEACHER)
    torch.testing.assert_close(published * 64 / 56, F.smooth_l1_loss(*scaled) * 64 / 56)
    torch.testing.assert_close(published, F.smooth_l1_loss(*scaled))


def test_rkd_adds_its_terms() -> None:
    terms = functional.rkd_distance(STUDENT, TEACHER), functional.rkd_angle(STUDENT, TEACHER)
    torch.testing.assert_close(functional.rkd(STUDENT, TEACHER), 25 * terms[0] + 50 * terms[1])


@pytest.mark.parametrize("name", RELATIONS)
def test_rows_that_coincide_have_a_bounded_gradient(name: str) -> None:
    student = torch.cat((STUDENT[:4], STUDENT[:4])).float().requires_grad_()
    getattr(functional, name)(student, TEACHER.float()).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3


def test_dark_rank_by_hand() -> None:
    """The teacher's order of row 0 is (2, 1); the student's scores of them are −4 and −1 with alpha = beta = 1."""
    student, teacher = torch.tensor([[0.0], [1.0], [-4.0]]), torch.tensor([[0.0], [5.0], [-1.0]])
    weight_of_first = -4 - math.log(math.exp(-4) + math.exp(-1))
    likelihoods = [weight_of_first]
    likelihoods.append(-1 - math.log(math.exp(-1) + math.exp(-5)))  # row 1: (0, 2), at distances 1 and 5
    likelihoods.append(-4 - math.log(math.exp(-4) + math.exp(-5)))  # row 2: (0, 1), at distances 4 and 5
    ours = functional.dark_rank(student, teacher, alpha=1.0, beta=1.0)
    assert ours.item() == pytest.approx(-sum(likelihoods) / 3, rel=1e-6)


def test_dark_rank_leaves_the_row_itself_out_though_another_coincides() -> None:
    """RKD's code drops the first of the sorted neighbours, which may be the other of two rows at distance zero."""
    student = torch.tensor([[0.0, 1.0], [0.0, -1.0], [3.0, 0.0]])
    teacher = torch.tensor([[0.0], [0.0], [1.0]])
    likelihood = -2 - math.log(math.exp(-2) + math.exp(-math.sqrt(10)))
    ours = functional.dark_rank(student, teacher, alpha=1.0, beta=1.0)
    assert ours.item() == pytest.approx((-2 * likelihood + math.log(2)) / 3, rel=1e-6)


def test_pkt_by_hand() -> None:
    """The paper's form: over the other rows, here two of them."""
    student, teacher = torch.tensor([[1.0, 0], [0, 1], [-1, 0]]), torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    divergence = 0.0
    for found, likely in (((1 / 2, 0), (1, 1 / 2)), ((1 / 2, 1 / 2), (1, 1 / 2)), ((0, 1 / 2), (1 / 2, 1 / 2))):
        p, q = (torch.tensor(side, dtype=torch.float64).clamp(min=1e-7) for side in (likely, found))
        p, q = p / p.sum(), q / q.sum()
        divergence += (p * (p / q).log()).sum().item() / 3
    assert functional.pkt(student, teacher).item() == pytest.approx(divergence, rel=1e-5)


def test_pkt_of_the_code_averages_over_all_entries_and_counts_the_row_itself() -> None:
    cosines = [F.normalize(side) @ F.normalize(side).T for side in (STUDENT, TEACHER)]
    found, likely = ((side + 1) / (side + 1).sum(1, keepdim=True) for side in cosines)
    code = functional.pkt(STUDENT, TEACHER, form="code")
    torch.testing.assert_close(code, (likely * (likely / found).log()).mean(), rtol=1e-4, atol=0)
    assert functional.pkt(STUDENT, TEACHER) > 8 * code


def test_pkt_of_the_code_at_equality() -> None:
    student = TEACHER.clone().requires_grad_()
    loss = functional.pkt(student, TEACHER, form="code")
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_pkt_of_the_code_leaves_out_rows_of_weight_zero() -> None:
    weight = torch.tensor([1.0, 0, 1, 1, 1, 1, 0, 1])
    kept = weight.bool()
    torch.testing.assert_close(
        functional.pkt(STUDENT, TEACHER, weight, form="code"),
        functional.pkt(STUDENT[kept], TEACHER[kept], form="code"),
    )


def test_linear_cka_is_that_of_the_covariances() -> None:
    """Equation 4 of the paper's section 3: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centred columns."""
    x, y = (side - side.mean(0) for side in (STUDENT, TEACHER))
    expected = 1 - (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    torch.testing.assert_close(functional.cka(STUDENT, TEACHER), expected)


def test_debiased_cka_of_independent_sides_is_one_on_average_and_the_biased_is_not() -> None:
    pairs = [(rows(10, 20, seed=2 * i), rows(10, 20, seed=2 * i + 1)) for i in range(200)]
    means = {
        estimator: torch.stack([functional.cka(*pair, estimator=estimator) for pair in pairs]).mean()
        for estimator in ("biased", "debiased")
    }
    assert means["debiased"].item() == pytest.approx(1, abs=0.03)
    assert means["biased"] < 0.6


def test_debiased_cka_needs_four_rows() -> None:
    assert functional.cka(STUDENT[:3], TEACHER[:3], estimator="debiased").item() == 0
    assert functional.cka(STUDENT[:4], TEACHER[:4], estimator="debiased").item() != 0


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_cka_with_a_collapsed_student_is_one_and_with_a_collapsed_teacher_zero(kernel: str) -> None:
    constant = torch.ones(8, 3, dtype=torch.float64)
    assert functional.cka(constant, TEACHER, kernel=kernel).item() == 1
    assert functional.cka(STUDENT, constant, kernel=kernel).item() == 0


def test_weights_of_cka_repeat_rows() -> None:
    weight = torch.tensor([2.0, 1, 1, 3, 1, 1, 1, 1])
    repeated = torch.arange(8).repeat_interleave(weight.long())
    torch.testing.assert_close(
        functional.cka(STUDENT, TEACHER, weight), functional.cka(STUDENT[repeated], TEACHER[repeated])
    )


# Wrong use


@pytest.mark.parametrize("name", RELATIONS)
def test_shapes_that_do_not_belong_together_are_named(name: str) -> None:
    loss = getattr(functional, name)
    with pytest.raises(InputError, match=r"numbers of rows differ.*\(8, 5\).*\(4, 7\)"):
        loss(STUDENT, TEACHER[:4])
    with pytest.raises(InputError, match=r"teacher_features has shape \(8,\)"):
        loss(STUDENT, TEACHER[:, 0])
    with pytest.raises(InputError, match=r"weight has shape \(4,\).*8 rows"):
        loss(STUDENT, TEACHER, torch.ones(4))


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        ("CC", {"gamma": 0}),
        ("CC", {"order": 0}),
        ("SP", {"norm": "l3"}),
        ("RKD", {"angle_weight": -1}),
        ("DarkRank", {"length": 1}),
        ("DarkRank", {"beta": 0.5}),
        ("PKT", {"form": "book"}),
        ("CKA", {"bandwidth": 0}),
    ],
)
def test_options_out_of_range_are_refused(loss: str, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        getattr(losses, loss)(**option)


def test_rkd_of_squares_compares_squared_distances() -> None:
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(5, width, dtype=torch.float64, generator=generator) for width in (3, 7))

    def squares(rows: Tensor) -> Tensor:
        found = (rows[:, None] - rows[None]).square().sum(dim=-1)
        return found / found[found > 0].mean()

    expected = F.smooth_l1_loss(squares(student), squares(teacher))
    torch.testing.assert_close(functional.rkd_distance(student, teacher, measure="square"), expected)
    both = functional.rkd(student, teacher, distance_weight=2.0, angle_weight=0.0, measure="square")
    torch.testing.assert_close(both, 2 * expected)


def test_pkts_epsilon_is_added_to_lengths_and_probabilities_in_the_codes_form() -> None:
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(5, width, dtype=torch.float64, generator=generator) for width in (3, 7))

    def probabilities(rows: Tensor) -> Tensor:
        rows = rows / (rows.norm(dim=1, keepdim=True) + 0.01)
        affinity = (rows @ rows.T + 1) / 2
        return affinity / affinity.sum(dim=1, keepdim=True)

    likely, found = probabilities(teacher), probabilities(student)
    expected = (likely * ((likely + 0.01) / (found + 0.01)).log()).mean()
    torch.testing.assert_close(functional.pkt(student, teacher, form="code", epsilon=0.01), expected)


@pytest.mark.parametrize("factor", [1e-30, 2.0, 1e30])
def test_the_size_of_the_weights_does_not_matter_to_the_norm_of_cc(factor: float) -> None:
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(5, width, generator=generator) for width in (3, 7))
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0])
    expected = functional.cc(student, teacher, weight, reduction="norm")
    torch.testing.assert_close(functional.cc(student, teacher, factor * weight, reduction="norm"), expected)
