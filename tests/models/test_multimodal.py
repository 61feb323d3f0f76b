"""Encoders, fusion and heads as one model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ModelSpec
from tests.models.features import arrays, image, log_mel, tabular, text, vector

INFOS = {"image": image(), "note": text("note"), "sound": log_mel("sound"), "table": tabular("table")}
ENCODERS: dict[str, Any] = {
    "image": {"name": "resnet", "widths": [8, 16]},
    "note": {"name": "bilstm", "embedding": 8, "hidden": 8},
    "sound": {"name": "tiny_cnn", "width": 4, "dim": 12},
    "table": {"name": "mlp", "hidden": [8]},
}


def make(
    columns: tuple[str, ...] = ("image", "note", "sound", "table"),
    heads: Any = None,
    seed: int = 0,
    **spec: Any,
) -> MultimodalModel:
    document = {"encoders": {column: ENCODERS[column] for column in columns}, **spec}
    infos = {column: INFOS[column] for column in columns}
    return build_model(ModelSpec.model_validate(document), infos, heads or {"digit": 10}, seed)


def batch(columns: tuple[str, ...] = tuple(INFOS), lengths: tuple[int, ...] = (9, 3, 5)) -> dict[str, Any]:
    return {INFOS[column].name: arrays(INFOS[column], list(lengths)) for column in columns}


def presence(**columns: list[int]) -> dict[str, Tensor]:
    return {column: torch.tensor(rows, dtype=torch.bool) for column, rows in columns.items()}


ALL = {"image": [1, 1, 1], "note": [1, 1, 1], "sound": [1, 1, 1], "table": [1, 1, 1]}


def test_outputs_are_the_taps_of_the_contract() -> None:
    model = make(fusion="cross_attention").eval()
    outputs = model(batch())
    assert set(outputs) == {
        "logits", "fused", "table",
        "image", "image.tokens", "image.tokens.mask", "image.maps", "image.stages.0", "image.stages.1",
        "note", "note.tokens", "note.tokens.mask",
        "sound", "sound.tokens", "sound.tokens.mask", "sound.maps",
        "sound.stages.0", "sound.stages.1", "sound.stages.2",
    }  # fmt: skip
    assert outputs["logits"].shape == (3, 10)
    assert outputs["note.tokens.mask"].sum(1).tolist() == [9, 3, 5]


def test_taps_states_the_shapes_per_row() -> None:
    model = make(fusion="gated").train()
    state = torch.random.get_rng_state()
    assert model.taps["logits"] == (10,)
    assert model.taps["fused"] == (128,)
    assert model.taps["image.maps"] == (16, 7, 7)
    assert model.taps["image.tokens"] == (49, 16)
    assert model.taps["image.tokens.mask"] == (49,)
    assert model.taps["image.stages.0"] == (8, 14, 14)
    assert model.taps["image.stages.1"] == model.taps["image.maps"]
    assert model.taps["note.tokens"] == (None, 16)
    assert model.taps["note.tokens.mask"] == (None,)
    assert model.taps["sound.tokens"] == (None, 12)
    assert model.taps["sound.maps"] == (16, None, 5)
    assert model.taps["sound.stages.0"] == (4, None, 20)
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    outputs = model(batch())
    assert {tap: len(shape) for tap, shape in model.taps.items()} == {
        tap: value.ndim - 1 for tap, value in outputs.items()
    }


def test_one_column_is_encoder_and_head_alone() -> None:
    spec = {"encoders": {"image": {"name": "mlp", "hidden": [512, 256]}}, "fusion": "cross_attention"}
    model = build_model(ModelSpec.model_validate(spec), {"image": image()}, {"digit": 10}, seed=0)
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert shapes == [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)]
    outputs = model(batch(("image",)))
    assert torch.equal(outputs["fused"], outputs["image"])


def test_a_tensordict_batch_works_as_a_mapping_does() -> None:
    model = make().eval()
    features, present = batch(), presence(**{**ALL, "sound": [1, 0, 1]})
    nested = TensorDict({"features": features, "present": present}, batch_size=[3])
    expected, got = model(features, present), model(nested["features"], nested["present"])
    assert all(torch.equal(got[tap], expected[tap]) for tap in expected)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross_attention", "late"])
def test_what_stands_in_an_absent_row_changes_neither_outputs_nor_gradients(fusion: str, training: bool) -> None:
    present = presence(image=[1, 0, 1], note=[0, 1, 1], sound=[0, 0, 1], table=[1, 0, 0])
    results = []
    for junk in (False, True):
        model, features = make(fusion=fusion).train(training), batch()
        if junk:
            for column, info in INFOS.items():
                for name, values in features[info.name].items():
                    if name != "mask":
                        values[~present[column]] = float("nan") if values.is_floating_point() else 1
        outputs = model(features, present)
        outputs["logits"].square().sum().backward()
        results.append((outputs, [parameter.grad for parameter in model.parameters()]))
    for tap, value in results[0][0].items():
        assert value.isfinite().all(), tap
        assert torch.equal(value, results[1][0][tap]), tap
    for clean, spoilt in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(clean, spoilt)


def test_embeddings_of_absent_rows_are_zero_and_their_tokens_masked() -> None:
    outputs = make()(batch(), presence(**{**ALL, "sound": [0, 1, 0], "image": [1, 0, 1]}))
    assert (outputs["sound"][[0, 2]] == 0).all()
    assert not outputs["sound.tokens.mask"][[0, 2]].any()
    assert outputs["image.tokens.mask"].all(1).tolist() == [True, False, True]


def test_a_feature_that_is_left_out_is_a_column_that_is_absent() -> None:
    model = make(fusion="cross_attention").eval()
    whole, part = batch(), batch(("image", "table"))
    hidden = model(whole, presence(**{**ALL, "note": [0, 0, 0], "sound": [0, 0, 0]}))
    left_out = model(part)
    torch.testing.assert_close(left_out["logits"], hidden["logits"])
    assert (left_out["sound"] == 0).all()
    assert "sound.tokens" not in left_out


def test_presence_left_out_means_present() -> None:
    model = make().eval()
    stated, unstated = model(batch(), presence(**ALL)), model(batch())
    assert all(torch.equal(stated[tap], unstated[tap]) for tap in stated)


def test_rows_without_anything_are_defined() -> None:
    model = make(fusion="cross_attention")
    none = {column: [0, 0, 0] for column in ALL}
    logits = model(batch(), presence(**none))["logits"]
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[0], logits[2])
    nothing_given = model({}, presence(**none))["logits"]
    torch.testing.assert_close(nothing_given, logits)


def test_no_rows_can_be_counted_without_any_input() -> None:
    with pytest.raises(InputError, match="None of the model's features is given"):
        make()({})


def test_sequences_that_are_all_empty_are_no_special_case() -> None:
    model = make().eval()
    features = batch()
    empty = batch(lengths=(0, 0, 0))
    assert empty["sound"]["mask"].shape == (3, 0)
    outputs = model(features | {"sound": empty["sound"], "note": empty["note"]})
    assert outputs["logits"].isfinite().all()


def test_the_batch_a_row_is_in_does_not_matter_in_eval() -> None:
    model = make(fusion="cross_attention", head_dropout=0.5).double().eval()
    features = batch()
    alone = {name: {key: value[1:2] for key, value in part.items()} for name, part in features.items()}
    torch.testing.assert_close(model(features)["logits"][1:2], model(alone)["logits"], rtol=1e-10, atol=1e-10)


def test_several_tasks_have_heads_and_taps_of_their_own() -> None:
    def rating(dim: int) -> nn.Module:
        return nn.Sequential(nn.Linear(dim, 4), nn.ReLU(), nn.Linear(4, 1))

    model = make(heads={"type": 3, "rating": rating})
    outputs = model(batch())
    assert outputs["type.logits"].shape == (3, 3)
    assert outputs["rating.logits"].shape == (3, 1)
    assert "logits" not in outputs
    assert model.tasks == ("type", "rating")


def test_a_model_may_end_without_a_head() -> None:
    spec = ModelSpec.model_validate({"encoders": {"image": ENCODERS["image"]}})
    assert "logits" not in build_model(spec, {"image": image()}, {}, 0)(batch(("image",)))


def test_head_dropout_acts_while_training_only_and_not_on_the_tap() -> None:
    model = make(head_dropout=0.9)
    torch.manual_seed(0)
    first, second = model(batch()), model(batch())
    assert torch.equal(first["fused"], second["fused"])
    assert not torch.equal(first["logits"], second["logits"])
    model.eval()
    assert torch.equal(model(batch())["logits"], model(batch())["logits"])


def test_equal_seeds_give_equal_weights_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(1)
    first = make(seed=3)
    torch.rand(17)
    before = torch.random.get_rng_state()
    second = make(seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = make(seed=4)
    equal = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(equal)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_the_order_of_columns_in_a_recipe_does_not_matter() -> None:
    first, second = make(("image", "sound")), make(("sound", "image"))
    assert first.columns == second.columns == ("image", "sound")
    for (name, one), (other, two) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(one, two)


def test_columns_may_have_any_name_and_weights_keep_it_readable() -> None:
    awkward = ("type", "lab.values", "forward", "", "50%")
    infos = {column: vector(column) for column in awkward}
    spec = ModelSpec.model_validate(
        {"encoders": {column: {"name": "mlp", "hidden": [4]} for column in awkward}, "fusion": "gated"}
    )
    model = build_model(spec, infos, {"training": 2, "a.b": 2}, 0)
    outputs = model({column: arrays(info, [1, 1]) for column, info in infos.items()})
    assert set(awkward) <= set(outputs)
    assert "encoders.image.stem.0.weight" in make(("image",)).state_dict()
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())


def test_the_layers_of_a_transformer_are_taps_with_the_mask_of_their_tokens() -> None:
    infos = {"note": text("note"), "table": tabular("table")}
    encoders = {"note": {"name": "transformer", "dim": 8, "depth": 2}, "table": {"name": "ft_transformer", "dim": 8}}
    model = build_model(ModelSpec.model_validate({"encoders": encoders}), infos, {"digit": 3}, 0)
    outputs = model({column: arrays(info, [4, 2]) for column, info in infos.items()}, presence(note=[1, 0]))
    assert {tap for tap in outputs if ".layers." in tap} == {
        f"{column}.layers.{layer}{end}" for column in infos for layer in (0, 1) for end in ("", ".mask")
    }
    assert outputs["note.layers.1"].shape == (2, 4, 8)
    assert outputs["note.layers.1.mask"].tolist() == [[True] * 4, [False] * 4]
    # The summary token stands in front of those of the columns.
    assert outputs["table.layers.0"].shape[1] == outputs["table.tokens"].shape[1] + 1
    assert outputs["table.layers.0.mask"].all()
    assert model.taps["note.layers.0"] == (None, 8)


def test_stages_and_layers_are_references_not_copies() -> None:
    outputs = make(("image",)).eval()({"image": arrays(image(), [1, 1])})
    assert outputs["image.stages.1"].data_ptr() == outputs["image.maps"].data_ptr()


@pytest.mark.parametrize(
    "column", ["logits", "fused", "image.tokens", "image.maps", "image.stages.0", "image.layers.3.mask"]
)
def test_a_column_cannot_bear_the_name_of_a_tap(column: str) -> None:
    infos = {"image": image(), column: vector(column)}
    spec = ModelSpec.model_validate({"encoders": {"image": "tiny_cnn", column: "mlp"}})
    with pytest.raises(InputError, match=r"cannot be called.*Rename it"):
        build_model(spec, infos, {"digit": 2}, 0)


def test_columns_and_encoders_must_match() -> None:
    spec = ModelSpec.model_validate({"encoders": {"sond": "tiny_cnn"}})
    with pytest.raises(InputError, match=r"encoders.sond: .*no such column.*Did you mean 'sound'"):
        build_model(spec, {"sound": INFOS["sound"]}, {"digit": 2}, 0)
    spec = ModelSpec.model_validate({"encoders": {"sound": "tiny_cnn"}})
    with pytest.raises(InputError, match="No encoder is named for the column 'image'"):
        build_model(spec, {"sound": INFOS["sound"], "image": image()}, {"digit": 2}, 0)


def test_an_unknown_encoder_is_named_with_the_nearest() -> None:
    spec = ModelSpec.model_validate({"encoders": {"image": "resnest"}})
    with pytest.raises(InputError, match=r"encoders.image: There is no image encoder named 'resnest'. Did you mean"):
        build_model(spec, {"image": image()}, {"digit": 2}, 0)


def test_a_models_own_settings_are_a_feature_of_their_own() -> None:
    info = FeatureInfo("image@1a2b3c4d", "image", "image", {}, image().state, image().arrays)
    spec = ModelSpec.model_validate({"encoders": {"image": "tiny_cnn"}})
    model = build_model(spec, {"image": info}, {"digit": 2}, 0)
    assert model.feature_names == ("image@1a2b3c4d",)
    assert model.columns == ("image",)
    outputs = model({"image@1a2b3c4d": arrays(info, [1, 1]), "image": None})
    assert "image" in outputs


def test_the_step_learns() -> None:
    """A handful of steps fits eight rows: gradients reach everything through masks and fusion."""
    model = make(fusion="cross_attention").train()
    features = batch(lengths=(9, 3, 5, 4, 7, 2, 1, 6))
    present = {column: torch.rand(8, generator=torch.Generator().manual_seed(i)) < 0.8 for i, column in enumerate(ALL)}
    target = torch.arange(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(features, present)["logits"], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
