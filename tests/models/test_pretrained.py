"""Encoders of timm and transformers, from weights that the test saves itself: no hub is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.models.saving import load_model, save_model
from mmdistill.recipe.schema import Component, ModelSpec
from tests.models.features import arrays, image, text

timm = pytest.importorskip("timm", reason="the extra backbones is not installed")
transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

PICTURE, NOTE = image(size=32, channels=3), text("note", vocabulary=40, max_length=16)
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
VIT = BERT | {"model_type": "vit", "patch_size": 8}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def encoder(info: FeatureInfo, name: str, **options: Any) -> nn.Module:
    return Component(name=name, **options).build(f"{info.type} encoder", info)


def model_of(info: FeatureInfo, name: str, **options: Any) -> MultimodalModel:
    spec = ModelSpec(encoders={info.column: Component(name=name, **options)})
    return build_model(spec, {info.column: info}, {"digit": 3}, 0)


def features(info: FeatureInfo) -> dict[str, Any]:
    return {info.name: arrays(info, [7, 3, 5, 1])}


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    torch.manual_seed(7)
    config = transformers.AutoConfig.for_model(**BERT, vocab_size=40, pad_token_id=0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize(
    ("name", "dim", "maps", "tokens"),
    [
        ("test_resnet", 96, True, True),
        ("test_vit", 64, False, True),
        ("mobilenetv3_small_050", 1024, True, False),
        ("swin_tiny_patch4_window7_224", 768, True, True),
    ],
)
def test_timm_models_hand_over_what_they_have(name: str, dim: int, maps: bool, tokens: bool) -> None:
    built = encoder(PICTURE, "timm", model=name).eval()
    encoded = built(features(PICTURE)["image"])
    assert built.dim == dim
    assert encoded.embedding.shape == (4, dim)
    assert (encoded.maps is not None) == maps
    assert (encoded.tokens is not None) == tokens
    if tokens:
        assert encoded.tokens.shape[2] == dim
    if maps:
        assert encoded.maps.shape[2] == encoded.maps.shape[3]


@pytest.mark.parametrize("classes", [0, 10, 1000])
def test_timm_weights_of_a_local_file_are_read_and_their_statistics_used(classes: int, tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = timm.create_model("test_resnet", pretrained=False, num_classes=classes)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    built = encoder(PICTURE, "timm", model="test_resnet", weights=str(tmp_path / "weights.safetensors")).eval()
    pixels = arrays(PICTURE, [1, 1])["values"]
    mean, std = (torch.tensor(source.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = source.eval().forward_head(source.forward_features((pixels / 255 - mean) / std), pre_logits=True)
    torch.testing.assert_close(built({"values": pixels}).embedding, expected, rtol=1e-4, atol=1e-4)


def test_timm_weights_of_colour_are_adapted_to_grey(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", pretrained=False)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    grey = image(size=32)
    built = encoder(grey, "timm", model="test_resnet", weights=str(tmp_path / "weights.safetensors"))
    first = next(iter(built.backbone.network.state_dict().values()))
    torch.testing.assert_close(first, next(iter(source.state_dict().values())).sum(1, keepdim=True))
    assert built(arrays(grey, [1, 1])).embedding.isfinite().all()


@pytest.mark.parametrize("file", ["weights.pth", "missing.safetensors", "broken.safetensors"])
def test_timm_weights_that_cannot_be_used_are_named(file: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"x")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"column 'image', encoder timm: "):
        encoder(PICTURE, "timm", model="test_resnet", weights=str(tmp_path / file))


def test_timm_weights_of_another_model_are_named(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="timm cannot build test_resnet"):
        encoder(PICTURE, "timm", model="test_resnet", weights=str(tmp_path / "w.safetensors"))


def test_an_unknown_timm_model_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no model named 'resnet81'. Did you mean 'resnet"):
        encoder(PICTURE, "timm", model="resnet81")


def test_transformers_text_from_a_configuration_takes_the_columns_vocabulary() -> None:
    built = encoder(NOTE, "transformers", config=BERT)
    assert built.backbone.network.config.vocab_size == 40
    encoded = built(features(NOTE)["note"])
    assert encoded.embedding.shape == (4, 16)
    encoded.embedding.square().sum().backward()
    assert all(parameter.grad is not None for parameter in built.parameters())


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra", "t5"])
@pytest.mark.parametrize("pool", ["mean", "first"])
def test_padding_changes_nothing_in_text_models(kind: str, pool: str) -> None:
    sizes = {"t5": {"d_model": 16, "d_kv": 8, "num_heads": 2, "num_layers": 2, "d_ff": 32}}.get(kind)
    config = (sizes or {**BERT}) | {"model_type": kind}
    if kind == "distilbert":
        config = {"model_type": kind, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    built = encoder(NOTE, "transformers", config=config, pool=pool).eval().double()
    tight = arrays(NOTE, [7, 3, 5, 0])
    loose = arrays(NOTE, [7, 3, 5, 0], padded_to=12)
    loose["values"][~loose["mask"]] = 10**6
    embedding = built(loose).embedding
    torch.testing.assert_close(embedding, built(tight).embedding, rtol=1e-8, atol=1e-8)
    assert (embedding[3] == 0).all()


def test_pretrained_text_weights_of_a_folder(bert_folder: Path) -> None:
    source = transformers.AutoModel.from_pretrained(bert_folder).eval()
    built = encoder(NOTE, "transformers", model=str(bert_folder), pretrained=True).eval()
    batch = features(NOTE)["note"]
    hidden = source(input_ids=batch["values"], attention_mask=batch["mask"].long()).last_hidden_state
    shown = batch["mask"].unsqueeze(-1)
    expected = (hidden * shown).sum(1) / shown.sum(1)
    torch.testing.assert_close(built(batch).embedding, expected, rtol=1e-4, atol=1e-5)
    assert not any("pooler" in name for name, _ in built.named_parameters())


def test_a_vocabulary_or_length_beyond_the_model_is_said(bert_folder: Path) -> None:
    with pytest.raises(InputError, match=r"has 99 token ids, but the model knows 40. Set the column's `tokenizer`"):
        encoder(text("note", vocabulary=99), "transformers", model=str(bert_folder), pretrained=True)
    with pytest.raises(InputError, match=r"up to 65 tokens, but the model reads 64"):
        encoder(text("note", max_length=65), "transformers", config=BERT)
    with pytest.raises(InputError, match=r"up to 64 tokens, but the model reads 63"):
        encoder(text("note", max_length=64), "transformers", config=BERT | {"model_type": "roberta"})


def test_models_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'note', encoder transformers: transformers finds no model"):
        encoder(NOTE, "transformers", model=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"no model_type 'brt'. Did you mean 'bert'"):
        encoder(NOTE, "transformers", config={"model_type": "brt"})
    with pytest.raises(InputError, match="names no model_type"):
        encoder(NOTE, "transformers", config={"hidden_size": 3})
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text(json.dumps(BERT))
    with pytest.raises(InputError, match="transformers cannot load"):
        encoder(NOTE, "transformers", model=str(tmp_path / "empty"), pretrained=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_transformers_image_from_a_configuration_fits_the_column(channels: int) -> None:
    info = image(size=16, channels=channels)
    for pool in ("mean", "first"):
        built = encoder(info, "transformers", config=VIT, pool=pool)
        encoded = built(arrays(info, [1, 1]))
        assert encoded.embedding.shape == (2, 16)
        assert encoded.tokens.shape == (2, 5, 16)
    convolutional = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    encoded = encoder(info, "transformers", config=convolutional)(arrays(info, [1, 1]))
    assert encoded.maps.shape[:2] == (2, 16)
    assert encoded.embedding.shape == (2, 16)


def test_pretrained_image_weights_of_another_size_and_colour(tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(**VIT, image_size=16)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "image_mean": [0.1] * 3, "image_std": [0.5] * 3})
    )
    grey = image(size=32)
    built = encoder(grey, "transformers", model=str(tmp_path / "vit"), pretrained=True)
    assert built.mean == [pytest.approx(0.1)]
    assert built(arrays(grey, [1, 1])).tokens.shape == (2, 17, 16)


CASES: dict[str, tuple[FeatureInfo, str, dict[str, Any]]] = {
    "timm": (PICTURE, "timm", {"model": "test_resnet"}),
    "vit": (image(size=16), "transformers", {"config": VIT}),
    "bert": (NOTE, "transformers", {"config": BERT}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_frozen_backbone_stays_as_it_is_whatever_the_mode(case: Any) -> None:
    info, name, options = case
    model = model_of(info, name, frozen=True, **options).train()
    backbone = next(iter(model.encoders.items()))[1].backbone
    assert not any(module.training for module in backbone.network.modules())
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    for _ in range(2):
        model(features(info))["logits"].square().sum().backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_unfrozen_backbone_learns(case: Any) -> None:
    info, name, options = case
    model = model_of(info, name, **options).train()
    model(features(info))["logits"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_saved_models_are_rebuilt_without_the_library_of_origin_being_asked(case: Any, tmp_path: Path) -> None:
    info, name, options = case
    model = model_of(info, name, **options).eval()
    save_model(tmp_path, model, {})
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded(features(info))["logits"], model(features(info))["logits"])


def test_saved_models_need_neither_the_folder_nor_the_weights_they_started_from(
    bert_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    spec = ModelSpec(
        encoders={
            "note": Component(name="transformers", model=str(bert_folder), pretrained=True, frozen=True),
            "image": Component(name="timm", model="test_resnet", weights=str(weights)),
        }
    )
    model = build_model(spec, {"note": NOTE, "image": PICTURE}, {"digit": 3}, 0).eval()
    batch = features(NOTE) | features(PICTURE)
    expected = model(batch)["logits"]
    save_model(tmp_path / "saved", model, {})
    weights.unlink()
    for file in bert_folder.iterdir():
        file.unlink()
    assert str(tmp_path) not in (tmp_path / "saved" / "model.json").read_text()
    loaded, _ = load_model(tmp_path / "saved")
    assert torch.equal(loaded(batch)["logits"], expected)
    assert not any(parameter.requires_grad for parameter in loaded.encoders["note"].parameters())
