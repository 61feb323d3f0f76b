"""What is particular to MLLD, OFA, CTKD and the rankings, and where published implementations differ."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.gradient_reversal import reverse_gradient


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 5), logits(6, 5, seed=1)
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


# MLLD


def test_mlld_by_its_equations() -> None:
    expected = torch.zeros((), dtype=torch.float64)
    for temperature in (2.0, 5.0):
        ours, theirs = (STUDENT / temperature).softmax(-1), (TEACHER / temperature).softmax(-1)
        expected += functional.kd(STUDENT, TEACHER, temperature=temperature)
        expected += 3 * (ours @ ours.T - theirs @ theirs.T).square().sum() / 6
        expected += 7 * (ours.T @ ours - theirs.T @ theirs).square().sum() / 5
    found = functional.mlld(STUDENT, TEACHER, temperatures=(2.0, 5.0), batch_weight=3.0, class_weight=7.0)
    torch.testing.assert_close(found, expected)


def test_the_published_selection_scales_by_the_share_of_what_it_selects() -> None:
    """The authors' mask meets a number that is reduced already; half of 6 rows, 3 of 5 classes are not above it."""
    for level, share in (("instance", 0.5), ("batch", 0.5), ("class", 0.6)):
        off = {f"{other}_weight": 0.0 for other in ("instance", "batch", "class") if other != level}
        plain = functional.mlld(STUDENT, TEACHER, **off)
        torch.testing.assert_close(functional.mlld(STUDENT, TEACHER, selection="published", **off), share * plain)


def test_standardised_logits_reach_the_instance_term_only() -> None:
    scaled = {"student_logits": 3 * STUDENT, "teacher_logits": TEACHER}
    same = {"student_logits": STUDENT, "teacher_logits": TEACHER}
    instance = {"batch_weight": 0.0, "class_weight": 0.0, "standardise": True}
    torch.testing.assert_close(
        functional.mlld(**scaled, **instance), functional.mlld(**same, **instance), rtol=1e-6, atol=0
    )
    others = {"instance_weight": 0.0, "standardise": True}
    assert not torch.isclose(functional.mlld(**scaled, **others), functional.mlld(**same, **others), rtol=1e-2)


def test_the_size_of_mllds_weights_does_not_matter() -> None:
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(functional.mlld(STUDENT, TEACHER, 5 * weight), functional.mlld(STUDENT, TEACHER, weight))


def test_mlld_refuses_sequences_and_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="compares rows"):
        functional.mlld(logits(2, 3, 5), logits(2, 3, 5))
    with pytest.raises(InputError, match="must be above 0"):
        losses.MLLD(instance_weight=0, batch_weight=0, class_weight=0)
    with pytest.raises(InputError):
        losses.MLLD(temperatures=())
    with pytest.raises(InputError):
        losses.MLLD(temperatures=(2.0, 0.0))


# OFA


def test_ofa_at_gamma_one_is_soft_cross_entropy() -> None:
    for others in ("plain", "raised"):
        ours = functional.ofa(STUDENT, TEACHER, TARGET, gamma=1.0, others=others)
        torch.testing.assert_close(ours, functional.soft_cross_entropy(STUDENT, TEACHER, temperature=1.0))


def test_ofa_by_hand() -> None:
    """Paper: (1 + p)^gamma for the target and p for the others; the code raises the others as well."""
    teacher, student = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    target = torch.tensor([0])
    surprise = -student[0]
    plain = (1.5**2 - 1) * surprise[0] + 0.25 * (surprise[1] + surprise[2])
    torch.testing.assert_close(functional.ofa(student, teacher, target, gamma=2.0), plain)
    raised = (1.5**2 - 1) * surprise[0] + 0.0625 * (surprise[1] + surprise[2])
    torch.testing.assert_close(functional.ofa(student, teacher, target, gamma=2.0, others="raised"), raised)


def test_a_larger_gamma_strengthens_the_target_where_the_teacher_is_sure_of_it() -> None:
    sure, unsure = (torch.tensor([[value, 0.0, 0.0]]) for value in (4.0, -2.0))
    target, student = torch.tensor([0]), torch.zeros(1, 3)
    gains = [
        functional.ofa(student, teacher, target, gamma=3.0) - functional.ofa(student, teacher, target, gamma=1.0)
        for teacher in (sure, unsure)
    ]
    assert gains[0] > 10 * gains[1] > 0


def test_ofa_leaves_rows_without_target_out() -> None:
    labelled = torch.tensor([True, False, True, True, False, True])
    target = torch.where(labelled, TARGET, -1)
    expected = functional.ofa(STUDENT[labelled], TEACHER[labelled], TARGET[labelled])
    torch.testing.assert_close(functional.ofa(STUDENT, TEACHER, target), expected)
    torch.testing.assert_close(functional.ofa(STUDENT, TEACHER, TARGET, labelled), expected)


# CTKD


def built(**options: object) -> losses.CTKD:  # type: ignore[name-defined]
    return losses.CTKD(**options).build({"student_logits": (5,), "teacher_logits": (5,)}).double()


def test_reversal_keeps_the_value_and_turns_the_gradient() -> None:
    value = torch.tensor([0.3, -7.1], requires_grad=True)
    reversed_value = reverse_gradient(value, 0.25)
    assert torch.equal(reversed_value, value)
    (reversed_value * torch.tensor([1.0, 2.0])).sum().backward()
    assert value.grad is not None
    torch.testing.assert_close(value.grad, torch.tensor([-0.25, -0.5]))


def test_ctkd_starts_as_kd_at_the_temperature_of_a_raw_one() -> None:
    start = 1 + 20 * torch.sigmoid(torch.tensor(1.0)).item()
    torch.testing.assert_close(
        built()(STUDENT, TEACHER), functional.kd(STUDENT, TEACHER, temperature=start), rtol=1e-6, atol=0
    )


def test_the_strength_rises_along_half_a_cosine_and_stays() -> None:
    module = losses.CTKD(strength=2.0, rise=0.5)
    found = [module.reversal(progress) for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([0, 1 - 0.5**0.5, 1, 2, 2])
    assert module.reversal(None) == 2.0
    assert losses.CTKD(rise=0.0).reversal(0.0) == 1.0


def test_the_temperature_works_against_the_student() -> None:
    module = built()
    before = module(STUDENT, TEACHER)
    before.backward()
    raw = module.temperature_of.raw
    with torch.no_grad():
        raw -= 0.1 * raw.grad.sign()  # what an optimiser does that makes its loss smaller
    assert module(STUDENT, TEACHER) > before


def test_the_curriculum_scales_the_gradient_of_the_temperature_and_not_the_students() -> None:
    found = {}
    for progress in (0.0, 0.02, 1.0):
        module, student = built(), STUDENT.clone().requires_grad_()
        module(student, TEACHER, progress).backward()
        found[progress] = (module.temperature_of.raw.grad, student.grad)
    assert found[0.0][0] == 0
    torch.testing.assert_close(found[0.02][0], found[1.0][0] / 2)
    torch.testing.assert_close(found[0.02][1], found[1.0][1])


def test_instances_have_temperatures_of_their_own_and_the_student_is_not_reached_through_them() -> None:
    module, student = built(form="instance", hidden=8), STUDENT.clone().requires_grad_()
    module(student, TEACHER).backward()
    raw = module.temperature_of(STUDENT, TEACHER)
    assert raw.shape == (6,)
    assert raw.unique().numel() == 6
    temperature = (module.lowest + module.span * raw.sigmoid()).detach()
    expected = STUDENT.clone().requires_grad_()
    functional.ctkd(expected, TEACHER, temperature).backward()
    torch.testing.assert_close(student.grad, expected.grad)
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_instances_of_a_sequence_have_a_temperature_a_position() -> None:
    student, teacher = logits(2, 3, 5), logits(2, 3, 5, seed=1)
    module = built(form="instance", hidden=8)
    torch.testing.assert_close(module(student, teacher), module(student.flatten(0, 1), teacher.flatten(0, 1)))


def test_ctkds_gradient_is_that_of_its_value() -> None:
    temperature = torch.tensor([1.5, 3.0], dtype=torch.float64, requires_grad=True)
    student = STUDENT[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: functional.ctkd(s, TEACHER[:2], t), (student, temperature))


def test_the_recorded_gradient_of_the_temperature_is_ours() -> None:
    data = os.environ.get("MMDISTILL_DATA")
    folder = Path(data).parent / "golden" if data else None
    if folder is None or not folder.is_dir():
        pytest.skip("the folder golden/ beside MMDISTILL_DATA is not there")
    with np.load(folder / "ctkd__global_t__s1d.npz", allow_pickle=False) as arrays:
        student, teacher = (torch.from_numpy(arrays[f"{side}_logits"]).double() for side in ("student", "teacher"))
        expected = float(arrays["grad_param.global_T"].item())
    method = json.loads((folder / "ctkd.json").read_text())
    numbers = method["variants"][0]["cases"][0]["hyper_parameters"]
    module = losses.CTKD(rise=numbers["decay_loops"] / 20, strength=1.0)
    module = module.build({"student_logits": (10,), "teacher_logits": (10,)}).double()
    module(student, teacher, numbers["epoch"] / 20).backward()
    assert module.temperature_of.raw.grad.item() == pytest.approx(expected, rel=1e-5)


# Rankings


def test_list_mle_is_the_probability_of_the_teachers_order() -> None:
    """Over all orders the probabilities sum to 1."""
    student = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    total = 0.0
    for order in itertools.permutations(range(3)):
        teacher = torch.tensor([[-float(order.index(item)) for item in range(3)]], dtype=torch.float64)
        total += (-functional.listwise_kd(student, teacher)).exp().item()
    assert total == pytest.approx(1)


def test_list_mle_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[5.0, 1.0, 3.0]])
    placed = torch.tensor([0.0, 2.0, 1.0])
    expected = (placed.logsumexp(0) - 0.0) + (placed[1:].logsumexp(0) - 2.0)
    torch.testing.assert_close(functional.listwise_kd(student, teacher), expected)
    torch.testing.assert_close(functional.listwise_kd(student, teacher, top=1), placed.logsumexp(0))


def test_list_net_is_kd() -> None:
    ours = functional.listwise_kd(STUDENT, TEACHER, form="list_net", temperature=3.0)
    torch.testing.assert_close(ours, functional.kd(STUDENT, TEACHER, temperature=3.0))


@pytest.mark.parametrize("form", ["list_mle", "plackett_luce"])
def test_top_takes_the_first_terms_of_the_sum(form: str) -> None:
    def of(top: int | None) -> Tensor:
        return functional.listwise_kd(STUDENT, TEACHER, form=form, top=top)

    assert of(1) < of(2) < of(3) < of(4)
    torch.testing.assert_close(of(4), of(None))  # the last place is certain
    torch.testing.assert_close(of(99), of(None))


def test_only_the_order_of_the_teacher_matters_to_list_mle() -> None:
    expected = functional.listwise_kd(STUDENT, TEACHER)
    torch.testing.assert_close(functional.listwise_kd(STUDENT, TEACHER.exp()), expected)
    assert not torch.isclose(
        functional.listwise_kd(STUDENT, TEACHER, form="plackett_luce"),
        functional.listwise_kd(STUDENT, TEACHER.exp(), form="plackett_luce"),
    )


@pytest.mark.parametrize("form", ["list_mle", "plackett_luce", "list_net"])
def test_a_ranking_of_rows_is_that_of_classes_of_the_transposed_scores(form: str) -> None:
    ours = functional.batch_listwise_kd(STUDENT, TEACHER, form=form)
    expected = functional.listwise_kd(STUDENT.T, TEACHER.T, form=form)
    torch.testing.assert_close(ours, expected / 6 if form == "list_mle" else expected)


def test_a_row_of_weight_two_is_in_list_net_twice() -> None:
    weight = torch.tensor([2.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    rows = torch.tensor([0, 0, 1, 3, 4, 5])
    torch.testing.assert_close(
        functional.batch_listwise_kd(STUDENT, TEACHER, weight, form="list_net"),
        functional.batch_listwise_kd(STUDENT[rows], TEACHER[rows], form="list_net"),
    )


@pytest.mark.parametrize("form", ["list_mle", "plackett_luce", "list_net"])
def test_one_row_has_no_order(form: str) -> None:
    assert functional.batch_listwise_kd(STUDENT[:1], TEACHER[:1], form=form).item() == 0


def test_rankings_refuse_what_they_cannot_rank() -> None:
    with pytest.raises(InputError, match="are the list"):
        functional.batch_listwise_kd(logits(2, 3, 5), logits(2, 3, 5))
    with pytest.raises(InputError, match="list_net has no places"):
        losses.ListwiseKD(form="list_net", top=2)
    with pytest.raises(InputError, match="class counts differ"):
        functional.listwise_kd(STUDENT, TEACHER[:, :4])


def test_pld_puts_the_target_first() -> None:
    teacher, student = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0.1, 0.2, 0.3]])
    share = teacher.softmax(-1)[0]
    order = [1, 0, 2]
    placed = student[0, order]
    expected = share[1] * (placed.logsumexp(0) - placed[0]) + share[0] * (placed[1:].logsumexp(0) - placed[1])
    torch.testing.assert_close(functional.pld(student, teacher, torch.tensor([1])), expected)


def test_pld_of_a_teacher_that_is_right_is_the_weighted_ranking_of_its_order() -> None:
    target = TEACHER.argmax(-1)
    torch.testing.assert_close(
        functional.pld(STUDENT, TEACHER, target), functional.listwise_kd(STUDENT, TEACHER, form="plackett_luce")
    )


def test_pld_of_a_sure_teacher_is_the_cross_entropy() -> None:
    sure = 1e4 * F.one_hot(TARGET, 5).double()
    torch.testing.assert_close(functional.pld(STUDENT, sure, TARGET), F.cross_entropy(STUDENT, TARGET))


def test_pld_leaves_rows_without_target_out() -> None:
    labelled = torch.tensor([True, False, True, True, False, True])
    expected = functional.pld(STUDENT[labelled], TEACHER[labelled], TARGET[labelled])
    torch.testing.assert_close(functional.pld(STUDENT, TEACHER, torch.where(labelled, TARGET, -1)), expected)
