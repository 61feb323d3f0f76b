"""Custom models in the places of the library's own: teacher, student, measured, told their classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmdistill.distill.build import build_objective
from mmdistill.distill.class_order import class_order, reorder_outputs
from mmdistill.distill.signals import LiveTeacher, choose_signals
from mmdistill.distill.store import stored_teacher
from mmdistill.distill.teachers import reorder_classes
from mmdistill.errors import InputError
from mmdistill.evaluation.cost import model_cost
from mmdistill.evaluation.modalities import collect_by_subset
from mmdistill.models.custom.build import build_custom
from mmdistill.models.custom.wrap import wrap
from mmdistill.models.inference import collect
from mmdistill.recipe.custom import CustomSpec
from mmdistill.recipe.schema import ComputeSpec, DistillSpec, SignalsSpec, TrainSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit, total_steps
from mmdistill.training.phase import student_phase
from tests.distill.small_run import SmallRun


class Both(nn.Module):
    """Reads two columns, and which rows have the first."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, width), nn.ReLU())
        self.head = nn.Linear(width, 3)

    def forward(self, easy: Tensor, hard: Tensor, known: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([easy, hard, known[:, None].float()], 1)))


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path, absent=frozenset(range(0, 160, 5)))


def both(small: SmallRun) -> nn.Module:
    torch.manual_seed(0)
    inputs = {"easy": "easy", "hard": "hard", "known": "easy.present"}
    return wrap(Both(), inputs, {"fused": "head:input"}, features=small.infos, tasks=["class"])


def test_a_custom_teacher_teaches_a_custom_student(small: SmallRun) -> None:
    teacher = both(small)
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    train = TrainSpec(epochs=12, batch_size=16, learning_rate=0.01)
    loader = small.loader(batch_size=16, shuffle=True)
    steps = total_steps(len(loader), train)
    objective = build_objective({"class": small.task.loss}, student_taps=teacher.taps, total_steps=steps)
    fit(student_phase("teacher", teacher, objective, train), loader, train, accelerator=accelerator, seed=0)

    factory = CustomSpec(
        factory="tests.models.factories:two_layers", options={"inputs": 3}, taps={"fused": "head:input"}
    )
    student = build_custom(factory, {"hard": small.infos["hard"]}, {"class": 3}, seed=0)
    untaught = small.score(student)
    distill = DistillSpec(losses=[{"name": "kd"}, {"name": "fitnets"}])
    objective = build_objective(
        {"class": small.task.loss},
        distill,
        student_taps=student.taps,
        teacher_taps=teacher.taps,
        total_steps=steps,
    )
    signals = LiveTeacher(teacher, objective.teacher_taps, teacher.columns)
    fit(
        student_phase("student", student, objective, train, signals=signals),
        loader,
        train,
        accelerator=accelerator,
        seed=0,
    )
    assert small.score(teacher) > 0.85
    assert small.score(student) > max(untaught, 0.5)


def test_stored_signals_are_what_the_live_teacher_says(small: SmallRun) -> None:
    teacher = both(small)
    clean = small.loader()
    stored = stored_teacher(teacher, ["logits", "fused"], clean, folder=None, identity={})
    live = LiveTeacher(teacher, ["logits", "fused"])
    for batch in clean.batches(0):
        torch.testing.assert_close(stored(batch), live(batch))
    chosen = choose_signals(SignalsSpec(), teacher, ["logits"], clean, varied=(), mixup=False, folder=None, identity={})
    assert type(chosen) is type(stored)


def test_it_is_measured_like_any_other(small: SmallRun) -> None:
    model = both(small)
    batch = next(small.loader(batch_size=8).batches(0))
    cost = model_cost(model, batch["features"], batch["present"], repeats=1)
    assert cost["parameters"] == 7 * 16 + 16 + 16 * 3 + 3
    assert cost["multiply_adds"] == 7 * 16 + 16 * 3


def test_subsets_are_those_that_it_can_do_with(small: SmallRun) -> None:
    found = collect_by_subset(both(small), small.loader(), ["logits"])
    assert set(found) == {"easy+hard", "hard"}
    only_hard = found["hard"]["logits"]
    assert not torch.equal(only_hard, found["easy+hard"]["logits"])
    absent = torch.tensor([row % 5 == 0 for row in range(120)])
    torch.testing.assert_close(only_hard[absent], found["easy+hard"]["logits"][absent])
    with pytest.raises(InputError, match="needs 'hard' and cannot do without"):
        collect(both(small), small.loader(), ["logits"], subset=["easy"])


def test_classes_in_another_order_are_mapped_by_name(small: SmallRun) -> None:
    model = both(small)
    before = collect(model, small.loader(), ["logits"])["logits"]
    reorder_classes(model, "class", ["b", "c", "a"], ["a", "b", "c"])
    torch.testing.assert_close(collect(model, small.loader(), ["logits"])["logits"], before[:, [2, 0, 1]])
    assert model.classes == ("a", "b", "c")
    again = both(small)
    reorder_outputs(again, "logits", ["a", "b", "c"], ["a", "b", "c"])
    assert again.orders() == {}


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (["a", "b"], "does not know 'c'"),
        (["a", "b", "c", "d"], "knows 'd' beside them"),
        (["A", "b", "c"], "does not know 'a' and it knows 'A'"),
        (["a", "b", "b", "c"], "names 'b' more than once"),
    ],
)
def test_other_classes_are_refused(theirs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_order(theirs, ["a", "b", "c"], "teachers.teacher.custom.classes")


def test_the_order_is_none_where_it_is_ours() -> None:
    assert class_order(["a", "b"], ["a", "b"], "") is None
    assert class_order(["b", "c", "a"], ["a", "b", "c"], "") == [2, 0, 1]
