"""What every method of balancing columns promises, and the formulas of each against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdistill import catalog
from mmdistill.distill.objective import Objective
from mmdistill.distill.terms import Terms
from mmdistill.errors import InputError
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.balances.alternating import Alternating, column_of_step, without_direction
from mmdistill.training.balances.balance import ModalityBalance
from mmdistill.training.balances.g2d import leading, rank_of_step
from mmdistill.training.balances.gradient_blending import GradientBlending, blend
from mmdistill.training.balances.prototypes import ClassMeans, rebalance
from mmdistill.training.balances.scores import imbalance, true_class_sums
from mmdistill.training.loop import fit
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase
from mmdistill.training.validation import Standing, Validation
from tests.training.standins import equal_weights, spec
from tests.training.two_columns import COLUMNS, Rows, balance, look_at, new_model, phase_of, train_model, training_of

HERE: dict[str, dict[str, Any]] = {
    "ogm_ge": {"alpha": 0.5},
    "prototypes": {},
    "gradient_blending": {},
    "alternating": {"orthogonal": True},
    "branch_stopping": {"patience": 1},
}
"""Balances that need no other model, and options under which each does something within three short epochs."""


def test_every_entry_says_where_it_comes_from_and_when_to_use_it() -> None:
    entries = catalog.entries("modality balance")
    assert {entry.name for entry in entries} == {*HERE, "unimodal_teachers", "g2d"}
    for entry in entries:
        assert entry.summary.endswith(".")
        assert entry.when.endswith(".")  # type: ignore[attr-defined]
        for name, field in entry.options.model_fields.items():
            assert field.description, (entry.name, name)


@pytest.mark.parametrize("name", HERE)
def test_it_changes_what_is_learnt_and_every_loss_stays_finite(name: str) -> None:
    plain, balanced = new_model(), new_model()
    train_model(plain, spec(select="last"))
    result, _ = train_model(balanced, spec(select="last"), **{name: HERE[name]})
    assert not equal_weights(plain, balanced)
    assert all(torch.isfinite(value).all() for value in balanced.state_dict().values())
    assert result.steps == 18


@pytest.mark.parametrize("name", HERE)
def test_a_training_that_was_killed_and_resumed_ends_with_the_same_weights(name: str, tmp_path: Path) -> None:
    train = spec(epochs=4, select="last", checkpoint={"steps": 1}, clip_norm=1.0)
    whole, again = new_model(), new_model()
    train_model(whole, train, folder=tmp_path / "whole", **{name: HERE[name]})
    phase, _ = phase_of(again, train, **{name: HERE[name]})
    steps = 0

    def killed(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(phase, again, train, tmp_path / "killed", killed)
    resumed = new_model(seed=5)
    train_model(resumed, train, folder=tmp_path / "killed", **{name: HERE[name]})
    assert equal_weights(whole, resumed)


def _fit(phase: Any, model: Any, train: Any, folder: Path, after_step: Any) -> None:
    look = look_at(model, phase.modules["probes"], Rows(rows=30))
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    stopped = replace(phase, after_step=after_step)
    fit(stopped, Rows(), train, accelerator=accelerator, seed=0, folder=folder, validate=look)


@pytest.mark.parametrize("name", HERE)
def test_batches_that_are_accumulated_are_one_step(name: str) -> None:
    result, _ = train_model(new_model(), spec(accumulate=2, batch_size=8), **{name: HERE[name]})
    assert result.steps == 9


@pytest.mark.parametrize("name", HERE)
def test_it_works_under_mixed_precision(name: str) -> None:
    model, train = new_model(), spec(clip_norm=1.0)
    phase, _ = phase_of(model, train, **{name: HERE[name]})
    accelerator = make_accelerator(ComputeSpec(device="cpu", precision="bfloat16"))
    look = look_at(model, phase.modules["probes"], Rows(rows=30))  # type: ignore[arg-type]
    result = fit(phase, Rows(), train, accelerator=accelerator, seed=0, validate=look)
    assert result.steps == 18
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_balances_change_whole_gradients_before_they_are_clipped() -> None:
    """Those of all accumulated batches, as the one large batch would have them."""
    seen: list[torch.Tensor] = []

    class Watching(ModalityBalance):
        def after_backward(self, step: int) -> None:
            seen.append(torch.cat([one.grad.flatten() for one in self.training_of.model.parameters()]))  # type: ignore[union-attr]

    norms = []
    for accumulate, size in ((1, 16), (2, 8)):
        model, train = new_model(), spec(epochs=1, accumulate=accumulate, batch_size=size, clip_norm=1e-3)
        modalities = ModalityTraining(COLUMNS, None, (Watching(training_of(model)),), None)
        phase = student_phase("one", model, Objective({"label": CrossEntropy()}), train, modalities=modalities)
        accelerator = make_accelerator(ComputeSpec(device="cpu"))
        result = fit(phase, Rows(rows=16, batch_size=size), train, accelerator=accelerator, seed=0)
        norms.append(result.history[-1]["gradient_norm"])
    assert torch.allclose(seen[0], seen[1], atol=1e-6)
    assert seen[0].norm().item() == pytest.approx(norms[0], rel=1e-5)
    assert seen[0].norm().item() > 1e-2


@pytest.mark.parametrize("name", [*HERE, "g2d"])
def test_no_hook_of_a_step_waits_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device nothing has a value, so that a look at one is an error."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)  # which knows no such device
    model = new_model().to("meta")
    teachers = {column: f"t-only-{column}" for column in COLUMNS}
    training = training_of(model, unimodal_teachers=teachers)
    assert training.probes is not None
    training.probes.to("meta")
    options = {"noise": False} if name == "ogm_ge" else HERE.get(name, {})
    made = balance(name, training, **options).to("meta")
    batch = Rows().every().to("meta")
    signals = {f"{teacher}:logits": torch.zeros(48, 3, device="meta") for teacher in teachers.values()}
    for step in range(8):
        shown = made.shown(batch["present"], batch["row"], step)
        outputs = model(batch["features"], shown)
        terms = Terms.sum({"supervised": outputs["logits"].square().mean()})
        made.terms(batch, outputs, signals, terms, step).everything.backward()
        made.after_backward(step)
        model.zero_grad()


# Scores of columns


def test_a_column_is_compared_with_the_mean_of_the_others() -> None:
    assert imbalance(torch.tensor([3.0, 1.0])).tolist() == pytest.approx([3, 1 / 3])
    assert imbalance(torch.tensor([4.0, 1.0, 3.0])).tolist() == pytest.approx([2, 1 / 3.5, 3 / 2.5])


def test_a_column_without_rows_is_neither_ahead_nor_behind() -> None:
    ratios = imbalance(torch.tensor([4.0, 0.0, 2.0]), torch.tensor([4.0, 0.0, 4.0]))
    assert ratios.tolist() == pytest.approx([2, 1, 0.5])
    assert imbalance(torch.tensor([4.0, 0.0]), torch.tensor([4.0, 0.0])).tolist() == [1, 1]


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=5))
def test_scores_of_another_scale_have_the_same_ratios(scores: list[float]) -> None:
    one, other = imbalance(torch.tensor(scores)), imbalance(torch.tensor(scores) * 7)
    assert torch.allclose(one, other, rtol=1e-4)


def test_rows_that_do_not_count_have_no_part_in_a_score() -> None:
    logits = {"a": torch.tensor([[0.0, 0.0], [float("nan"), 1.0]]), "b": torch.tensor([[9.0, -9.0], [0.0, 0.0]])}
    target = torch.tensor([0, -1])
    counts = {"a": torch.tensor([True, False]), "b": torch.tensor([True, False])}
    scores, rows = true_class_sums(logits, target, counts)
    assert scores.tolist() == pytest.approx([0.5, 1.0], abs=1e-5)
    assert rows.tolist() == [1, 1]


# Prototypes


def test_slow_columns_are_pulled_and_fast_ones_held() -> None:
    pulls, holds = rebalance(torch.tensor([1.25, 0.8, 0.1, 4.0]))
    assert pulls.tolist() == pytest.approx([0, 0.25, 1, 0])
    assert holds.tolist() == pytest.approx([0.25, 0, 0, 1])
    pulls, holds = rebalance(torch.tensor([1.25, 0.8]), "switch")
    assert (pulls.tolist(), holds.tolist()) == ([0, 1], [1, 0])


def test_prototypes_are_class_means_renewed_with_momentum() -> None:
    means = ClassMeans(3, 2)
    target, every = torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.bool)
    means.add(torch.tensor([[1.0, 0], [3, 0], [0, 5]]), target, every)
    means.renew(0.25)
    assert means.prototypes.tolist() == [[2, 0], [0, 5], [0, 0]]
    assert means.known.tolist() == [True, True, False]
    means.add(torch.tensor([[4.0, 0], [0, 9], [7, 7]]), torch.tensor([0, 1, -1]), torch.tensor([True, False, False]))
    means.renew(0.25)
    assert means.prototypes.tolist() == [[3.5, 0], [0, 5], [0, 0]]


def test_distances_are_exact_in_tight_classes_far_from_the_origin() -> None:
    generator = torch.Generator().manual_seed(0)
    means, target = ClassMeans(3, 64), torch.arange(60) % 3
    means.prototypes.copy_(20 + torch.randn(3, 64, generator=generator))
    means.known.fill_(True)
    rows = means.prototypes[target] + 0.01 * torch.randn(60, 64, generator=generator)
    expected = (rows - means.prototypes[target]).norm(dim=1)
    torch.testing.assert_close(-means(rows)[torch.arange(60), target], expected, rtol=1e-4, atol=0)


def test_a_class_without_prototype_has_no_probability() -> None:
    means = ClassMeans(3, 2)
    means.add(torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool))
    means.renew(0.0)
    probabilities = means(torch.tensor([[1.0, 0.0]])).softmax(1)
    distance = 2**0.5
    expected = 1 / (1 + torch.tensor(-distance).exp())
    assert probabilities[0].tolist() == pytest.approx([expected.item(), 1 - expected.item(), 0])


def test_the_slow_column_is_pulled_after_the_first_epoch() -> None:
    result, _ = train_model(new_model(), spec(log_every=100), prototypes={"mu": 0, "end": 1})
    pulled = [(row["prototypes/loud"], row["prototypes/quiet"]) for row in result.history]
    assert pulled[0] == (0, 0)
    assert pulled[-1][1] > pulled[-1][0] >= 0  # type: ignore[operator]


def test_prototypes_do_not_depend_on_how_many_batches_make_a_step() -> None:
    known = []
    for accumulate in (1, 2):
        model, rows = new_model(), Rows(batch_size=16 // accumulate)
        made = balance("prototypes", training_of(model, steps_per_epoch=3))
        step = 0
        for epoch in range(3):
            for number, batch in enumerate(rows.batches(epoch), start=1):
                outputs = model(batch["features"], batch["present"])
                made.terms(batch, outputs, {}, Terms.sum({"supervised": outputs["logits"].sum()}), step)
                if number % accumulate == 0:
                    made.after_backward(step)
                    step += 1
        known.append(made.means["quiet"].prototypes)
    assert known[0].abs().sum() > 0
    torch.testing.assert_close(known[0], known[1])


# Gradient blending


def test_weights_are_generalisation_over_overfitting_squared() -> None:
    before, now = [(1.0, 1.0), (1.0, 1.0)], [(0.5, 0.7), (0.2, 0.6)]
    shares = [0.3 / 0.2**2, 0.4 / 0.4**2]
    assert blend(before, now) == pytest.approx([share / sum(shares) for share in shares])


def test_a_loss_that_got_worse_counts_nothing_and_tiny_overfitting_is_bounded() -> None:
    assert blend([(1.0, 1.0), (1.0, 1.0)], [(0.5, 1.2), (0.8, 0.8)]) == [0, 1]
    assert blend([(1.0, 1.0)], [(1.5, 1.5)]) is None
    assert blend([(float("nan"), 1.0)], [(0.5, 0.5)]) is None


def test_weights_start_equal_and_follow_the_looks() -> None:
    made = balance("gradient_blending", training_of(new_model()))
    assert isinstance(made, GradientBlending)
    assert made.weights.tolist() == pytest.approx([1 / 3] * 3)
    for loud, quiet, model in ((1.0, 1.0, 1.0), (0.6, 0.9, 0.8)):
        made.sums.copy_(torch.tensor([model * 10, 10.0]))
        columns = {"loud": Standing(0.5, loud, loud - 0.1), "quiet": Standing(0.5, quiet, quiet - 0.1)}
        made.validated(1, Validation(0.5, columns, model))
    assert made.weights.tolist() == pytest.approx([4 / 7, 1 / 7, 2 / 7])


def test_fixed_weights_need_every_column() -> None:
    weights = {"loud": 1.0, "quiet": 2.0, "fused": 1.0}
    made = balance("gradient_blending", training_of(new_model()), weights=weights)
    assert isinstance(made, GradientBlending)
    assert made.weights.tolist() == [0.25, 0.5, 0.25]
    with pytest.raises(InputError, match="no loss 'lowd'"):
        balance("gradient_blending", training_of(new_model()), weights={"lowd": 1.0})
    with pytest.raises(InputError, match="no weight for 'quiet'"):
        balance("gradient_blending", training_of(new_model()), weights={"loud": 1.0, "fused": 1.0})


# Alternating


def test_columns_take_turns() -> None:
    assert [column_of_step(step, 2, 3) for step in range(7)] == [0, 1, None, 0, 1, None, 0]
    assert [column_of_step(step, 3, 0) for step in range(4)] == [0, 1, 2, 0]
    assert [column_of_step(step, 2, 2) for step in range(6)] == [0, None, 1, None, 0, None]


def test_a_row_that_lacks_the_column_whose_turn_it_is_is_shown_what_it_has() -> None:
    made = balance("alternating", training_of(new_model()))
    present = {"loud": torch.tensor([True, False]), "quiet": torch.tensor([True, True])}
    shown = made.shown(present, torch.arange(2), 0)
    assert shown["loud"].tolist() == [True, False]
    assert shown["quiet"].tolist() == [False, True]


def test_the_projector_takes_out_what_earlier_steps_showed() -> None:
    projector = torch.eye(3, dtype=torch.float64)
    for _ in range(200):
        projector = without_direction(projector, torch.tensor([2.0, 0, 0], dtype=torch.float64), 1.0)
    assert (projector @ torch.tensor([1.0, 1, 1], dtype=torch.float64)).tolist() == pytest.approx([0, 1, 1], abs=2e-3)
    once = without_direction(torch.eye(2), torch.tensor([1.0, 0.0]), 1.0)
    assert once.tolist() == [[0.5, 0], [0, 1]]


def test_the_heads_gradient_is_projected_by_what_came_before() -> None:
    model = new_model()
    made = balance("alternating", training_of(model), orthogonal=True)
    assert isinstance(made, Alternating)
    assert made.projector is not None
    batch = Rows().every()
    present = made.shown(batch["present"], batch["row"], 0)
    outputs = model(batch["features"], present)
    outputs["logits"].square().mean().backward()
    head = model.heads["label"]
    made.terms(batch, outputs, {}, None, 0)  # type: ignore[arg-type]
    before = head.weight.grad.clone()  # type: ignore[union-attr, operator]
    made.after_backward(0)
    assert torch.allclose(head.weight.grad, before)  # type: ignore[arg-type]
    projector = made.projector.clone()
    made.terms(batch, outputs, {}, None, 1)  # type: ignore[arg-type]
    made.after_backward(1)
    assert torch.allclose(head.weight.grad, before @ projector)  # type: ignore[arg-type]
    assert not torch.allclose(before @ projector, before)


# G2D


def test_the_weakest_column_leads_first() -> None:
    confidences = torch.tensor([0.9, 0.2, 0.5])
    assert leading(confidences, 0).tolist() == [0, 1, 0]
    assert leading(confidences, 1).tolist() == [0, 0, 1]


def test_all_but_the_strongest_have_an_equal_part_of_the_prioritised_steps() -> None:
    assert [rank_of_step(step, 8, 3, 0.5) for step in range(8)] == [0, 0, 1, 1, None, None, None, None]
    assert [rank_of_step(step, 4, 2, 0.5) for step in range(4)] == [0, 0, None, None]
    assert rank_of_step(0, 4, 2, 0.0) is None


def test_a_column_that_no_row_of_a_step_has_does_not_lead() -> None:
    model = new_model()
    training = training_of(model, unimodal_teachers={"loud": "t-only-loud", "quiet": "t-only-quiet"})
    made = balance("g2d", training)
    rows = Rows()
    rows.present["quiet"][:] = False
    batch = rows.every()
    signals = {f"t-only-{column}:logits": torch.zeros(48, 3) for column in COLUMNS}
    outputs = model(batch["features"], batch["present"])
    made.terms(batch, outputs, signals, Terms.sum({"supervised": outputs["logits"].square().mean()}), 0)
    outputs["logits"].square().mean().backward()
    made.after_backward(0)
    assert any(parameter.grad.any() for parameter in model.encoders["loud"].parameters())  # type: ignore[union-attr]


def test_only_the_column_that_leads_has_a_gradient() -> None:
    model = new_model()
    training = training_of(model, unimodal_teachers={"loud": "t-only-loud", "quiet": "t-only-quiet"})
    made = balance("g2d", training)
    batch = Rows().every()
    target = batch["target"]["label"]
    sure = torch.nn.functional.one_hot(target, 3).float()
    signals = {"t-only-loud:logits": 9 * sure, "t-only-quiet:logits": sure}
    model(batch["features"])["logits"].square().mean().backward()
    made.terms(batch, {}, signals, None, 0)  # type: ignore[arg-type]
    made.after_backward(0)
    largest = {one: max(p.grad.abs().max() for p in model.encoders[one].parameters()) for one in COLUMNS}  # type: ignore[union-attr]
    assert largest["loud"] == 0
    assert largest["quiet"] > 0
    model.zero_grad()
    model(batch["features"])["logits"].square().mean().backward()
    made.terms(batch, {}, signals, None, 17)  # type: ignore[arg-type]
    made.after_backward(17)
    assert all(p.grad.abs().max() > 0 for p in model.encoders["loud"].parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["unimodal_teachers", "g2d"])
def test_a_column_needs_a_model_of_its_own(name: str) -> None:
    with pytest.raises(InputError, match="'quiet' has none"):
        balance(name, training_of(new_model(), unimodal_teachers={"loud": "teacher-only-loud"}))


@pytest.mark.parametrize("name", ["ogm_ge", "prototypes", "g2d"])
def test_targets_that_are_no_classes_are_refused(name: str) -> None:
    training = training_of(new_model(), unimodal_teachers=dict.fromkeys(COLUMNS, "one"))
    object.__setattr__(training, "losses", {"label": torch.nn.MSELoss()})
    with pytest.raises(InputError, match="has no such class"):
        balance(name, training)
