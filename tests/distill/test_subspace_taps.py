"""Losses on shared and private representations find those of a model whose fusion has them, without any tap named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.catalog import Entry, NoOptions
from mmdistill.distill.build import build_objective
from mmdistill.distill.default_taps import column_of, embeddings_of
from mmdistill.distill.objective import Objective
from mmdistill.losses import functional
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import DistillSpec, ModelSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from tests.models.features import arrays, tabular, vector

ROWS = 6
INFOS = {"table": tabular("table"), "vector": vector("vector")}
TARGET = torch.tensor([0, 1, 2, 0, 1, 2])


class Both(nn.Module):
    """A loss between the two sides' shared representations."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def forward(self, student_shared: tuple[Tensor, ...], teacher_shared: tuple[Tensor, ...]) -> Tensor:
        pairs = zip(student_shared, teacher_shared, strict=True)
        return torch.stack([(one - other).square().mean() for one, other in pairs]).sum()


@pytest.fixture(autouse=True, scope="module")
def own_loss() -> Iterator[None]:
    catalog.entries()
    before = dict(catalog._entries)
    catalog.register(Entry("loss", "own_both_shared", f"{__name__}:Both"))
    yield
    catalog._entries.clear()
    catalog._entries.update(before)


def model(fusion: str, seed: int = 0) -> MultimodalModel:
    encoders = {"table": {"name": "mlp", "hidden": [8]}, "vector": {"name": "mlp", "hidden": [6]}}
    spec = ModelSpec.model_validate({"encoders": encoders, "fusion": {"name": fusion, "dim": 4}})
    return build_model(spec, INFOS, {"label": 3}, seed)


def objective(loss: str, student: MultimodalModel, teacher: MultimodalModel) -> Objective:
    return build_objective(
        {"label": CrossEntropy()},
        DistillSpec.model_validate({"losses": [loss]}),
        student_taps=student.taps,
        teacher_taps=teacher.taps,
        total_steps=8,
    )


def term(loss: str, student: MultimodalModel, teacher: MultimodalModel) -> tuple[Tensor, Any, Any]:
    """The value of a loss in an objective, with the outputs of both sides."""
    features = {info.name: arrays(info, [1] * ROWS) for info in INFOS.values()}
    outputs, signals = student(features), {tap: value.detach() for tap, value in teacher.eval()(features).items()}
    batch = TensorDict(
        {
            "target": {"label": TARGET},
            "labelled": {"label": torch.ones(ROWS, dtype=torch.bool)},
            "row": torch.arange(ROWS),
            "present": {column: torch.ones(ROWS, dtype=torch.bool) for column in INFOS},
        },
        [ROWS],
    )
    terms = objective(loss, student, teacher)(batch, outputs, signals, 0)
    return terms.parts[loss], outputs, signals


def parts(outputs: Any, part: str) -> tuple[Tensor, ...]:
    return tuple(outputs[f"{column}.{part}"] for column in INFOS)


EXPECTED: dict[str, Callable[[Any], Tensor]] = {
    "misa_cmd": lambda outputs: functional.misa_cmd(parts(outputs, "shared")),
    "misa_difference": lambda outputs: functional.misa_difference(parts(outputs, "shared"), parts(outputs, "private")),
    "misa_reconstruction": lambda outputs: functional.misa_reconstruction(
        parts(outputs, "projected"), parts(outputs, "reconstruction")
    ),
    "dmd_orthogonality": lambda outputs: functional.dmd_orthogonality(
        parts(outputs, "shared"), parts(outputs, "private")
    ),
    "dmd_margin": lambda outputs: functional.dmd_margin(parts(outputs, "shared"), TARGET),
}


@pytest.mark.parametrize("loss", EXPECTED)
def test_losses_between_the_parts_of_a_student_bind_to_its_fusion(loss: str) -> None:
    value, outputs, _ = term(loss, model("misa"), model("misa", seed=1))
    torch.testing.assert_close(value, EXPECTED[loss](outputs))


@pytest.mark.parametrize("loss", ["misa_cmd", "misa_difference", "dmd_orthogonality", "dmd_margin"])
def test_those_of_shaspec_are_found_as_well(loss: str) -> None:
    value, _, _ = term(loss, model("shaspec"), model("misa", seed=1))
    assert value.isfinite()


def test_a_loss_between_two_sides_finds_what_each_shares() -> None:
    value, outputs, signals = term("own_both_shared", model("shaspec"), model("misa", seed=1))
    pairs = zip(parts(outputs, "shared"), parts(signals, "shared"), strict=True)
    torch.testing.assert_close(value, sum(((one - other) ** 2).mean() for one, other in pairs))


def test_the_parts_of_a_column_are_no_embeddings_of_columns() -> None:
    taps = model("misa").taps
    assert {"table.shared", "vector.reconstruction"} <= taps.keys()
    assert embeddings_of(taps) == ("table", "vector")
    assert [column_of(tap) for tap in ("table.shared", "a.b.private", "table")] == ["table", "a.b", "table"]
    mixture = ModelSpec.model_validate(
        {"encoders": {"table": "mlp", "vector": "mlp"}, "fusion": {"name": "mixture_of_experts", "dim": 4}}
    )
    taps = build_model(mixture, INFOS, {"label": 3}, 0).taps
    assert "gates" in taps
    assert embeddings_of(taps) == ("table", "vector")
