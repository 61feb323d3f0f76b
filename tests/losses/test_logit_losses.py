"""What is particular to kd, soft_cross_entropy, mse_logits and dkd, and where published implementations differ."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 5), logits(6, 5, seed=1)
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


def softened_kl(temperature: float) -> torch.Tensor:
    return F.kl_div((STUDENT / temperature).log_softmax(-1), (TEACHER / temperature).softmax(-1), reduction="batchmean")


def test_kd_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[0.0, 0.0]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert functional.kd(student, teacher, temperature=1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 20.0])
def test_kd_always_carries_the_squared_temperature(temperature: float) -> None:
    """torchdistill leaves T² out when there is no hard-label term, so that its loss shrinks as T grows."""
    ours = functional.kd(STUDENT, TEACHER, temperature=temperature)
    torch.testing.assert_close(ours, temperature**2 * softened_kl(temperature))


def test_with_t_squared_the_gradient_keeps_its_size() -> None:
    sizes = {}
    for temperature in (10.0, 40.0):
        student = STUDENT.clone().requires_grad_()
        functional.kd(student, TEACHER, temperature=temperature).backward()
        assert student.grad is not None
        sizes[temperature] = student.grad.norm()
    assert sizes[40.0] / sizes[10.0] == pytest.approx(1, abs=0.2)


def test_soft_cross_entropy_is_kd_plus_the_teachers_entropy() -> None:
    soft = (TEACHER / 3).softmax(-1)
    entropy = -(soft * soft.log()).sum(-1).mean()
    ours = functional.soft_cross_entropy(STUDENT, TEACHER, temperature=3.0)
    torch.testing.assert_close(ours, functional.kd(STUDENT, TEACHER, temperature=3.0) + 9 * entropy)


def test_soft_cross_entropy_with_and_without_t_squared_differ_by_it() -> None:
    """The paper and cls_KD multiply by T²; TextBrewer does not."""
    paper = functional.soft_cross_entropy(STUDENT, TEACHER, temperature=4.0)
    rival = functional.soft_cross_entropy(STUDENT, TEACHER, temperature=4.0, scale="none")
    torch.testing.assert_close(paper, 16 * rival)
    at_one = [
        functional.soft_cross_entropy(STUDENT, TEACHER, temperature=1.0, scale=scale)
        for scale in ("temperature_squared", "none")
    ]
    torch.testing.assert_close(*at_one)


def test_mse_logits_is_the_mean_over_all_logits_and_the_papers_form_half_the_sum() -> None:
    torch.testing.assert_close(functional.mse_logits(STUDENT, TEACHER), F.mse_loss(STUDENT, TEACHER))
    paper = functional.mse_logits(STUDENT, TEACHER, reduction="half_sum")
    torch.testing.assert_close(paper, 0.5 * (STUDENT - TEACHER).square().sum(-1).mean())
    torch.testing.assert_close(paper, 5 / 2 * functional.mse_logits(STUDENT, TEACHER))


def test_kd_at_a_high_temperature_approaches_mse_of_centred_logits() -> None:
    """Section 2.1 of the paper: matching logits is the limit of a high temperature."""
    student, teacher = STUDENT - STUDENT.mean(-1, keepdim=True), TEACHER - TEACHER.mean(-1, keepdim=True)
    ours = functional.kd(student, teacher, temperature=1e4)
    torch.testing.assert_close(ours, functional.mse_logits(student, teacher) / 2, rtol=1e-3, atol=0)


def test_dkd_puts_kd_together_again() -> None:
    """Equation 5: KD = TCKD + (1 − p_target of the teacher) · NCKD, row by row."""
    for row in range(6):
        pick = slice(row, row + 1)
        arguments = (STUDENT[pick], TEACHER[pick], TARGET[pick])
        target_term = functional.dkd(*arguments, alpha=1.0, beta=0.0)
        other_term = functional.dkd(*arguments, alpha=0.0, beta=1.0)
        rest = 1 - (TEACHER[pick] / 4).softmax(-1)[0, TARGET[row]]
        torch.testing.assert_close(target_term + rest * other_term, functional.kd(STUDENT[pick], TEACHER[pick]))


def test_dkd_with_two_classes_has_nothing_beside_the_target() -> None:
    assert functional.dkd(STUDENT[:, :2], TEACHER[:, :2], TARGET % 2, alpha=0.0, beta=8.0).item() == 0


def test_dkd_leaves_the_target_out_exactly_where_the_authors_code_does_not() -> None:
    """Their code subtracts 1000 from the target's logit; with a logit of 1e4 the target then stays in the softmax."""
    student, teacher = torch.tensor([[1e4, 0.0, 1.0]]), torch.tensor([[1e4, 1.0, 0.0]])
    target = torch.tensor([0])
    one_hot = F.one_hot(target, 3)
    theirs = F.kl_div(
        (student - 1000 * one_hot).log_softmax(-1), (teacher - 1000 * one_hot).softmax(-1), reduction="batchmean"
    )
    expected = F.kl_div(student[:, 1:].log_softmax(-1), teacher[:, 1:].softmax(-1), reduction="batchmean")
    ours = functional.dkd(student, teacher, target, temperature=1.0, alpha=0.0, beta=1.0)
    assert theirs.item() == 0
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("unlabelled_target", [-1, 3])
def test_dkd_gives_rows_without_target_weight_zero(unlabelled_target: int) -> None:
    labelled = torch.tensor([True, False, True, True, False, True])
    target = torch.where(labelled, TARGET, unlabelled_target)
    ours = functional.dkd(STUDENT, TEACHER, target, labelled)
    torch.testing.assert_close(ours, functional.dkd(STUDENT[labelled], TEACHER[labelled], TARGET[labelled]))
    assert functional.dkd(STUDENT, TEACHER, target, torch.zeros(6, dtype=torch.bool)).item() == 0


def test_dkd_takes_a_negative_target_for_none() -> None:
    target = torch.where(torch.arange(6) < 4, TARGET, -100)
    torch.testing.assert_close(
        functional.dkd(STUDENT, TEACHER, target), functional.dkd(STUDENT[:4], TEACHER[:4], TARGET[:4])
    )


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 5),
    classes=st.integers(2, 7),
    temperature=st.floats(0.1, 50),
    size=st.floats(0, 1e4),
    seed=st.integers(0, 1000),
)
def test_divergences_are_never_negative(rows: int, classes: int, temperature: float, size: float, seed: int) -> None:
    student, teacher = logits(rows, classes, seed=seed) * size, logits(rows, classes, seed=seed + 1) * size
    target = torch.arange(rows) % classes
    tolerance = 1e-9 * (1 + temperature**2)
    assert functional.kd(student, teacher, temperature=temperature) >= -tolerance
    assert functional.dkd(student, teacher, target, temperature=temperature) >= -tolerance


# Wrong use


@pytest.mark.parametrize("name", ["kd", "soft_cross_entropy", "mse_logits"])
def test_class_counts_that_differ_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"class counts differ.*\(6, 5\).*\(6, 4\)"):
        getattr(functional, name)(STUDENT, TEACHER[:, :4])


def test_shapes_that_do_not_belong_together_are_named() -> None:
    with pytest.raises(InputError, match="shapes differ"):
        functional.kd(STUDENT, TEACHER[:4])
    with pytest.raises(InputError, match=r"\(5,\), not"):
        functional.kd(STUDENT[0], TEACHER[0])
    with pytest.raises(InputError, match=r"weight has shape \(4,\).*6 rows"):
        functional.kd(STUDENT, TEACHER, torch.ones(4))
    with pytest.raises(InputError, match="mask has shape"):
        functional.kd(logits(2, 3, 5), logits(2, 3, 5), mask=torch.ones(2, 4))
    with pytest.raises(InputError, match="target has shape"):
        functional.dkd(STUDENT, TEACHER, TARGET[:4])
    with pytest.raises(InputError, match="only one class"):
        functional.dkd(STUDENT[:, :1], TEACHER[:, :1], TARGET * 0)


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_a_temperature_must_be_above_zero_and_finite(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        losses.KD(temperature=temperature)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'temperature'"):
        losses.KD(temprature=4)


def test_options_come_as_an_object_or_as_keywords() -> None:
    from mmdistill.losses.families.logits import KDOptions

    assert losses.KD(KDOptions(temperature=2.0)).temperature == losses.KD(temperature=2.0).temperature == 2.0
    with pytest.raises(InputError, match="both"):
        losses.KD(KDOptions(), temperature=2.0)


def test_names_that_do_not_exist_are_attribute_errors() -> None:
    with pytest.raises(AttributeError):
        losses.Nothing  # noqa: B018
    with pytest.raises(AttributeError):
        functional.nothing  # noqa: B018
    assert "KD" in dir(losses)
    assert "kd" in dir(functional)


def test_the_catalog_of_losses_does_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import sys, mmdistill.losses.catalog, mmdistill.losses; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("factor", [1e-38, 1e-30, 1e30, 1e37])
def test_tiny_and_huge_weights_leave_value_and_gradient_as_they_are(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, generator=generator).mul_(50).requires_grad_()
    teacher = torch.randn(6, 5, generator=generator).mul_(50)
    expected = functional.kd(student, teacher, temperature=6.0)
    found = functional.kd(student, teacher, torch.full((6,), factor), temperature=6.0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    gradients = [torch.autograd.grad(loss, student)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
