"""Terms are rescaled so that their gradients stand to each other as their weights do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.arguments import Argument
from mmdistill.distill.balance import DECAY, RANGE, GradientBalance
from mmdistill.distill.objective import Objective, Term
from mmdistill.distill.terms import Terms
from mmdistill.errors import InputError
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.group import Participant, group_phase
from mmdistill.training.term_gradients import term_gradient_norms
from tests.training.standins import Memory, Model, new_model, spec


def factors(balance: GradientBalance, *weights: float) -> list[float]:
    return [float(factor) for factor in balance.factors(weights)]


def test_nothing_changes_before_norms_are_known() -> None:
    assert factors(GradientBalance(2), 1, 0.5) == [1, 1]


def test_gradients_get_the_shares_of_the_weights_and_keep_their_sum() -> None:
    balance = GradientBalance(3)
    norms = torch.tensor([4.0, 1.0, 0.25])
    balance.observe(norms)
    weights = [1.0, 2.0, 1.0]
    scaled = [w * f * n for w, f, n in zip(weights, factors(balance, *weights), norms.tolist(), strict=True)]
    assert scaled == pytest.approx([1.5625, 3.125, 1.5625])
    assert sum(scaled) == pytest.approx(4 + 2 + 0.25)


def test_norms_are_averaged() -> None:
    balance = GradientBalance(1)
    balance.observe(torch.tensor([4.0]))
    balance.observe(torch.tensor([1.0]))
    assert float(balance.norms) == pytest.approx(DECAY * 4 + (1 - DECAY))


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), 0.0])
def test_a_norm_that_says_nothing_is_left_out(strange: float) -> None:
    balance = GradientBalance(2)
    balance.observe(torch.tensor([2.0, strange]))
    assert balance.norms.tolist() == [2, -1]
    assert factors(balance, 1, 1) == [1, 1]
    balance.observe(torch.tensor([strange, 2.0]))
    assert balance.norms.tolist() == [2, 2]


def test_factors_are_bounded() -> None:
    balance = GradientBalance(2)
    balance.observe(torch.tensor([1.0, 1e-12]))
    assert factors(balance, 1, 1)[1] == RANGE


def test_a_term_of_weight_zero_changes_no_other() -> None:
    balance = GradientBalance(2)
    balance.observe(torch.tensor([2.0, 8.0]))
    assert factors(balance, 1, 0)[0] == 1


class Apart(nn.Module):
    """A loss with a gradient that is far larger than the others'."""

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        return 1000 * (student_features - teacher_features).square().mean()


def objective(balanced: bool) -> Objective:
    arguments = [
        Argument("student_features", "student", ("fused",)),
        Argument("teacher_features", "teacher", ("fused",)),
    ]
    term = Term("apart", Apart(), arguments, lambda step: 0.5)
    return Objective({"label": CrossEntropy()}, [term], balanced=balanced)


def step(model: Model, aim: Objective, index: int) -> Terms:
    data = Memory().batch(torch.arange(8))
    return aim(data, model(data["features"]), {"fused": torch.zeros(8, 8)}, index)  # type: ignore[no-any-return]


def test_an_objective_is_balanced_by_the_norms_it_is_told() -> None:
    model, aim = new_model(dropout=0.0), objective(True)
    parameters = list(model.parameters())
    for index in range(2):
        norms = term_gradient_norms(step(model, aim, index), parameters)
        aim.observe(norms, index)
    after = term_gradient_norms(step(model, aim, 2), parameters)
    assert float(after[1] / after[0]) == pytest.approx(0.5, rel=1e-3)
    assert float(norms[1] / norms[0]) == pytest.approx(0.5, rel=1e-3), (
        "measured behind the factors, taken up before them"
    )


def test_the_balance_is_saved_with_the_objective() -> None:
    model, aim = new_model(dropout=0.0), objective(True)
    aim.observe(term_gradient_norms(step(model, aim, 0), list(model.parameters())), 0)
    again = objective(True)
    again.load_state_dict(aim.state_dict())
    torch.testing.assert_close(step(model, again, 1).total, step(model, aim, 1).total)


def test_every_model_of_a_group_is_told_of_its_own_terms() -> None:
    models, aims = [new_model(seed) for seed in (1, 2)], [objective(True), objective(True)]
    group = {
        name: Participant(model, aim, (other,))
        for name, other, model, aim in zip(("a", "b"), ("b", "a"), models, aims, strict=True)
    }
    phase = group_phase("peers", group, spec())
    phase.step(Memory().batch(torch.arange(8)), 0)
    assert phase.observe is not None
    phase.observe(torch.tensor([1.0, 2.0, 3.0, 4.0]), 0)
    assert [aim.balance.norms.tolist() for aim in aims if aim.balance is not None] == [[1, 4], [3, 8]]


def test_without_balance_nothing_is_kept() -> None:
    aim = objective(False)
    aim.observe(torch.ones(2), 0)
    assert aim.balance is None and not aim.state_dict()


def test_term_gradients_are_those_of_a_backward_pass() -> None:
    model, aim = new_model(dropout=0.0), objective(False)
    terms, parameters = step(model, aim, 0), list(model.parameters())
    norms = term_gradient_norms(terms, parameters, scale=64.0)
    for norm, part in zip(norms, terms.parts.values(), strict=True):
        gradients = torch.autograd.grad(part, parameters, retain_graph=True, allow_unused=True)
        expected = torch.cat([one.flatten() for one in gradients if one is not None]).norm()
        torch.testing.assert_close(norm, expected)
    terms.total.backward()
    assert all(parameter.grad is not None for parameter in parameters)


def test_a_term_that_reaches_no_weight_has_no_gradient() -> None:
    model = new_model()
    terms = Terms.sum(
        {"own": torch.tensor(2.0), "other": F.mse_loss(torch.ones(1, requires_grad=True), torch.zeros(1))}
    )
    assert term_gradient_norms(terms, list(model.parameters())).tolist() == [0, 0]


def test_a_step_on_the_meta_device_waits_for_nothing() -> None:
    balance = GradientBalance(2).to("meta")
    balance.observe(torch.ones(2, device="meta"))
    assert balance.factors([1.0, 0.5])[0].device.type == "meta"


def test_every_weight_zero_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to learn"):
        Objective({"label": CrossEntropy()}, supervised=0.0, balanced=True)
