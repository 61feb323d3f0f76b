"""Models on disk."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmdistill.errors import InputError, MMDistillError
from mmdistill.models import saving
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.models.saving import load_model, save_model
from mmdistill.recipe.schema import Component, ModelSpec, StudentSpec
from tests.models.features import ENCODERS, arrays, case_name, image, lengths_for, log_mel

CARD = {"tasks": {"digit": {"classes": ["null", "eins", "zwei"]}}, "note": "für später"}


def make(seed: int = 0, heads: Any = None, spec_type: type[ModelSpec] = ModelSpec) -> MultimodalModel:
    document = {
        "encoders": {"image": {"name": "resnet", "widths": [8, 16]}, "sound": {"name": "tiny_cnn", "width": 4}},
        "fusion": {"name": "cross_attention", "dim": 16},
        "head_dropout": 0.25,
        "features": {"image": {"size": 28}},
    }
    infos = {"image": image(), "sound": log_mel()}
    return build_model(spec_type.model_validate(document), infos, heads or {"digit": 3}, seed)


def batch(rows: int = 3) -> dict[str, Any]:
    return {"image": arrays(image(), [1] * rows), "sound": arrays(log_mel(), [20] * rows)}


def same(first: nn.Module, second: nn.Module) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model = make(seed=5)
    save_model(tmp_path / "student" / "seed-5", model, CARD)
    loaded, card = load_model(tmp_path / "student" / "seed-5")
    assert card == CARD
    assert same(loaded, model)
    assert not loaded.training
    assert loaded.columns == model.columns
    assert loaded.features == model.features
    assert loaded.spec == model.spec
    assert torch.equal(loaded(batch())["logits"], model.eval()(batch())["logits"])


@pytest.mark.parametrize("case", ENCODERS, ids=map(case_name, ENCODERS))
def test_every_encoder_comes_back(case: Any, tmp_path: Path) -> None:
    name, info, options = case
    spec = ModelSpec(encoders={info.column: Component(name=name, **options)})
    model = build_model(spec, {info.column: info}, {"digit": 2}, 1).eval()
    save_model(tmp_path, model, {})
    features = {info.name: arrays(info, lengths_for(info))}
    assert torch.equal(load_model(tmp_path)[0](features)["logits"], model(features)["logits"])


def test_a_students_specification_is_saved_as_that_of_a_model(tmp_path: Path) -> None:
    save_model(tmp_path, make(spec_type=StudentSpec), {})
    assert isinstance(load_model(tmp_path)[0].spec, ModelSpec)


def test_only_the_two_files_are_left_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("step,loss\n")
    save_model(tmp_path, make(), CARD)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["history.csv", "model.json", "model.safetensors"]


def test_loading_leaves_the_random_state_alone(tmp_path: Path) -> None:
    save_model(tmp_path, make(), CARD)
    state = torch.random.get_rng_state()
    load_model(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_interrupted_save_leaves_no_model_rather_than_a_mixed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, make(seed=0), CARD)

    def stop(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "write_text", stop)
    with pytest.raises(KeyboardInterrupt):
        save_model(tmp_path, make(seed=1), CARD)
    with pytest.raises(InputError, match=r"no model.json here, so no finished model"):
        load_model(tmp_path)
    monkeypatch.undo()
    save_model(tmp_path, make(seed=1), CARD)
    assert same(load_model(tmp_path)[0], make(seed=1))


def test_weights_of_another_save_are_noticed(tmp_path: Path) -> None:
    save_model(tmp_path / "a", make(seed=0), CARD)
    save_model(tmp_path / "b", make(seed=1), CARD)
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(InputError, match=r"is damaged: its content is not what model.json states"):
        load_model(tmp_path / "a")


def test_a_full_disk_is_said_and_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MMDistillError, match=r"disk is full. Free some space"):
        save_model(tmp_path / "model", make(), CARD)
    assert list((tmp_path / "model").iterdir()) == []


def test_a_card_that_is_not_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for card in ({"model": object()}, {"score": float("nan")}):
        with pytest.raises(MMDistillError, match="card is not JSON data"):
            save_model(tmp_path / "model", make(), card)
    assert not (tmp_path / "model").exists()


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no model here. Give the folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"There is no model.json here"):
        load_model(tmp_path)
    save_model(tmp_path, make(), CARD)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights cannot be read: No such file"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"spec": {}}', b'{"format": 1}', b'{"format": 1, "spec": 3}', b"\xff\xfe"]
)
def test_a_damaged_document_is_said(content: bytes, tmp_path: Path) -> None:
    save_model(tmp_path, make(), CARD)
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(InputError, match=r"model.json: The file is damaged"):
        load_model(tmp_path)


def test_truncated_and_changed_weights_are_said(tmp_path: Path) -> None:
    save_model(tmp_path, make(), CARD)
    file = tmp_path / "model.safetensors"
    content = file.read_bytes()
    for spoilt in (content[:-10], content[:20], b"", content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"model.safetensors: The file is damaged"):
            load_model(tmp_path)


def test_another_format_is_said(tmp_path: Path) -> None:
    save_model(tmp_path, make(), CARD)
    document = json.loads((tmp_path / "model.json").read_text())
    document["format"] = 99
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"has format 99; this version of mmdistill reads 1"):
        load_model(tmp_path)


def test_a_specification_that_does_not_fit_the_weights_is_said(tmp_path: Path) -> None:
    save_model(tmp_path, make(), CARD)
    document = json.loads((tmp_path / "model.json").read_text())
    document["spec"]["encoders"]["image"]["widths"] = [8, 24]
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"is damaged: its weights do not fit"):
        load_model(tmp_path)


def rating(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, 4), nn.ReLU(), nn.Linear(4, 1))


def test_heads_of_ones_own_are_given_again(tmp_path: Path) -> None:
    model = make(heads={"digit": 3, "rating": rating})
    save_model(tmp_path, model, CARD)
    with pytest.raises(InputError, match=r"head for 'rating' is not a plain linear layer"):
        load_model(tmp_path)
    loaded, _ = load_model(tmp_path, heads={"rating": rating})
    assert same(loaded, model)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    def tied(dim: int) -> nn.Module:
        first = nn.Linear(dim, dim)
        second = nn.Linear(dim, dim)
        second.weight = first.weight
        return nn.Sequential(first, second)

    model = make(heads={"digit": tied})
    save_model(tmp_path, model, CARD)
    loaded, _ = load_model(tmp_path, heads={"digit": tied})
    head = loaded.heads["digit"]
    assert head[0].weight is head[1].weight
    assert same(loaded, model)


def test_no_pickle_is_anywhere_in_the_room() -> None:
    for file in Path(saving.__file__).parent.rglob("*.py"):
        code = file.read_text()
        reading = re.findall(r"torch\.load\(.*", code)
        assert all("weights_only=True" in call for call in reading), file
        assert "import pickle" not in code, file
        if "torch.export.load" in code and file.name != "program_file.py":
            assert code.index("check_program(file") < code.index("= torch.export.load("), file
