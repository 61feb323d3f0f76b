"""The supervised loss of classification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmdistill.errors import InputError, MMDistillError
from mmdistill.tasks.catalog import ClassificationOptions
from mmdistill.tasks.classification import ClassificationTask

CELLS = ["a"] * 6 + ["b"] * 3 + ["c"]
LOGITS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
ALL = torch.ones(8, dtype=torch.bool)
SOME = torch.tensor([True, False, True, True, False, True, True, False])
UNLABELLED = torch.where(SOME, TARGET, -1)


def task(**options: Any) -> ClassificationTask:
    made = ClassificationTask(ClassificationOptions(**options))
    made.fit(CELLS, range(len(CELLS)))
    return made


def weights(made: ClassificationTask) -> torch.Tensor:
    assert made.loss.class_weights is not None
    return made.loss.class_weights


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", ["none", "balanced", {"b": 3.0}])
def test_it_is_torchs_cross_entropy_over_the_labelled_rows(class_weights: Any, smoothing: float) -> None:
    made = task(class_weights=class_weights, label_smoothing=smoothing)
    weight = made.loss.class_weights
    for target, labelled in ((TARGET, ALL), (UNLABELLED, SOME)):
        expected = F.cross_entropy(LOGITS[labelled], TARGET[labelled], weight=weight, label_smoothing=smoothing)
        torch.testing.assert_close(made.loss(LOGITS, target, labelled), expected)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=CELLS)
    assert weights(task(class_weights="balanced")).tolist() == pytest.approx(expected.tolist())


def test_classes_that_a_mapping_leaves_out_weigh_one() -> None:
    assert weights(task(class_weights={"b": 3.0})).tolist() == [1.0, 3.0, 1.0]


def test_unlabelled_rows_give_no_gradient_whatever_stands_in_their_target() -> None:
    for target in (UNLABELLED, torch.where(SOME, TARGET, 1)):
        logits = LOGITS.clone().requires_grad_()
        task().loss(logits, target, SOME).backward()
        assert logits.grad is not None
        assert (logits.grad[~SOME] == 0).all()
        assert (logits.grad[SOME] != 0).all()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_batch_without_labels_gives_zero_and_no_gradient(class_weights: Any) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = task(class_weights=class_weights).loss(logits, torch.full((8,), -1), ~ALL)
    (1e6 * loss).backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_mixed_rows_count_for_both_targets_by_their_share() -> None:
    partner, share = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6]), torch.linspace(0, 1, 8)
    loss = task().loss(LOGITS, TARGET, ALL, {"partner": partner, "share": share})
    mixture = share[:, None] * F.one_hot(TARGET, 3) + (1 - share)[:, None] * F.one_hot(TARGET[partner], 3)
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS, mixture))


def test_a_mixed_row_whose_partner_has_no_target_counts_for_its_own_share_only() -> None:
    partner, share = torch.tensor([1, 0]), torch.tensor([0.75, 0.6])
    labelled = torch.tensor([True, False])
    loss = task().loss(LOGITS[:2], TARGET[:2], labelled, {"partner": partner, "share": share})
    own, other = F.cross_entropy(LOGITS[:1], TARGET[:1]), F.cross_entropy(LOGITS[1:2], TARGET[:1])
    torch.testing.assert_close(loss, (0.75 * own + 0.4 * other) / 1.15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=dtype):
        loss = task(class_weights="balanced").loss(LOGITS.to(dtype), TARGET, ALL)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, task(class_weights="balanced").loss(LOGITS.to(dtype).float(), TARGET, ALL))


def test_it_stays_finite_for_extreme_logits() -> None:
    logits = (1e4 * LOGITS.sign()).requires_grad_()
    loss = task(label_smoothing=0.1).loss(logits, TARGET, ALL)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_it_compiles_without_a_graph_break_so_nothing_in_it_waits_for_the_device() -> None:
    torch._dynamo.reset()
    made = task(class_weights="balanced")
    compiled = torch.compile(made.loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(LOGITS, UNLABELLED, SOME), made.loss(LOGITS, UNLABELLED, SOME))


def test_class_weights_move_with_the_module_they_are_part_of_and_are_not_saved() -> None:
    holder = torch.nn.ModuleDict({"digit": task(class_weights="balanced").loss})
    assert [name for name, _ in holder.named_buffers()] == ["digit.class_weights"]
    assert not holder.state_dict()


def test_a_restored_state_gives_the_same_loss() -> None:
    fitted = task(class_weights="balanced")
    restored = ClassificationTask(ClassificationOptions(class_weights="balanced"))
    restored.restore({"classes": ["a", "b", "c"], "counts": [6, 3, 1]})
    assert torch.equal(weights(restored), weights(fitted))


def test_class_weights_before_the_classes_are_known_are_an_error() -> None:
    with pytest.raises(MMDistillError, match="class weights are not known"):
        ClassificationTask(ClassificationOptions(class_weights="balanced")).loss  # noqa: B018


def test_a_weight_for_a_class_that_is_not_there_names_it() -> None:
    with pytest.raises(InputError, match="class_weights: There is no class 'bb'"):
        task(class_weights={"bb": 2.0})


@pytest.mark.parametrize(
    "options",
    [{"class_weights": {"a": 0.0}}, {"class_weights": {"a": float("inf")}}, {"class_weights": "balance"},
     {"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"top_k": 1}, {"primary": "acuracy"}, {"colour": 1}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ClassificationOptions(**options)
