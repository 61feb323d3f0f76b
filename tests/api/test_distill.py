"""`mmdistill.distill`: plain modules, a plain loader, and a control that is honest."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import mmdistill
from mmdistill.api.batches import LoaderBatches, as_batch
from mmdistill.errors import InputError
from mmdistill.losses import KD

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "device": "cpu"}


class Net(nn.Module):
    def __init__(self, hidden: int, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Pair(nn.Module):
    """Reads two inputs by name, as a teacher of two modalities does."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, image: Tensor, sound: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([image, sound], 1)).relu())


class Hearing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, sound: Tensor) -> Tensor:
        return self.head(sound)


def rows(count: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (count,), generator=generator)
    inputs = nn.functional.one_hot(target, 3).float() @ torch.eye(3, 6) * 2
    return inputs + torch.randn(count, 6, generator=generator), target


def loader(count: int = 96, seed: int = 0, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*rows(count, seed)), batch_size=16, **({"shuffle": True} | options))


def net(hidden: int = 8, seed: int = 0, classes: int = 3) -> Net:
    torch.manual_seed(seed)
    return Net(hidden, classes)


def trained_teacher() -> Net:
    teacher = net(32, seed=1)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    inputs, target = rows()
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(teacher(inputs), target).backward()
        optimizer.step()
    return teacher


def test_ten_lines_give_a_student_its_control_and_what_can_be_claimed() -> None:
    student, teacher = net(), trained_teacher()
    before = copy.deepcopy(student.state_dict())
    result = mmdistill.distill(
        student, teacher, loader(), losses=[KD(temperature=2.0)], validation=loader(48, 5), test=loader(64, 6), **QUICK
    )
    assert result.student is student
    assert not student.training
    assert result.steps == 12
    assert set(result.scores) == {"validation", "test"}
    assert set(result.scores["test"]) == {"student", "baseline", "teacher"}
    assert not torch.equal(student.head.weight, before["head.weight"])
    assert result.gain is not None
    assert result.gain["rows_of"] == "test"
    assert result.gain["mean"] == pytest.approx(result.scores["test"]["student"] - result.scores["test"]["baseline"])
    assert "64 test rows" in result.verdict
    assert "One seed" in str(result)
    assert {"supervised", "kd"} <= set(result.history[0])
    assert "kd" not in result.baseline_history[0]


def test_the_control_is_the_same_student_without_a_teacher() -> None:
    """A loss without weight teaches nothing: student and control end as the same model."""
    result = mmdistill.distill(net(), trained_teacher(), loader(), losses=[("kd", 1e-30)], **QUICK)
    assert result.baseline is not None
    torch.testing.assert_close(result.student.state_dict(), result.baseline.state_dict())
    assert result.gain is None
    assert "cannot be told without rows to score" in result.verdict


def test_the_teacher_is_left_as_it_was() -> None:
    teacher = trained_teacher().train()
    teacher.body[0].bias.requires_grad_(False)
    before = copy.deepcopy(teacher.state_dict())
    mmdistill.distill(net(), teacher, loader(), baseline=False, **QUICK)
    torch.testing.assert_close(teacher.state_dict(), before)
    assert [parameter.requires_grad for parameter in teacher.parameters()] == [True, False, True, True]
    assert all(module.training for module in teacher.modules())
    assert all(parameter.grad is None or not parameter.grad.isnan().any() for parameter in teacher.parameters())


def test_no_hook_stays_behind_even_after_a_failure() -> None:
    student, teacher = net(), trained_teacher()
    terms = [("fitnets", {"student": "body", "teacher": "body.0"})]
    mmdistill.distill(student, teacher, loader(), losses=terms, baseline=False, **QUICK)
    with pytest.raises(InputError):
        mmdistill.distill(student, teacher, loader(), losses=[*terms, "kd"], supervised="hinge", **QUICK)
    assert not any(module._forward_hooks for model in (student, teacher) for module in model.modules())


def test_features_are_compared_by_module_path_or_by_name() -> None:
    by_path = mmdistill.distill(
        net(), trained_teacher(), loader(), [("fitnets", {"student": "body", "teacher": "body"}, 0.5)], **QUICK
    )
    named = mmdistill.distill(
        net(),
        trained_teacher(),
        loader(),
        [{"name": "fitnets", "weight": 0.5}],
        student_taps={"fused": "body"},
        teacher_taps={"fused": "body"},
        **QUICK,
    )
    torch.testing.assert_close(by_path.student.state_dict(), named.student.state_dict())


def test_a_loss_of_ones_own_is_bound_by_the_names_of_its_arguments() -> None:
    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
            return (student_logits * self.scale.exp() - teacher_logits).square().mean()

    own = Together()
    result = mmdistill.distill(net(), trained_teacher(), loader(), [own, "kd"], **QUICK)
    assert {"Together", "kd"} <= set(result.history[0])
    assert own.scale.item() != 0, "what it learns is trained with the student"


def test_the_same_call_gives_the_same_student() -> None:
    def once(**options: Any) -> dict[str, Tensor]:
        torch.rand(7)
        result = mmdistill.distill(net(), trained_teacher(), loader(**options), baseline=False, seed=3, **QUICK)
        return result.student.state_dict()

    torch.testing.assert_close(once(), once())
    with_generator = [once(generator=torch.Generator().manual_seed(9)) for _ in range(2)]
    torch.testing.assert_close(*with_generator)


def test_batches_come_in_the_same_order_whatever_is_drawn_between() -> None:
    for options in ({}, {"generator": torch.Generator().manual_seed(4)}):
        source = LoaderBatches(loader(**options), seed=0, device=CPU)
        first = [batch["target"]["target"] for batch in source.batches(0)]
        torch.rand(100)
        again = []
        for batch in source.batches(0):
            torch.rand(3)
            again.append(batch["target"]["target"])
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
        other = [batch["target"]["target"] for batch in source.batches(1)]
        assert not all(torch.equal(*pair) for pair in zip(first, other, strict=True))


def modalities(count: int = 64) -> list[dict[str, Tensor]]:
    inputs, target = rows(count)
    return [
        {
            "image": inputs[begin : begin + 16, 3:],
            "sound": inputs[begin : begin + 16, :3],
            "label": target[begin : begin + 16],
        }
        for begin in range(0, count, 16)
    ]


def test_a_student_reads_the_inputs_that_it_names() -> None:
    result = mmdistill.distill(Hearing(), Pair(), modalities(), validation=modalities(), **QUICK)
    assert set(result.scores["validation"]) == {"student", "baseline", "teacher"}
    assert "validation rows" in result.verdict
    assert "also chose the weights" in result.verdict


def test_a_tuple_of_inputs_is_told_by_number() -> None:
    batches = [((item["image"], item["sound"]), item["label"]) for item in modalities()]
    with pytest.raises(InputError, match="student_inputs: The module takes 1 arguments, and batches have 2 inputs"):
        mmdistill.distill(Hearing(), Pair(), batches, **QUICK)
    result = mmdistill.distill(Hearing(), Pair(), batches, student_inputs={"sound": "inputs_1"}, **QUICK)
    assert result.steps == 8


def test_targets_below_zero_are_none() -> None:
    inputs, target = rows(16)
    target[:8] = -100
    batch = as_batch((inputs, target), 0, CPU)
    assert batch["labelled"]["target"].tolist() == [False] * 8 + [True] * 8
    result = mmdistill.distill(net(), trained_teacher(), [(inputs, target)], **QUICK)
    assert all(row["total"] is not None for row in result.history)


def test_without_targets_a_student_learns_from_its_teacher_alone() -> None:
    inputs, _ = rows()
    batches = list(inputs.split(16))
    student, teacher = net(), trained_teacher()
    result = mmdistill.distill(student, teacher, batches, supervised=None, baseline=False, **QUICK | {"epochs": 30})
    assert "cannot be told without a baseline" in result.verdict
    agreed = (student(inputs).argmax(1) == teacher.eval()(inputs).argmax(1)).float().mean()
    assert agreed > 0.8
    with pytest.raises(InputError, match="gives no targets"):
        mmdistill.distill(student, teacher, batches, **QUICK)
    with pytest.raises(InputError, match="Set baseline=False"):
        mmdistill.distill(student, teacher, batches, supervised=None, **QUICK)


def test_metric_and_supervised_loss_may_be_functions() -> None:
    inputs, _ = rows()
    data = list(zip(inputs.split(16), inputs[:, :1].split(16), strict=True))

    def error(outputs: Tensor, target: Tensor) -> float:
        return float((outputs - target).square().mean())

    result = mmdistill.distill(
        net(classes=1),
        net(16, seed=1, classes=1),
        data,
        losses=["mse_logits"],
        supervised=nn.MSELoss(),
        test=data,
        metric=error,
        higher_is_better=False,
        **QUICK,
    )
    assert result.gain is not None
    scores = result.scores["test"]
    assert result.gain["mean"] == pytest.approx(scores["baseline"] - scores["student"], rel=1e-4)
    low, high = result.gain["ci95"]
    assert low <= result.gain["mean"] <= high
    assert result.gain["metric"] == "error"


def test_a_loss_with_a_memory_of_rows_needs_their_numbers() -> None:
    terms = [("crd", {"student": "body", "teacher": "body"})]
    with pytest.raises(InputError, match="do not say which rows they hold"):
        mmdistill.distill(net(), trained_teacher(), loader(), terms, **QUICK)
    inputs, target = rows(64)
    batches = [
        {"x": inputs[begin : begin + 16], "target": target[begin : begin + 16], "row": torch.arange(begin, begin + 16)}
        for begin in range(0, 64, 16)
    ]
    assert mmdistill.distill(net(), trained_teacher(), batches, terms, **QUICK).steps == 8


class Endless(Dataset[Any]):
    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(6)


def once() -> Iterator[Tensor]:
    yield torch.zeros(2, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loader": once()}, "does not say how many batches"),
        ({"loader": []}, "has no batches"),
        ({"loader": [(torch.zeros(2, 6), torch.zeros(2).long(), 3)]}, "A batch has 3 parts"),
        ({"loader": [("a", torch.zeros(2).long())]}, "'inputs' is a str, not a tensor"),
        ({"loader": [(torch.zeros(2, 6), torch.zeros(3).long())]}, "A batch has 2 rows, and 3 of its target"),
        ({"loader": [{"y": torch.zeros(2, 6), "label": torch.zeros(2).long()}]}, r"None of its arguments \(x\)"),
        ({"losses": ["kdd"]}, r"losses\[0\]: There is no loss named 'kdd'. Did you mean 'kd'"),
        ({"losses": [{"name": "kd", "temprature": 2}]}, r"losses\[0\].temprature"),
        ({"losses": [3.0]}, "not one loss|is no loss"),
        ({"losses": [("kd", "dkd")]}, "not one loss"),
        (
            {"losses": [("fitnets", {"student": "bdy", "teacher": "body"})]},
            r"student_taps.bdy: .*no module 'bdy'.*'body'",
        ),
        ({"losses": [("fitnets", {"student": "body", "teacher": "trunk"})]}, "teacher_taps.trunk"),
        ({"losses": ["fitnets"]}, "has no tap"),
        ({"teacher": net(8, classes=4)}, "3 outputs, the teacher's 'logits' has 4"),
        ({"metric": "accurcy"}, "no metric 'accurcy'. Did you mean 'accuracy'"),
        ({"supervised": "hinge"}, "no supervised loss 'hinge'"),
        ({"epoch": 3}, r"train.epoch: There is no setting 'epoch'. Did you mean 'epochs'"),
        ({"learning_rate": -1.0}, r"train.learning_rate"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"student_inputs": {"y": "inputs"}}, "student_inputs.*no argument 'y'"),
        ({"student_inputs": {"x": "image"}}, "student_inputs.*no column 'image'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes: dict[str, Any], message: str) -> None:
    student = net()
    before = copy.deepcopy(student.state_dict())
    arguments = {"teacher": net(16, seed=1), "loader": loader(), **QUICK} | changes
    with pytest.raises(InputError, match=message):
        mmdistill.distill(student, **arguments)
    torch.testing.assert_close(student.state_dict(), before)


def test_the_function_stays_what_its_name_says_whatever_is_imported() -> None:
    code = (
        "import sys, mmdistill; assert 'torch' not in sys.modules; first = mmdistill.distill;"
        "from mmdistill.distill.build import build_objective; import mmdistill.distill.signals;"
        "assert mmdistill.distill is first and callable(first)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
