"""The loop takes exactly the steps of a hand-written one, and ends when and as it is told to."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmdistill.distill.terms import Terms
from mmdistill.errors import InputError, MMDistillError
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit, total_steps
from mmdistill.training.phase import Phase
from tests.training.standins import Memory, Model, equal_weights, new_model, phase_of, spec, train_model


def by_hand(model: Model, loader: Memory, epochs: int, accumulate: int, clip: float | None) -> None:
    """AdamW on the mean over every group of `accumulate` batches."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(epochs):
        for group in loader.order(epoch).split(loader.batch_size * accumulate):
            outputs = [model(loader.batch(rows)["features"])["logits"] for rows in group.split(loader.batch_size)]
            F.cross_entropy(torch.cat(outputs), loader.target[group]).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("rows", [40, 43])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_steps_equal_those_of_a_hand_written_loop(rows: int, accumulate: int, clip: float | None) -> None:
    """Also where the last batch is shorter and the last group incomplete."""
    ours, theirs = new_model(dropout=0.0), new_model(dropout=0.0)
    loader = Memory(rows)
    train = spec(
        epochs=2,
        optimizer={"name": "sgd", "fused": False},
        learning_rate=0.1,
        schedule="constant",
        accumulate=accumulate,
        clip_norm=clip,
        select="last",
    )
    result = train_model(ours, loader, train)
    by_hand(theirs, loader, 2, accumulate, clip)
    assert result.steps == total_steps(len(loader), train) == 2 * -(-len(loader) // accumulate)
    for one, two in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_one_seed_one_result_whatever_ran_before() -> None:
    one, two = new_model(), new_model()
    train_model(one, Memory(), spec())
    torch.rand(17), random.random(), np.random.rand()  # noqa: NPY002
    train_model(two, Memory(), spec())
    assert equal_weights(one, two)
    three = new_model()
    train_model(three, Memory(), spec(), seed=1)
    assert not equal_weights(one, three)


def test_the_random_state_of_the_process_is_left_as_it_was() -> None:
    model = new_model()
    random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    train_model(model, Memory(), spec(epochs=1))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


class Scores:
    """Validation scores in a given order."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.seen = scores, 0
        self.models: list[dict[str, Tensor]] = []

    def watch(self, model: nn.Module) -> Any:
        def validate() -> float:
            model.eval()
            self.models.append({key: value.clone() for key, value in model.state_dict().items()})
            self.seen += 1
            return self.scores[self.seen - 1]

        return validate


@pytest.mark.parametrize(("higher", "best"), [(True, 2), (False, 3)])
def test_the_best_weights_are_kept(higher: bool, best: int) -> None:
    model, scores = new_model(), Scores(0.5, 0.9, 0.3)
    result = train_model(model, Memory(), spec(), validate=scores.watch(model), higher_is_better=higher)
    assert (result.best_epoch, result.best_score) == (best, scores.scores[best - 1])
    assert all(torch.equal(value, scores.models[best - 1][key]) for key, value in model.state_dict().items())


def test_the_last_weights_are_kept_when_asked() -> None:
    model, scores = new_model(), Scores(0.5, 0.9, 0.3)
    result = train_model(model, Memory(), spec(select="last"), validate=scores.watch(model))
    assert (result.best_epoch, result.best_score) == (3, 0.3)
    assert all(torch.equal(value, scores.models[2][key]) for key, value in model.state_dict().items())


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    model = new_model()
    result = train_model(model, Memory(), spec(), validate=Scores(float("nan"), 0.2, float("nan")).watch(model))
    assert (result.best_epoch, result.best_score) == (2, 0.2)


def test_validation_in_eval_mode_does_not_leave_the_student_there() -> None:
    model = new_model()
    modes = []
    model.dropout.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    train_model(model, Memory(), spec(), validate=Scores(0.1, 0.2, 0.3).watch(model))
    assert modes
    assert all(modes)


def test_patience_ends_training() -> None:
    model, scores = new_model(), Scores(0.5, 0.6, 0.6, 0.1, 0.9)
    result = train_model(model, Memory(), spec(epochs=9, stop={"patience": 2}), validate=scores.watch(model))
    assert (result.stopped_by, result.epochs, result.best_epoch) == ("patience", 4, 2)


@pytest.mark.parametrize(("higher", "target", "epochs"), [(True, 0.6, 2), (False, 0.2, 4)])
def test_a_good_enough_score_ends_training(higher: bool, target: float, epochs: int) -> None:
    model, scores = new_model(), Scores(0.5, 0.6, 0.6, 0.1, 0.9)
    train = spec(epochs=5, stop={"target": target})
    result = train_model(model, Memory(), train, validate=scores.watch(model), higher_is_better=higher)
    assert (result.stopped_by, result.epochs) == ("target", epochs)


def test_a_step_limit_keeps_the_schedule_of_all_epochs() -> None:
    """A baseline takes its student's steps at its student's learning rates."""
    result = train_model(new_model(), Memory(), spec(epochs=4, log_every=1), max_steps=7)
    whole = train_model(new_model(), Memory(), spec(epochs=4, log_every=1))
    assert (result.stopped_by, result.steps) == ("steps", 7)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == [row["learning_rate"] for row in whole.history][:7]


def test_validation_every_few_epochs_and_at_the_end() -> None:
    model = new_model()
    result = train_model(model, Memory(), spec(epochs=5, evaluate_every=2), validate=Scores(0.1, 0.2, 0.3).watch(model))
    epochs = [row["epoch"] for row in result.history if row["validation_score"] is not None]
    assert epochs == [2, 4, 5]


def test_stopping_early_needs_validation() -> None:
    with pytest.raises(InputError, match="needs validation rows"):
        train_model(new_model(), Memory(), spec(stop={"patience": 1}))


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InputError, match="no rows to train on"):
        train_model(new_model(), Memory(0), spec())


def test_history_has_a_row_for_every_reading_and_every_epoch(tmp_path: Path) -> None:
    model = new_model()
    result = train_model(model, Memory(), spec(), folder=tmp_path, validate=Scores(0.1, 0.2, 0.3).watch(model))
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [4, 5, 8, 10, 12, 15]
    assert [float(row["epoch"]) for row in rows] == [0.8, 1, 1.6, 2, 2.4, 3]
    assert [row["validation_score"] for row in rows] == ["", "0.1", "", "0.2", "", "0.3"]
    assert list(rows[0]) == [
        "epoch",
        "step",
        "learning_rate",
        "supervised",
        "total",
        "gradient_norm",
        "supervised/gradient_norm",
        "validation_score",
        "seconds",
        "samples_per_second",
    ]
    assert [float(row["total"]) for row in rows] == pytest.approx([row["total"] for row in result.history], rel=1e-8)
    assert result.seconds == pytest.approx(float(rows[-1]["seconds"]), abs=1e-3)


def test_a_row_of_the_history_is_the_mean_since_the_row_before() -> None:
    fine = train_model(new_model(), Memory(), spec(log_every=1)).history
    coarse = train_model(new_model(), Memory(), spec(log_every=4)).history
    losses, norms = [row["total"] for row in fine], [row["gradient_norm"] for row in fine]
    assert coarse[0]["total"] == pytest.approx(np.mean(losses[:4]))  # type: ignore[arg-type]
    assert coarse[0]["gradient_norm"] == pytest.approx(np.mean(norms[:4]))  # type: ignore[arg-type]
    assert coarse[1]["total"] == pytest.approx(losses[4])


def test_gradient_norm_is_that_of_the_whole_model() -> None:
    norms: list[float] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            grads = [parameter.grad for group in self.param_groups for parameter in group["params"]]
            norms.append(float(torch.cat([grad.flatten() for grad in grads]).norm()))
            return super().step(closure)

    model = new_model()
    optimizer = Watched(model.parameters(), lr=0.1)
    phase = Phase("student", {"model": model}, {"all": optimizer}, simple_step(model))
    result = fit(phase, Memory(), spec(log_every=1), accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0)
    assert [row["gradient_norm"] for row in result.history] == pytest.approx(norms)


class Waits(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor, which on an accelerator waits for all work before it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"clip_norm": 0.1, "accumulate": 2, "optimizer": {"name": "sgd"}}])
def test_nothing_in_a_step_waits_for_the_device(changes: dict[str, Any]) -> None:
    with Waits() as seen:
        assert torch.ones(1).item() == 1
    assert seen.count == 1
    with Waits() as waits:
        train_model(new_model(), Memory(), spec(log_every=1000, **changes))
    assert waits.count == 0


def simple_step(model: nn.Module) -> Any:
    def step(batch: Any, index: int) -> Terms:
        return Terms.sum({"loss": F.cross_entropy(model(batch["features"])["logits"], batch["target"]["label"])})

    return step


def test_two_peers_with_their_own_optimizers_are_one_phase() -> None:
    one, two = new_model(0), new_model(1)
    before = new_model(0), new_model(1)

    def step(batch: Any, index: int) -> Terms:
        first, second = (peer(batch["features"])["logits"] for peer in (one, two))
        return Terms.sum(
            {
                "first": F.cross_entropy(first, batch["target"]["label"]),
                "second": F.mse_loss(second, first.detach()),
            }
        )

    optimizers = {"one": torch.optim.SGD(one.parameters(), 0.1), "two": torch.optim.Adam(two.parameters(), 0.01)}
    phase = Phase("peers", {"one": one, "two": two}, optimizers, step)
    result = fit(phase, Memory(), spec(), accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0)
    assert {"first", "second"} <= set(result.history[0])
    assert not equal_weights(one, before[0])
    assert not equal_weights(two, before[1])
    assert optimizers["one"].param_groups[0]["lr"] / 0.1 == pytest.approx(
        optimizers["two"].param_groups[0]["lr"] / 0.01
    )


def test_bfloat16_trains_and_keeps_float32_weights() -> None:
    model = new_model()
    train = spec(select="last")
    accelerator = make_accelerator(ComputeSpec(device="cpu", precision="bfloat16"))
    seen = []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    result = fit(phase_of(model, train), Memory(), train, accelerator=accelerator, seed=0)
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert np.isfinite([row["total"] for row in result.history]).all()  # type: ignore[arg-type]


def test_a_step_that_changes_its_terms_is_an_error() -> None:
    model = new_model()

    def step(batch: Any, index: int) -> Terms:
        parts = {"loss": F.cross_entropy(model(batch["features"])["logits"], batch["target"]["label"])}
        return Terms.sum(parts | ({"late": parts["loss"]} if index else {}))

    phase = Phase("student", {"model": model}, {"all": torch.optim.SGD(model.parameters(), 0.1)}, step)
    with pytest.raises(MMDistillError, match="late"):
        fit(phase, Memory(), spec(), accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0)
