"""Memory fusion of aligned sequences: its recurrence step by step, padding, absent columns and wrong lengths."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import Component, ModelSpec
from tests.models.features import arrays, image, text

DIMS = {"words": 6, "sound": 5, "face": 4}
ROWS, STEPS, HIDDEN = 5, 7, 3
OPTIONS = {"hidden": HIDDEN, "memory": 4, "attention": 8, "gates": 8}


def build(**options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_fusion(Component(name="memory", **OPTIONS | options), DIMS).double().eval()


def sequences(steps: int = STEPS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        column: torch.randn(ROWS, STEPS, width, generator=generator, dtype=torch.float64)[:, :steps]
        for column, width in DIMS.items()
    }


def everything() -> dict[str, Tensor]:
    return {column: torch.ones(ROWS, dtype=torch.bool) for column in DIMS}


def masks(*lengths: int, steps: int = STEPS) -> dict[str, Tensor]:
    mask = torch.arange(steps) < torch.tensor(lengths).unsqueeze(1)
    return dict.fromkeys(DIMS, mask)


def pooled() -> dict[str, Tensor]:
    return {column: torch.zeros(ROWS, width, dtype=torch.float64) for column, width in DIMS.items()}


def into(
    fusion: Any, tokens: dict[str, Tensor], given: dict[str, Tensor], present: dict[str, Tensor] | None = None
) -> Tensor:
    fused: Tensor = fusion(pooled(), tokens, given, present or everything()).embedding
    return fused


def step_by_step(fusion: Any, row: int, columns: tuple[str, ...], steps: int) -> Tensor:
    """The equations for one row with LSTM cells of PyTorch, over the columns that it has."""
    lstms = {}
    for index, column in enumerate(DIMS):
        lstm = torch.nn.LSTMCell(DIMS[column], HIDDEN).double()
        linear = fusion.inputs[column]
        state = {"weight_ih": linear.weight, "weight_hh": fusion.recurrent[index].T, "bias_ih": linear.bias}
        lstm.load_state_dict(state | {"bias_hh": torch.zeros(4 * HIDDEN)})
        lstms[column] = lstm
    zero = torch.zeros(1, HIDDEN, dtype=torch.float64)
    state, cell = dict.fromkeys(DIMS, zero), dict.fromkeys(DIMS, zero)
    memory = torch.zeros(1, OPTIONS["memory"], dtype=torch.float64)
    there = torch.tensor([column in columns for column in DIMS]).repeat(2).repeat_interleave(HIDDEN)
    for step in range(steps):
        before = list(cell.values())
        for column in columns:
            entered = sequences()[column][row : row + 1, step]
            state[column], cell[column] = lstms[column](entered, (state[column], cell[column]))
        both = torch.cat([*before, *cell.values()], dim=1)
        scores = fusion.attend(both).masked_fill(~there, -torch.inf)
        attended = both * scores.softmax(1)
        proposal = fusion.propose(attended).tanh()
        beside = torch.cat([attended, memory], dim=1)
        memory = fusion.keep(beside).sigmoid() * memory + fusion.write(beside).sigmoid() * proposal
    return torch.cat([*state.values(), memory], dim=1)[0]


def test_it_is_a_system_of_lstms_with_a_gated_memory_of_attended_changes() -> None:
    fusion = build()
    fused = into(fusion, sequences(), {})
    for row in range(ROWS):
        torch.testing.assert_close(fused[row], step_by_step(fusion, row, tuple(DIMS), STEPS))


def test_padded_steps_change_nothing() -> None:
    fusion = build()
    fused = into(fusion, sequences(), masks(7, 1, 3, 4, 0))
    for row, length in enumerate((7, 1, 3, 4)):
        torch.testing.assert_close(fused[row], step_by_step(fusion, row, tuple(DIMS), length))
    assert (fused[4] == 0).all()
    shorter = into(fusion, sequences(4), masks(4, 1, 3, 4, 0, steps=4))
    torch.testing.assert_close(shorter[1:], fused[1:])


def test_an_absent_column_is_left_out_of_its_lstm_and_of_the_attention() -> None:
    fusion = build()
    present = everything() | {"sound": torch.tensor([True, False, True, False, True])}
    fused = into(fusion, sequences(), {}, present)
    for row in range(ROWS):
        columns = tuple(column for column in DIMS if present[column][row])
        torch.testing.assert_close(fused[row], step_by_step(fusion, row, columns, STEPS))
    assert (fused[1, HIDDEN : 2 * HIDDEN] == 0).all()


def test_a_column_that_is_not_given_at_all_is_absent() -> None:
    fusion, tokens = build(), sequences()
    absent = torch.zeros(ROWS, dtype=torch.bool)
    expected = into(fusion, tokens, {}, everything() | {"face": absent})
    del tokens["face"]
    assert torch.equal(into(fusion, tokens, {}, everything() | {"face": absent}), expected)
    nothing = into(fusion, {}, {}, dict.fromkeys(DIMS, absent))
    assert nothing.shape == (ROWS, fusion.dim)
    assert (nothing == 0).all()


def test_sequences_of_different_length_are_refused_with_both_lengths() -> None:
    tokens = sequences() | {"sound": sequences(5)["sound"]}
    with pytest.raises(InputError, match="equal length: 'words' has 7 steps in this batch, 'sound' has 5"):
        into(build(), tokens, {})


def test_a_column_that_the_longest_rows_lack_may_be_padded_to_fewer_steps() -> None:
    """As a batch comes from a loader: each column is padded to the longest of the rows that have it."""
    fusion, given = build(), masks(7, 1, 3, 4, 2)
    there = torch.tensor([False, True, True, False, True])
    expected = into(fusion, sequences(), given, everything() | {"sound": there})
    shorter = sequences() | {"sound": sequences(3)["sound"]}
    masked = given | {"sound": given["sound"][:, :3] & there.unsqueeze(1)}
    torch.testing.assert_close(into(fusion, shorter, masked, everything() | {"sound": there}), expected)
    with pytest.raises(InputError, match="equal length"):
        into(fusion, shorter, masked | {"sound": given["sound"][:, :3]})


def test_order_matters() -> None:
    fusion = build()
    backwards = {column: values.flip(1) for column, values in sequences().items()}
    assert not torch.allclose(into(fusion, sequences(), {}), into(fusion, backwards, {}))


def test_pooled_columns_are_refused_when_the_model_is_built() -> None:
    with pytest.raises(InputError, match=r"needs a sequence of every column.*'picture'"):
        build_fusion(Component(name="memory"), {"picture": 4, "words": 4}, lambda: ["words"])


def words(column: str) -> tuple[Any, dict[str, Any]]:
    return text(column), {"name": "transformer", "dim": 8, "depth": 1}


def test_a_model_fuses_two_texts_of_equal_length_as_one_graph() -> None:
    columns = {column: words(column) for column in ("question", "answer")}
    spec = ModelSpec.model_validate({"encoders": {name: part[1] for name, part in columns.items()}, "fusion": "memory"})
    infos = {name: part[0] for name, part in columns.items()}
    model = build_model(spec, infos, {"digit": 3}, 0).eval()
    features = {info.name: arrays(info, [6, 3, 5]) for info in infos.values()}
    present = {"question": torch.tensor([True, True, False]), "answer": torch.ones(3, dtype=torch.bool)}
    expected = model(features, present)["logits"]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features, present)["logits"], expected)


def test_a_model_with_an_image_cnn_or_unequal_texts_says_what_is_wrong() -> None:
    spec = ModelSpec.model_validate(
        {"encoders": {"a": words("a")[1], "b": words("b")[1]}, "fusion": {"name": "memory", "hidden": 4}}
    )
    model = build_model(spec, {"a": text("a"), "b": text("b")}, {"digit": 3}, 0).eval()
    with pytest.raises(InputError, match="'a' has 4 steps in this batch, 'b' has 6"):
        model({"a": arrays(text("a"), [4, 2]), "b": arrays(text("b"), [6, 2])})
    pooled_image = ModelSpec.model_validate(
        {"encoders": {"a": words("a")[1], "image": {"name": "mlp"}}, "fusion": "memory"}
    )
    with pytest.raises(InputError, match="needs a sequence of every column"):
        build_model(pooled_image, {"a": text("a"), "image": image()}, {"digit": 3}, 0)


@pytest.mark.parametrize("options", [{"hidden": 0}, {"memory": 0}, {"gates": -1}, {"dropout": 1.0}, {"window": 2}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name="memory", **options).options("fusion")
