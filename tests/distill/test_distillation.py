"""The rooms together: table, loader, models, task, losses, objective, signals and loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmdistill.data.modality_dropouts.build import build_dropout
from mmdistill.distill.build import build_objective
from mmdistill.distill.signals import LiveTeacher, choose_signals
from mmdistill.models.multimodal import MultimodalModel
from mmdistill.recipe.schema import Component, ComputeSpec, DistillSpec, SignalsSpec, TrainSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit, total_steps
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase
from mmdistill.training.state import TrainResult
from tests.distill.small_run import SmallRun
from tests.training.standins import equal_weights

TRAIN = TrainSpec.model_validate({"epochs": 6, "batch_size": 16, "learning_rate": 0.01, "log_every": 5})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("run"), frozenset(range(0, 40, 7)))


def learn(
    run: SmallRun,
    model: MultimodalModel,
    distill: DistillSpec | None = None,
    teacher: MultimodalModel | None = None,
    signals: Any = None,
    folder: Path | None = None,
    **options: Any,
) -> TrainResult:
    loader = run.loader(shuffle=True, seed=1)
    objective = build_objective(
        {"class": run.task.loss},
        distill,
        student_taps=model.taps,
        teacher_taps=teacher.taps if teacher is not None else None,
        total_steps=total_steps(len(loader), TRAIN),
    )
    if signals == "live":
        signals = LiveTeacher(teacher, objective.teacher_taps, teacher.columns)
    elif signals == "stored":
        signals = choose_signals(
            SignalsSpec(),
            teacher,
            objective.teacher_taps,
            run.loader(),
            varied=(),
            mixup=False,
            folder=folder / "signals" if folder else None,
            identity={"data": run.prepared.fingerprint},
            present=torch.stack([run.prepared.present[column] for column in teacher.columns]).any(0)[
                : len(run.train_rows)
            ],
        )
    phase = student_phase("model", model, objective, TRAIN, signals=signals, **options)
    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    return fit(phase, loader, TRAIN, accelerator=accelerator, seed=0, validate=lambda: run.score(model))


@pytest.fixture(scope="module")
def teacher(run: SmallRun) -> MultimodalModel:
    model = run.model("easy", "hard", hidden=32)
    learn(run, model)
    return model


def distill(*losses: Any) -> DistillSpec:
    return DistillSpec.model_validate({"losses": list(losses)})


def test_a_teacher_learns_from_targets(run: SmallRun, teacher: MultimodalModel) -> None:
    assert run.score(teacher) > 0.9


def test_a_student_learns_from_a_teacher_alone(run: SmallRun, teacher: MultimodalModel) -> None:
    student, untaught = run.model("easy"), run.model("easy")
    spec = DistillSpec.model_validate({"losses": ["kd"], "supervised": 0})
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    result = learn(run, student, spec, teacher, "live")
    assert run.score(student) > max(0.8, run.score(untaught))
    assert "supervised" not in result.history[0]
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_stored_and_live_signals_teach_the_same(run: SmallRun, teacher: MultimodalModel, tmp_path: Path) -> None:
    """Rows without the teacher's column included: they count for nothing either way."""
    only_easy = run.model("easy", seed=4)
    learn(run, only_easy)
    one, two = run.model("hard"), run.model("hard")
    spec = distill("kd", "dkd")
    live = learn(run, one, spec, only_easy, "live")
    stored = learn(run, two, spec, only_easy, "stored", tmp_path)
    for first, second in zip(live.history, stored.history, strict=True):
        for name in ("supervised", "kd", "dkd", "total"):
            assert first[name] == pytest.approx(second[name], rel=1e-4)
    assert (tmp_path / "signals" / "signals.json").exists()


def test_without_distillation_a_student_is_its_baseline(run: SmallRun, teacher: MultimodalModel) -> None:
    """A term that counts for nothing leaves the very same weights: same budget, order and first weights."""
    student, baseline = run.model("hard"), run.model("hard")
    learn(run, student, DistillSpec.model_validate({"losses": [{"name": "kd", "weight": 0}]}), teacher, "live")
    learn(run, baseline)
    assert equal_weights(student, baseline)


def hiding(model: MultimodalModel) -> ModalityTraining:
    half = Component(name="independent", probability=0.5)
    return ModalityTraining(dropout=build_dropout(half, model.columns, seed=0, total_steps=10))


def test_modality_dropout_hides_columns_from_the_student_only(run: SmallRun, teacher: MultimodalModel) -> None:
    seen: dict[str, list[torch.Tensor]] = {"student": [], "teacher": []}
    student = run.model("easy", "hard")

    def watch(name: str) -> Any:
        def hook(module: Any, inputs: Any) -> None:
            if module.training or name == "teacher":
                seen[name].append(inputs[1]["hard"])

        return hook

    handles = [
        student.register_forward_pre_hook(watch("student")),
        teacher.register_forward_pre_hook(watch("teacher")),
    ]
    try:
        learn(run, student, distill("kd"), teacher, "live", modalities=hiding(student))
    finally:
        for handle in handles:
            handle.remove()
    assert 0.3 < torch.cat(seen["student"]).float().mean() < 0.9
    assert torch.cat(seen["teacher"]).all()
