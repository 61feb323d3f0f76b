"""Every registered loss can be bound in a recipe to a small multimodal model, and teaches it something."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.catalog import Entry
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import Objective
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import DistillSpec, LossTerm, ModelSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from tests.models.features import arrays, image, tabular, text

ROWS, CLASSES = 6, 4
INFOS = {"image": image(), "table": tabular("table"), "text": text()}
ENTRIES = catalog.entries("loss")
PARTS = {"shared": 6, "private": 6, "common": 6, "reconstructions": 6, "column_logits": CLASSES}
"""Further outputs of every column, with their widths."""
LENGTHS = [5, 3, 4, 5, 2, 5]


class Model(nn.Module):
    """A model of the library, with the outputs beside its own that some methods ask their networks for."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        encoders = {
            "image": {"name": "resnet", "widths": [width, 2 * width]},
            "table": {"name": "mlp", "hidden": [8], "dropout": 0.0},
            "text": {"name": "transformer", "dim": width, "depth": 2, "heads": 2, "dropout": 0.0},
        }
        spec = ModelSpec.model_validate({"encoders": encoders, "fusion": "concat"})
        self.model = build_model(spec, INFOS, {"label": CLASSES}, seed)
        torch.manual_seed(seed)
        self.parts = nn.ModuleDict(
            {
                f"{column}_{part}": nn.Linear(self.model.dims[column], size)
                for column in INFOS
                for part, size in PARTS.items()
            }
        )
        # Class activation maps are those of the image alone, whose embedding is the mean of its maps.
        self.heads = {"label": self.parts["image_column_logits"]}

    def forward(self, features: Any) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.model(features)
        for name, layer in self.parts.items():
            column, _, part = name.partition("_")
            outputs[f"{column}.{part}"] = layer(outputs[column])
        tokens = outputs["text.tokens"].unflatten(2, (2, -1)).transpose(1, 2)
        outputs["text.attention"] = tokens @ tokens.transpose(-1, -2)
        outputs["text.attention.mask"] = outputs["text.tokens.mask"]
        return outputs

    @property
    def taps(self) -> dict[str, tuple[int | None, ...]]:
        varying = {"text.tokens", "text.layers.0", "text.layers.1"}
        shapes: dict[str, tuple[int | None, ...]] = {}
        for tap, value in self(features()).items():
            shape: tuple[int | None, ...] = tuple(value.shape[1:])
            if tap.removesuffix(".mask") in varying:
                shape = (None, *shape[1:])
            if tap.startswith("text.attention"):
                shape = (*shape[:-2], None, None) if len(shape) > 1 else (None,)
            shapes[tap] = shape
        return shapes


def features() -> dict[str, Any]:
    torch.manual_seed(0)
    return {column: arrays(info, LENGTHS) for column, info in INFOS.items()}


def taps_of(entry: Entry) -> dict[str, Any]:
    """What a user would name for this model, whose columns are of several widths and kinds."""
    named: dict[str, Any] = {}
    for argument in (*getattr(entry, "needs", ()), *getattr(entry, "accepts", ())):
        kind = argument.removeprefix("student_").removeprefix("teacher_")
        if kind == "embeddings":
            named[argument] = [f"{column}.common" for column in INFOS]
        if kind in ("image", "text"):
            named[argument] = f"{kind}.shared"
        if kind == "tokens":
            named[argument] = "text.tokens"
    return named


def targets(name: str, teacher: Model) -> Tensor:
    if name == "bounded_regression":
        return teacher(features())["logits"]
    return torch.tensor([0, 1, 2, 3, 0, 1])


def batch(target: Tensor) -> TensorDict:
    absent = {"image": [0], "text": [1, 2]}
    content = {
        "target": {"label": target},
        "labelled": {"label": torch.ones(ROWS, dtype=torch.bool)},
        "row": torch.arange(ROWS),
        "present": {
            column: torch.tensor([row not in absent.get(column, ()) for row in range(ROWS)]) for column in INFOS
        },
    }
    return TensorDict(content, [ROWS])


class NoLoss(nn.Module):
    """Supervision of nothing, so that the loss under test stands alone."""

    def forward(self, logits: Tensor, target: Tensor, labelled: Tensor, mixed: Any = None) -> Tensor:
        return logits.sum() * 0


def objective_of(entry: Entry, student: Model, teacher: Model) -> Objective:
    spec = DistillSpec.model_validate({"losses": [{"name": entry.name, "taps": taps_of(entry)}]})
    classes = targets(entry.name, teacher)
    return build_objective(
        {"label": CrossEntropy() if classes.dim() == 1 else NoLoss()},
        spec,
        student_taps=student.taps,
        teacher_taps=teacher.taps,
        student_heads=student.heads,
        teacher_heads=teacher.heads,
        rows=torch.arange(ROWS),
        targets={"label": classes} if classes.dim() == 1 else {},
        total_steps=4,
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_loss_is_bound_and_teaches(entry: Entry) -> None:
    student, teacher = Model(8, seed=1), Model(16, seed=2).requires_grad_(False)
    objective = objective_of(entry, student, teacher)
    data = batch(targets(entry.name, teacher))
    said = {tap: value for tap, value in teacher(features()).items() if tap in objective.teacher_taps}
    modules = nn.ModuleList([student, objective])
    optimizer = torch.optim.SGD(modules.parameters(), lr=1e-3)
    for step in range(2):
        terms = objective(data, student(features()), said, step)
        part = terms.parts[entry.name]
        assert part.isfinite()
        found = torch.autograd.grad(part, list(student.parameters()), retain_graph=True, allow_unused=True)
        assert max(float(gradient.abs().max()) for gradient in found if gradient is not None) > 0
        terms.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not {id(one) for one in student.parameters()} & {id(one) for one in objective.parameters()}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_no_option_of_a_loss_is_called_like_a_key_of_a_term(entry: Entry) -> None:
    assert not set(entry.options.model_fields) & set(LossTerm.model_fields)
