"""What every encoder promises, checked on every encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError, MMDistillError
from mmdistill.models.layers.grid_pool import GridPool
from mmdistill.recipe.schema import Component
from tests.models.features import ENCODERS, arrays, case_name, image, lengths_for, log_mel, text, vector, waveform

Case = tuple[str, FeatureInfo, dict[str, Any]]
SEQUENCES = [case for case in ENCODERS if any(spec.sequence for spec in case[1].arrays.values())]


def build(case: Case, seed: int = 0) -> nn.Module:
    name, info, options = case
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Component(name=name, **options).build(f"{info.type} encoder", info)


def every(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=map(case_name, cases))


def tensors(encoded: Any) -> dict[str, Tensor]:
    given = {name: value for name, value in encoded._asdict().items() if isinstance(value, Tensor)}
    several = ("stages", "layers")
    return given | {f"{name}[{i}]": value for name in several for i, value in enumerate(getattr(encoded, name))}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@every(ENCODERS)
def test_shapes_are_those_of_the_contract(case: Case) -> None:
    encoder, info = build(case), case[1]
    batch = arrays(info, lengths_for(info))
    encoded = encoder(batch)
    assert encoded.embedding.shape == (4, encoder.dim)
    assert encoded.embedding.isfinite().all()
    if encoded.tokens is not None:
        assert encoded.tokens.shape[0] == 4
        assert encoded.tokens.shape[2] == encoder.dim
    if encoded.mask is not None:
        assert encoded.mask.dtype == torch.bool
        assert encoded.mask.shape == encoded.tokens.shape[:2]
        assert encoded.mask.any(1).all()
    if encoded.maps is not None:
        assert encoded.maps.ndim == 4
    for maps in encoded.stages:
        assert maps.ndim == encoded.maps.ndim
        assert maps.shape[0] == 4
    for states in encoded.layers:
        assert states.shape[::2] == (4, encoder.dim)


def test_stages_are_those_of_the_architecture_shallow_to_deep() -> None:
    def shapes(name: str, info: FeatureInfo, **options: Any) -> list[tuple[int, ...]]:
        encoded = build((name, info, options))(arrays(info, lengths_for(info)))
        return [tuple(maps.shape[1:]) for maps in encoded.stages]

    assert shapes("cnn", image(), width=8, depth=3) == [(8, 14, 14), (16, 7, 7), (32, 4, 4)]
    assert shapes("resnet", image(), widths=[8, 16, 24], blocks=2) == [(8, 14, 14), (16, 7, 7), (24, 4, 4)]
    assert shapes("mobilenet", image(), widths=[8, 16], blocks=2, dim=32) == [(8, 14, 14), (16, 7, 7)]
    assert shapes("cnn", log_mel(), width=4, depth=2) == [(4, 19, 20), (8, 10, 10)]
    assert shapes("crnn", log_mel(), width=4, depth=2) == [(4, 19, 20), (8, 10, 10)]


def test_the_last_layer_of_a_transformer_is_its_tokens_before_the_last_norm() -> None:
    encoder = build(("transformer", text(), {"depth": 3})).eval()
    encoded = encoder(arrays(text(), lengths_for(text())))
    assert len(encoded.layers) == 3
    torch.testing.assert_close(encoder.norm(encoded.layers[-1]), encoded.tokens)


@every(ENCODERS)
def test_every_parameter_learns(case: Case) -> None:
    encoder, info = build(case), case[1]
    encoded = encoder(arrays(info, lengths_for(info)))
    (
        encoded.embedding * torch.randn(encoded.embedding.shape, generator=torch.Generator().manual_seed(0))
    ).sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []
    flat = [name for name, parameter in encoder.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert flat == []


@every(ENCODERS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_a_row_does_not_depend_on_the_other_rows(case: Case, training: bool) -> None:
    """Also while training: no statistics are taken over the batch (dropout is off here, being random)."""
    encoder, info = build(case).double().train(training), case[1]
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    lengths = lengths_for(info)
    together = encoder(arrays(info, lengths)).embedding
    other = arrays(info, lengths)
    alone = encoder({name: values[:1] for name, values in other.items()}).embedding
    torch.testing.assert_close(together[:1], alone, rtol=1e-10, atol=1e-10)


@every(SEQUENCES)
def test_padding_and_what_stands_in_it_change_nothing(case: Case) -> None:
    encoder, info = build(case).double().eval(), case[1]
    lengths = lengths_for(info)
    tight = encoder(arrays(info, lengths))
    loose = arrays(info, lengths, padded_to=max(lengths) + 9)
    padding = ~loose["mask"]
    if loose["values"].is_floating_point():
        loose["values"][padding] = float("nan")
    else:
        loose["values"][padding] = 10**6
    padded = encoder(loose)
    torch.testing.assert_close(padded.embedding, tight.embedding, rtol=1e-10, atol=1e-10)
    if tight.tokens is not None:
        length = tight.tokens.shape[1]
        assert not padded.mask[:, length:].any()
        assert torch.equal(padded.mask[:, :length], tight.mask)
        shown = tight.mask
        torch.testing.assert_close(padded.tokens[:, :length][shown], tight.tokens[shown], rtol=1e-10, atol=1e-10)


@every(SEQUENCES)
def test_what_stands_in_padding_reaches_no_gradient(case: Case) -> None:
    encoder, info = build(case), case[1]
    batch = arrays(info, lengths_for(info))
    if batch["values"].is_floating_point():
        batch["values"][~batch["mask"]] = float("inf")
    encoder(batch).embedding.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@every(SEQUENCES)
def test_an_empty_row_is_defined(case: Case) -> None:
    encoder, info = build(case), case[1]
    batch = arrays(info, [5, 0])
    encoded = encoder(batch)
    assert encoded.embedding.isfinite().all()
    encoded.embedding.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in encoder.parameters())


@every(SEQUENCES)
def test_a_batch_without_a_mask_is_all_there(case: Case) -> None:
    encoder, info = build(case).eval(), case[1]
    length = max(lengths_for(info))
    batch = arrays(info, [length, length])
    with_mask = encoder(batch).embedding
    batch.pop("mask")
    assert torch.equal(encoder(batch).embedding, with_mask)


@every(ENCODERS)
def test_evaluation_is_deterministic_and_saved_weights_are_everything(case: Case) -> None:
    first, second, info = build(case, seed=0).eval(), build(case, seed=1).eval(), case[1]
    batch = arrays(info, lengths_for(info))
    second.load_state_dict(first.state_dict())
    for name, value in tensors(first(batch)).items():
        assert torch.equal(value, tensors(first(batch))[name]), name
        assert torch.equal(value, tensors(second(batch))[name]), name


@every(ENCODERS)
def test_runs_in_float64_and_under_bfloat16_autocast(case: Case) -> None:
    encoder, info = build(case).eval(), case[1]
    batch = arrays(info, lengths_for(info))
    single = encoder(batch).embedding
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(batch).embedding
    half.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters() if parameter.grad is not None)
    torch.testing.assert_close(half.float(), single, rtol=0.1, atol=0.1)
    double = encoder.double()(batch).embedding
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)


def test_the_textbook_network_has_exactly_its_parameters() -> None:
    model = nn.Sequential(build(("mlp", image(), {"hidden": [512, 256]})), nn.Linear(256, 10))
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert shapes == [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)]
    assert [type(layer) for layer in model[0].layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]


@pytest.mark.parametrize("info", [log_mel(), log_mel(bands=64), waveform()], ids=["40 bands", "64 bands", "waveform"])
def test_the_audio_student_is_tiny(info: FeatureInfo) -> None:
    assert 5_000 <= parameters(build(("tiny_cnn", info, {}))) <= 22_000


def test_the_default_resnet_is_ten_times_the_audio_student() -> None:
    resnet = parameters(build(("resnet", image(), {})))
    assert 200_000 <= resnet <= 700_000
    assert resnet >= 10 * parameters(build(("tiny_cnn", log_mel(), {})))


@pytest.mark.parametrize(("size", "side"), [(8, 2), (16, 4), (28, 4), (64, 8), (224, 14)])
def test_the_resnet_stem_follows_the_image_size(size: int, side: int) -> None:
    encoder = build(("resnet", image(size=size), {"widths": [8, 8, 8]}))
    assert encoder(arrays(image(size=size), [1, 1])).maps.shape[-2:] == (side, side)


@pytest.mark.parametrize("grid", [1, 2, 3, 8])
def test_the_cells_of_the_grid_cover_the_maps(grid: int) -> None:
    encoder = build(("cnn", image(), {"grid": grid}))
    maps = torch.eye(16).reshape(16, 1, 4, 4).expand(-1, encoder.dim, -1, -1)
    pool = encoder.pool
    pooled = torch.nn.functional.avg_pool2d(maps, pool.cell, pool.stride)
    assert pooled.shape[-1] == min(grid, 4)
    assert (pooled.flatten(1).sum(1) > 0).all(), "a position is in no cell"


def test_where_a_stroke_is_can_be_told_with_a_grid_only() -> None:
    above, below = torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 4, 4)
    above[:, :, 0, 1], below[:, :, 3, 1] = 1.0, 1.0
    with_grid, plain = (build(("cnn", image(), {"grid": grid, "width": 2})).pool for grid in (2, 1))
    assert torch.equal(plain(above), plain(below))
    assert not torch.equal(with_grid(above), with_grid(below))


def test_a_small_thing_on_a_large_ground_is_kept_by_the_maximum() -> None:
    ground, thing = torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 16, 16)
    thing[:, :, 5, 9] = 1.0
    for pool, seen in (("mean", 1 / 256), ("max", 1.0)):
        layer = GridPool(8, (16, 16), 1, 0.0, pool)
        torch.testing.assert_close(layer(thing) - layer(ground), torch.full((1, 8), seen))


@pytest.mark.parametrize("name", ["tiny_cnn", "cnn", "resnet", "mobilenet"])
def test_image_encoders_that_pool_maps_keep_means_or_maxima(name: str) -> None:
    torch.manual_seed(0)
    features = arrays(image(size=32), [1, 1])
    means, maxima = (build((name, image(size=32), {"pool": pool, "grid": 1})).eval() for pool in ("mean", "max"))
    maxima.load_state_dict(means.state_dict())
    assert (maxima(features).embedding > means(features).embedding).any()


def test_pixels_are_standardised_by_the_state() -> None:
    info = image(size=2)
    encoder = build(("mlp", info, {}))
    dark = encoder.standardise(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    bright = encoder.standardise(torch.full((1, 1, 2, 2), 255.0))
    torch.testing.assert_close(dark, torch.full((1, 1, 2, 2), -50 / 75))
    torch.testing.assert_close(bright, torch.full((1, 1, 2, 2), 205 / 75))


def test_a_missing_number_says_so_whatever_was_imputed() -> None:
    from tests.models.features import tabular

    info = tabular(cardinalities=())
    for name in ("mlp", "ft_transformer"):
        encoder = build((name, info, {})).eval()
        missing = torch.tensor([[True, False, False]])
        zero = encoder({"numeric": torch.tensor([[0.0, 1.0, 2.0]]), "missing": missing}).embedding
        imputed = encoder({"numeric": torch.tensor([[9.0, 1.0, 2.0]]), "missing": missing}).embedding
        there = encoder({"numeric": torch.tensor([[0.0, 1.0, 2.0]]), "missing": ~missing & missing}).embedding
        assert torch.equal(zero, imputed)
        assert not torch.allclose(zero, there)


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_an_encoder_of_sequences_refuses_single_vectors(name: str) -> None:
    with pytest.raises(InputError, match=r"column 'vector': .*reads sequences.*Choose the encoder mlp"):
        build((name, vector(), {}))


def test_learned_positions_refuse_longer_texts() -> None:
    with pytest.raises(InputError, match="texts of up to 32 tokens, but the encoder learns 16 positions"):
        build(("transformer", text(max_length=32), {"positions": "learned", "max_length": 16}))


def test_a_text_feature_without_vocabulary_is_named() -> None:
    info = FeatureInfo("note", "note", "text", {}, {}, text().arrays)
    with pytest.raises(MMDistillError, match="column 'note': The text feature has no vocabulary_size"):
        build(("bag", info, {}))


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("image encoder", "cnn", {"width": 0}),
        ("image encoder", "mlp", {"hidden": []}),
        ("image encoder", "mlp", {"hidden": [16, 0]}),
        ("image encoder", "resnet", {"widths": [0]}),
        ("image encoder", "resnet", {"depth": 50}),
        ("text encoder", "transformer", {"dim": 10, "heads": 4}),
        ("tabular encoder", "ft_transformer", {"dim": 10, "heads": 4}),
        ("text encoder", "lstm", {"dropout": 1.0}),
        ("text encoder", "bilstm", {"pool": "median"}),
        ("audio encoder", "crnn", {"depth": 9}),
        ("image encoder", "timm", {"model": "resnet18", "pretrained": True, "weights": "a.safetensors"}),
        ("text encoder", "transformers", {}),
        ("text encoder", "transformers", {"model": "a", "config": {"model_type": "bert"}}),
        ("text encoder", "transformers", {"config": {"model_type": "bert"}, "pretrained": True}),
    ],
)
def test_bad_options_are_refused_before_anything_is_built(kind: str, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options(kind)


def test_every_encoder_of_the_catalog_is_covered_here() -> None:
    registered = {(entry.kind, entry.name) for entry in catalog.entries() if entry.kind.endswith(" encoder")}
    covered = {(f"{info.type} encoder", name) for name, info, _ in ENCODERS}
    elsewhere = {("image encoder", "timm"), ("image encoder", "transformers"), ("text encoder", "transformers")}
    assert registered == covered | elsewhere
