"""Transforms, sample weights and failures of a term."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill import catalog
from mmdistill.catalog import Entry, NoOptions
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import PRESENT, Objective
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.recipe.schema import ComputeSpec, DistillSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit
from mmdistill.training.phase import student_phase
from mmdistill.training.record import NotFiniteError
from tests.training.standins import Memory, new_model, spec

ROWS, CLASSES = 6, 4
SHAPES: dict[str, Any] = {"logits": (CLASSES,), "fused": (5,)}
STUDENT = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(1))
TEACHER = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(2))
TARGET = torch.tensor([0, 1, 2, 3, 0, 1])


class Unweighted(nn.Module):
    """A loss that takes no weight."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        return F.mse_loss(student_logits, teacher_logits)


class Unweighable(Unweighted):
    """One that needs a target besides."""

    def forward(self, student_logits: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        return F.cross_entropy(student_logits, target)


class Fading(nn.Module):
    """A transform that looks at the progress of the training."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        return student_logits * self.scale, teacher_logits * (1 - progress)


@pytest.fixture(autouse=True, scope="module")
def own_components() -> Iterator[None]:
    catalog.entries()
    before = dict(catalog._entries)
    catalog.register(Entry("loss", "own_unweighted", f"{__name__}:Unweighted"))
    catalog.register(Entry("loss", "own_unweighable", f"{__name__}:Unweighable"))
    catalog.register(Entry("transform", "own_fading", f"{__name__}:Fading"))
    yield
    catalog._entries.clear()
    catalog._entries.update(before)


def build(term: Any, **options: Any) -> Objective:
    document = DistillSpec.model_validate({"losses": [term], "supervised": 0})
    arguments: dict[str, Any] = {"student_taps": SHAPES, "teacher_taps": SHAPES, "total_steps": 4, **options}
    return build_objective({"label": CrossEntropy()}, document, **arguments)


def value(
    objective: Objective, *, step: int = 0, labelled: Any = None, student: Tensor = STUDENT, **said: Tensor
) -> Tensor:
    flags = torch.ones(ROWS, dtype=torch.bool) if labelled is None else torch.tensor(labelled)
    content = {"target": {"label": torch.where(flags, TARGET, -1)}, "labelled": {"label": flags}}
    signals = {"logits": TEACHER, **said}
    return objective(TensorDict(content, [ROWS]), {"logits": student}, signals, step).total  # type: ignore[no-any-return]


class TestTransforms:
    """What is done to the logits of both sides first."""

    def test_the_loss_sees_what_they_make_of_both_sides(self) -> None:
        objective = build({"name": "kd", "temperature": 2, "transforms": ["standardise"]})
        expected = functional.kd(functional.standardise(STUDENT), functional.standardise(TEACHER), temperature=2.0)
        torch.testing.assert_close(value(objective), expected)

    def test_they_are_applied_in_their_order_and_may_look_at_the_progress_and_learn(self) -> None:
        objective = build(
            {"name": "mse_logits", "transforms": ["own_fading", {"name": "standardise", "temperature": 3}]}
        )
        expected = functional.mse_logits(
            functional.standardise(STUDENT, temperature=3), functional.standardise(0.75 * TEACHER, temperature=3)
        )
        torch.testing.assert_close(value(objective, step=1), expected)
        assert [tuple(one.shape) for one in objective.parameters()] == [()]

    def test_a_loss_of_features_has_nothing_to_transform(self) -> None:
        with pytest.raises(InputError, match=r"transforms: Transforms are for the logits of both sides"):
            build({"name": "rkd", "transforms": ["standardise"]})

    def test_an_unknown_one_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match="Did you mean 'standardise'"):
            build({"name": "kd", "transforms": ["standardize"]})


class TestSampleWeights:
    """Rows that count more than others."""

    def test_they_multiply(self) -> None:
        objective = build({"name": "kd", "sample_weight": ["confidence", {"name": "entropy", "favour": "uncertain"}]})
        probabilities = TEACHER.softmax(dim=1)
        weight = probabilities.amax(dim=1) * torch.distributions.Categorical(probabilities).entropy()
        torch.testing.assert_close(value(objective), functional.kd(STUDENT, TEACHER, weight))

    def test_they_multiply_with_what_counts_anyway(self) -> None:
        seen = torch.tensor([True, True, False, True, True, True])
        objective = build({"name": "kd", "sample_weight": "confidence"})
        weight = TEACHER.softmax(dim=1).amax(dim=1) * seen
        said = {PRESENT: seen, "logits": TEACHER}
        torch.testing.assert_close(value(objective, **said), functional.kd(STUDENT, TEACHER, weight))

    def test_rows_without_a_target_are_gated_as_the_options_say(self) -> None:
        labelled = [True, True, True, False, False, False]
        objective = build({"name": "kd", "sample_weight": {"name": "teacher_is_right", "unlabelled": 0.5}})
        right = (TEACHER.argmax(dim=1) == TARGET).float()
        weight = torch.where(torch.tensor(labelled), right, 0.5)
        torch.testing.assert_close(value(objective, labelled=labelled), functional.kd(STUDENT, TEACHER, weight))

    def test_the_student_gets_no_gradient_through_them(self) -> None:
        student = STUDENT.clone().requires_grad_()
        objective = build({"name": "kd", "sample_weight": ["difficulty", "rank_agreement"]})
        (found,) = torch.autograd.grad(value(objective, student=student), student)
        assert found.abs().max() > 0
        with torch.no_grad():
            focal = (1 - STUDENT.softmax(dim=1)[torch.arange(ROWS), TARGET]) ** 2
            agreement = catalog.get("sample weight", "rank_agreement").load()(STUDENT, TEACHER)
        (expected,) = torch.autograd.grad(functional.kd(student, TEACHER, focal * agreement), student)
        torch.testing.assert_close(found, expected)

    def test_a_batch_of_which_nothing_counts_teaches_nothing(self) -> None:
        student = STUDENT.clone().requires_grad_()
        objective = build({"name": "kd", "sample_weight": {"name": "teacher_is_right", "unlabelled": 0}})
        nothing = value(objective, student=student, labelled=[False] * ROWS)
        assert nothing == 0
        (found,) = torch.autograd.grad(nothing, student)
        assert (found == 0).all()

    def test_a_loss_that_takes_no_weight_refuses_them(self) -> None:
        with pytest.raises(InputError, match=r"sample_weight: The loss 'own_unweighted' takes no weight"):
            build({"name": "own_unweighted", "sample_weight": "confidence"})

    def test_logits_of_positions_are_refused(self) -> None:
        shapes = {"logits": (None, CLASSES)}
        with pytest.raises(InputError, match="one set of logits a row, and 'logits' has one a position"):
            build({"name": "kd", "sample_weight": "confidence"}, student_taps=shapes, teacher_taps=shapes)

    def test_nothing_in_a_step_waits_for_the_device(self) -> None:
        names = [entry.name for entry in catalog.entries("sample weight")]
        term = {"name": "kd", "sample_weight": names, "transforms": ["standardise"]}
        objective = build(term, student_columns=("image", "sound")).to("meta")
        there = dict.fromkeys(("image", "sound"), TARGET > 0)
        content = {"target": {"label": TARGET}, "labelled": {"label": TARGET > 0}, "present": there}
        data = TensorDict(content, [ROWS]).to("meta")
        said = {"logits": TEACHER.to("meta")}
        assert objective(data, {"logits": STUDENT.to("meta")}, said, 0).total.device.type == "meta"


def test_rows_that_cannot_be_left_out_are_an_error() -> None:
    objective = build("own_unweighted")
    with pytest.raises(InputError, match="takes no weight, and the teacher has seen nothing of some rows"):
        value(objective, **{PRESENT: torch.ones(ROWS, dtype=torch.bool)})


def test_missing_targets_that_cannot_be_left_out_are_an_error() -> None:
    build("own_unweighable", targets={"label": torch.tensor([0, 1])}, rows=torch.arange(2))
    with pytest.raises(InputError, match="needs targets and takes no weight, and some rows have no target"):
        build("own_unweighable", targets={"label": torch.tensor([0, -1])}, rows=torch.arange(2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_teacher_that_says_nothing_finite_ends_the_training_and_is_named(bad: float, tmp_path: Path) -> None:
    shapes: dict[str, Any] = {"logits": (3,), "fused": (8,)}
    document = DistillSpec.model_validate({"losses": ["mse_logits"]})
    objective = build_objective(
        {"label": CrossEntropy()}, document, student_taps=shapes, teacher_taps=shapes, total_steps=15
    )
    calls: list[int] = []

    def signals(batch: Any) -> dict[str, Tensor]:
        calls.append(len(calls))
        logits = torch.zeros(len(batch["row"]), 3)
        logits[2, 1] = bad if len(calls) == 3 else 1.0
        return {"logits": logits}

    train = spec()
    phase = student_phase("student", new_model(), objective, train, signals=signals)
    with pytest.raises(NotFiniteError, match=r"'mse_logits' became .* because the teacher's outputs are NaN") as caught:
        fit(phase, Memory(), train, accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0, folder=tmp_path)
    assert (caught.value.step, caught.value.term, caught.value.teacher) == (3, "mse_logits", True)


def test_a_student_that_diverges_is_not_laid_at_the_teachers_door(tmp_path: Path) -> None:
    shapes: dict[str, Any] = {"logits": (3,), "fused": (8,)}
    document = DistillSpec.model_validate({"losses": ["mse_logits"]})
    objective = build_objective(
        {"label": CrossEntropy()}, document, student_taps=shapes, teacher_taps=shapes, total_steps=15
    )
    model, train = new_model(), spec()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))

    def signals(batch: Any) -> dict[str, Tensor]:
        return {"logits": torch.zeros(len(batch["row"]), 3)}

    phase = student_phase("student", model, objective, train, signals=signals)
    with pytest.raises(NotFiniteError, match=r"Lower train\.learning_rate") as caught:
        fit(phase, Memory(), train, accelerator=make_accelerator(ComputeSpec(device="cpu")), seed=0, folder=tmp_path)
    assert caught.value.teacher is False


def test_the_history_states_the_gradient_of_each_term() -> None:
    shapes: dict[str, Any] = {"logits": (3,), "fused": (8,)}
    document = DistillSpec.model_validate({"losses": [{"name": "kd", "weight": 0.5}], "balance": "gradient_norm"})
    objective = build_objective(
        {"label": CrossEntropy()}, document, student_taps=shapes, teacher_taps=shapes, total_steps=60
    )
    train = spec(epochs=12, log_every=5)

    def signals(batch: Any) -> dict[str, Tensor]:
        return {"logits": F.one_hot(batch["target"]["label"], 3) * 3.0}

    phase = student_phase("student", new_model(dropout=0.0), objective, train, signals=signals)
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    history = fit(phase, Memory(), train, accelerator=accelerator, seed=0).history
    names = ["supervised/gradient_norm", "kd/gradient_norm"]
    measured = {row["step"]: [row[name] for name in names] for row in history if row[names[0]] is not None}
    assert list(measured) == [5, 30, 55], "measured at the first step of 25, and told at the reading after it"
    assert all(name in row for row in history for name in names)
    _, balanced, _ = measured.values()
    assert balanced[1] / balanced[0] == pytest.approx(0.5, rel=0.6)
