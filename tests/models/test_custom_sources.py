"""Custom models from every source, built from files that the test itself writes: nothing is downloaded."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from mmdistill.data.features import FeatureInfo
from mmdistill.errors import InputError
from mmdistill.models.custom.build import build_custom, refuse_absent_rows
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.weights import read_weights
from mmdistill.models.custom.wrap import wrap
from mmdistill.models.saving import load_model, save_model
from mmdistill.recipe.custom import CustomSpec
from tests.models.factories import TwoLayers, two_layers
from tests.models.features import arrays, image, text, vector
from tests.models.onnx_writing import write_linear

FACTORY = "tests.models.factories:two_layers"
PICTURE, NOTE, POINT = image(size=32, channels=3), text("note", vocabulary=40, max_length=16), vector("point", 6)
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def build(info: FeatureInfo, outputs: int | None = 3, seed: int = 0, **spec: Any) -> CustomModel:
    return build_custom(CustomSpec.model_validate(spec), {info.column: info}, {"class": outputs}, seed).eval()


def features(info: FeatureInfo) -> dict[str, Any]:
    return {info.name: arrays(info, [7, 3, 5, 1])}


def check_saving(model: CustomModel, info: FeatureInfo, folder: Path) -> CustomModel:
    """A model that was saved gives the same outputs when it is loaded."""
    save_model(folder, model, {"note": "kept"})
    loaded, card = load_model(folder)
    assert isinstance(loaded, CustomModel)
    assert card == {"note": "kept"}
    torch.testing.assert_close(loaded(features(info)), model(features(info)))
    assert loaded.classes == model.classes
    assert loaded.taps == model.taps
    return loaded


class TestFactory:
    def test_is_called_with_its_options(self) -> None:
        model = build(POINT, 5, factory=FACTORY, options={"classes": 5, "hidden": 12}, taps={"fused": "head:input"})
        assert model.taps == {"logits": (5,), "fused": (12,)}
        assert model.columns == ("point",)
        assert model.tasks == ("class",)

    def test_weights_depend_on_the_seed_alone(self) -> None:
        first, second, other = (build(POINT, factory=FACTORY, seed=seed) for seed in (0, 0, 1))
        torch.testing.assert_close(first.state_dict(), second.state_dict())
        assert not torch.equal(first.module.head.weight, other.module.head.weight)  # type: ignore[union-attr, arg-type]

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_takes_the_weights_of_a_file(self, suffix: str, tmp_path: Path) -> None:
        source, file = two_layers(), tmp_path / f"weights{suffix}"
        if suffix == ".pt":
            torch.save({"state_dict": {f"module.{name}": value for name, value in source.state_dict().items()}}, file)
        else:
            save_file(source.state_dict(), file)
        model = build(POINT, factory=FACTORY, weights=str(file))
        torch.testing.assert_close(model.module.state_dict(), source.state_dict())

    def test_is_built_again_from_what_was_saved(self, tmp_path: Path) -> None:
        torch.manual_seed(5)
        save_file(two_layers().state_dict(), tmp_path / "weights.safetensors")
        spec = {"factory": FACTORY, "weights": str(tmp_path / "weights.safetensors"), "taps": {"fused": "head:input"}}
        model = build(POINT, **spec)
        model.reorder("logits", [1, 2, 0])
        (tmp_path / "weights.safetensors").unlink()
        loaded = check_saving(model, POINT, tmp_path / "saved")
        assert loaded.orders() == {"logits": [1, 2, 0]}

    def test_is_found_in_the_current_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nets_of_a_test.py").write_text("from torch import nn\ndef small():\n    return nn.Linear(6, 3)\n")
        monkeypatch.chdir(tmp_path)
        assert build(POINT, factory="nets_of_a_test:small").taps == {"logits": (3,)}

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"factory": "tests.models.factories"}, "does not name a function"),
            ({"factory": "tests.models.factory:two_layers"}, "no Python module 'tests.models.factory'"),
            ({"factory": "tests.models.factories:two_layer"}, "no function 'two_layer'.*'two_layers'"),
            ({"factory": "tests.models.factories:no_module"}, "gave a str, not a torch.nn.Module"),
            ({"factory": FACTORY, "options": {"width": 3}}, "cannot be called with these options.*width"),
            ({"factory": FACTORY, "options": {"classes": 4}}, "has 4 outputs, and 'class' needs 3"),
            ({"factory": FACTORY, "classes": ["a", "b"]}, "has 3 outputs, and 2 classes are named"),
            ({"factory": FACTORY, "taps": {"fused": "haed:input"}}, "no module 'haed'.*'head'"),
            ({"factory": FACTORY, "inputs": {"y": "point"}}, "custom.inputs.y: The module has no argument 'y'"),
            ({"factory": FACTORY, "weights": "nowhere.safetensors"}, "no file nowhere.safetensors"),
        ],
    )
    def test_what_is_wrong_with_it_is_said(self, spec: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            build(POINT, **spec)

    def test_several_tasks_name_their_logits(self) -> None:
        spec = CustomSpec(factory=FACTORY, taps={"a.logits": "", "b.logits": "body"})
        model = build_custom(spec, {"point": POINT}, {"a": 3, "b": 8}, 0)
        assert model.taps == {"a.logits": (3,), "b.logits": (8,)}
        with pytest.raises(InputError, match=r"nothing says where the 'b.logits'"):
            build_custom(CustomSpec(factory=FACTORY, taps={"a.logits": ""}), {"point": POINT}, {"a": 3, "b": 8}, 0)

    def test_pixels_run_from_0_to_1_unless_told_otherwise(self) -> None:
        options = {"inputs": 12, "classes": 3}
        tiny, spec = image(size=2, channels=3), {"factory": "tests.models.factories:flat", "options": options}
        given = features(tiny)
        whole = given["image"]["values"].float()
        state = tiny.state
        mean, std = torch.tensor(state["mean"])[:, None, None], torch.tensor(state["std"])[:, None, None]
        half = {"mean": [0.5], "std": [0.5]}
        for pixels, expected in [(None, whole / 255), ("rows", (whole - mean) / std), (half, whole / 127.5 - 1)]:
            model = build(tiny, **spec, pixels=pixels, taps={"seen": ":input"})
            torch.testing.assert_close(model(given)["seen"], expected)


class TestWeights:
    def test_of_another_architecture_are_refused(self, tmp_path: Path) -> None:
        state = two_layers(classes=4).state_dict()
        del state["body.weight"]
        save_file({**state, "more": torch.zeros(1)}, tmp_path / "weights.safetensors")
        with pytest.raises(InputError, match=r"lacks body.weight, it has more beside, head.bias has the shape \(4,\)"):
            build(POINT, factory=FACTORY, weights=str(tmp_path / "weights.safetensors"))

    def test_that_could_run_code_are_refused(self, tmp_path: Path) -> None:
        torch.save(two_layers(), tmp_path / "whole.pt")
        with pytest.raises(InputError, match="could run code"):
            read_weights(tmp_path / "whole.pt")

    @pytest.mark.parametrize(
        ("content", "message"), [({"epoch": 3}, "'epoch' is no tensor"), ({}, "no weights"), ([1], "a list")]
    )
    def test_that_are_no_state_dict_are_refused(self, content: Any, message: str, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(InputError, match=message):
            read_weights(tmp_path / "weights.pt")

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_that_are_damaged_are_refused(self, suffix: str, tmp_path: Path) -> None:
        (tmp_path / f"weights{suffix}").write_bytes(b"not weights")
        with pytest.raises(InputError, match=r"damaged|cannot be read|run code"):
            read_weights(tmp_path / f"weights{suffix}")


class TestTimm:
    timm: Any

    @pytest.fixture(autouse=True)
    def _timm(self) -> None:
        self.timm = pytest.importorskip("timm", reason="the extra backbones is not installed")

    def test_is_built_for_images_and_classes(self) -> None:
        model = build(image(size=32), 7, timm="test_resnet", taps={"maps": "layer4", "fused": "fc:input"})
        assert model.taps["logits"] == (7,)
        assert model.taps["fused"] == (96,)
        assert len(model.taps["maps"]) == 3

    def test_weights_bring_their_statistics(self, tmp_path: Path) -> None:
        source = self.timm.create_model("test_resnet", num_classes=3).eval()
        save_file(source.state_dict(), tmp_path / "weights.safetensors")
        model = build(PICTURE, timm="test_resnet", weights=str(tmp_path / "weights.safetensors"))
        mean, std = (torch.tensor(source.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
        pixels = features(PICTURE)
        expected = source((pixels["image"]["values"] / 255 - mean) / std)
        torch.testing.assert_close(model(pixels)["logits"], expected, rtol=1e-4, atol=1e-4)
        check_saving(model, PICTURE, tmp_path / "saved")

    def test_without_a_head_gives_features(self) -> None:
        assert build(PICTURE, None, timm="test_resnet", head="none").taps["logits"] == (96,)

    def test_unknown_ones_are_named(self) -> None:
        with pytest.raises(InputError, match=r"custom.timm: timm has no model named 'resnet_50'. Did you mean"):
            build(PICTURE, timm="resnet_50")
        with pytest.raises(InputError, match="timm cannot build"):
            build(PICTURE, timm="test_resnet", options={"colours": 3})


class TestTransformers:
    transformers: Any

    @pytest.fixture(autouse=True)
    def _transformers(self) -> None:
        self.transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

    def saved(self, folder: Path, **config: Any) -> tuple[Any, Path]:
        torch.manual_seed(7)
        keys = BERT | {"vocab_size": 40, "pad_token_id": 0} | config
        source = self.transformers.AutoModelForSequenceClassification.from_config(
            self.transformers.AutoConfig.for_model("bert", **keys)
        )
        source.save_pretrained(folder / "bert")
        return source.eval(), folder / "bert"

    def test_is_built_from_its_type_for_the_column(self, tmp_path: Path) -> None:
        taps = {"fused": "classifier:input", "layer": "bert.encoder.layer.0"}
        model = build(NOTE, 5, transformers="bert", options=BERT, taps=taps)
        assert model.taps == {"logits": (5,), "fused": (16,), "layer": (None, 16)}
        check_saving(model, NOTE, tmp_path)

    def test_padding_and_empty_rows_change_nothing(self) -> None:
        model = build(NOTE, 5, transformers="bert", options=BERT)
        given = arrays(NOTE, [4, 2])
        longer = arrays(NOTE, [4, 2, 0], padded_to=9)
        both, alone = model({"note": longer})["logits"], model({"note": given})["logits"]
        torch.testing.assert_close(both[:2], alone, rtol=1e-4, atol=1e-5)
        assert bool(both.isfinite().all())

    def test_a_folder_brings_weights_and_class_names(self, tmp_path: Path) -> None:
        names = {0: "no", 1: "yes", 2: "maybe"}
        source, folder = self.saved(tmp_path, id2label=names, label2id={name: key for key, name in names.items()})
        model = build(NOTE, None, transformers=str(folder), pretrained=True)
        assert model.classes == ("no", "yes", "maybe")
        given = features(NOTE)["note"]
        expected = source(input_ids=given["values"], attention_mask=given["mask"].long()).logits
        torch.testing.assert_close(model({"note": given})["logits"], expected, rtol=1e-4, atol=1e-5)
        for file in folder.iterdir():
            file.unlink()
        check_saving(model, NOTE, tmp_path / "model")

    def test_a_folder_without_class_names_gets_a_head_of_our_classes(self, tmp_path: Path) -> None:
        source, folder = self.saved(tmp_path)
        model = build(NOTE, 5, transformers=str(folder), pretrained=True)
        assert model.classes is None
        assert model.taps["logits"] == (5,)
        words = model.module.bert.embeddings.word_embeddings.weight  # type: ignore[union-attr]
        torch.testing.assert_close(words, source.bert.embeddings.word_embeddings.weight)

    def test_images_are_standardised(self, tmp_path: Path) -> None:
        vit = BERT | {"patch_size": 8}
        model = build(PICTURE, 4, transformers="vit", options=vit, taps={"seen": ":input", "tokens": "vit[0]"})
        assert model.taps["logits"] == (4,)
        given = features(PICTURE)["image"]["values"].float()
        torch.testing.assert_close(model(features(PICTURE))["seen"], (given - 50) / 75)
        check_saving(model, PICTURE, tmp_path)

    def test_without_a_head_gives_what_is_chosen(self) -> None:
        taps = {"logits": "[pooler_output]", "tokens": "[last_hidden_state]"}
        model = build(NOTE, None, transformers="bert", options=BERT, head="none", taps=taps)
        assert model.taps == {"logits": (16,), "tokens": (None, 16)}

    def test_what_is_wrong_with_it_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="transformers finds no model 'bertt'"):
            build(NOTE, transformers="bertt")
        with pytest.raises(InputError, match="16 tokens, but the model reads 8"):
            build(NOTE, transformers="bert", options=BERT | {"max_position_embeddings": 8})
        _, folder = self.saved(tmp_path)
        with pytest.raises(InputError, match=r"custom.options.hiden_size.*'hidden_size'"):
            build(NOTE, transformers=str(folder), options={"hiden_size": 3})


class TestProgram:
    def exported(self, folder: Path, module: nn.Module | None = None, fixed: bool = False) -> Path:
        shapes = None if fixed else ({0: torch.export.Dim("rows")},)
        program = torch.export.export((module or two_layers()).eval(), (torch.zeros(4, 6),), dynamic_shapes=shapes)
        torch.export.save(program, folder / "model.pt2")
        return folder / "model.pt2"

    def test_gives_what_the_model_gave(self, tmp_path: Path) -> None:
        source = two_layers()
        model = build(POINT, program=str(self.exported(tmp_path, source)))
        given = features(POINT)["point"]["values"]
        torch.testing.assert_close(model({"point": {"values": given}})["logits"], source(given))
        model.train()
        torch.testing.assert_close(model({"point": {"values": given}})["logits"], source(given))
        check_saving(model, POINT, tmp_path / "saved")

    def test_keeps_its_modules_for_taps(self, tmp_path: Path) -> None:
        source = two_layers()
        model = build(POINT, program=str(self.exported(tmp_path, source)), taps={"hidden": "body"})
        given = features(POINT)["point"]["values"]
        torch.testing.assert_close(model({"point": {"values": given}})["hidden"], source.body(given))

    def test_learns_when_it_is_trained(self, tmp_path: Path) -> None:
        model = build(POINT, program=str(self.exported(tmp_path)))
        model(features(POINT))["logits"].sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_of_a_fixed_batch_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="'x' is for batches of exactly 4 rows"):
            build(POINT, program=str(self.exported(tmp_path, fixed=True)))

    def test_that_has_changed_since_it_was_saved_is_refused(self, tmp_path: Path) -> None:
        model = build(POINT, program=str(self.exported(tmp_path)))
        save_model(tmp_path / "saved", model, {})
        self.exported(tmp_path, two_layers(hidden=9))
        with pytest.raises(InputError, match="not the one that this model was saved with"):
            load_model(tmp_path / "saved")

    def rewritten(self, file: Path, name: str, change: Any) -> Path:
        """The archive with one of its files changed, or added when there is no such file."""
        other = file.with_name("other.pt2")
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
            for info in old.infolist():
                content = old.read(info.filename)
                new.writestr(info.filename, change(content) if info.filename.endswith(name) else content)
        return other

    def test_that_could_run_code_is_refused_before_it_is_loaded(self, tmp_path: Path) -> None:
        file = self.exported(tmp_path)

        def pickled(content: bytes) -> bytes:
            config = json.loads(content)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()

        def calls(content: bytes) -> bytes:
            return content.replace(b"torch.ops.aten.relu.default", b"torch.hub.load")

        def evaluates(content: bytes) -> bytes:
            document = json.loads(content)
            sizes = document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
            sizes[0]["as_expr"]["expr_str"] = "__import__('os').system('true')"
            return json.dumps(document).encode()

        changes = [("model_weights_config.json", pickled), ("model.json", calls), ("model.json", evaluates)]
        for (name, change), message in zip(changes, ["pickled", "torch.hub.load", "no arithmetic"], strict=True):
            with pytest.raises(InputError, match=message):
                build(POINT, program=str(self.rewritten(file, name, change)))

        class Code:
            def __reduce__(self) -> tuple[Any, ...]:
                return print, ("ran",)

        torch.save((Code(),), tmp_path / "inputs.pt")
        inputs = (tmp_path / "inputs.pt").read_bytes()
        with pytest.raises(InputError, match="example inputs"):
            build(POINT, program=str(self.rewritten(file, "sample_inputs/model.pt", lambda _: inputs)))

    def test_that_is_none_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.pt2").write_bytes(b"nothing")
        for path in ("model.pt2", "nowhere.pt2"):
            with pytest.raises(InputError, match=r"cannot be read|no file"):
                build(POINT, program=str(tmp_path / path))

    def test_of_a_whole_network_with_masks_is_accepted(self, tmp_path: Path) -> None:
        class Pooled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words = nn.Embedding(40, 6)
                self.head = nn.Linear(6, 3)

            def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
                kept = self.words(ids) * mask[..., None]
                return self.head(kept.sum(1) / mask.sum(1, keepdim=True).clamp(min=1))

        rows, length = torch.export.Dim("rows"), torch.export.Dim("length", min=2)
        shapes = ({0: rows, 1: length}, {0: rows, 1: length})
        given = arrays(NOTE, [5, 3])
        program = torch.export.export(Pooled(), (given["values"], given["mask"]), dynamic_shapes=shapes)
        torch.export.save(program, tmp_path / "model.pt2")
        model = build(NOTE, program=str(tmp_path / "model.pt2"))
        torch.testing.assert_close(model({"note": given})["logits"], program.module()(given["values"], given["mask"]))


class TestOnnx:
    def written(self, folder: Path, **options: Any) -> tuple[Tensor, Tensor, Path]:
        generator = np.random.default_rng(0)
        weight, bias = generator.normal(size=(6, 3)), generator.normal(size=3)
        write_linear(folder / "model.onnx", weight, bias, **options)
        return torch.tensor(weight).float(), torch.tensor(bias).float(), folder / "model.onnx"

    def test_gives_its_outputs_by_name(self, tmp_path: Path) -> None:
        weight, bias, file = self.written(tmp_path)
        model = build(POINT, onnx=str(file), taps={"hidden": "[hidden]"})
        given = features(POINT)
        outputs = model(given)
        torch.testing.assert_close(outputs["hidden"], given["point"]["values"] @ weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(outputs["logits"], outputs["hidden"] + bias, rtol=1e-4, atol=1e-5)
        assert not outputs["logits"].requires_grad
        assert not list(model.parameters())
        check_saving(model, POINT, tmp_path / "saved")

    def test_the_only_other_output_is_chosen_by_name(self, tmp_path: Path) -> None:
        *_, file = self.written(tmp_path, scores="scores")
        with pytest.raises(InputError, match="a mapping with the keys scores, hidden, not a tensor"):
            build(POINT, onnx=str(file))
        assert build(POINT, onnx=str(file), taps={"logits": "[scores]"}).taps["logits"] == (3,)

    def test_files_are_told_apart_by_their_content(self, tmp_path: Path) -> None:
        from mmdistill.distill.store import weights_digest

        *_, file = self.written(tmp_path)
        first = weights_digest(build(POINT, onnx=str(file)))
        write_linear(file, np.ones((6, 3)), np.zeros(3))
        assert weights_digest(build(POINT, onnx=str(file))) != first

    def test_cannot_be_trained(self, tmp_path: Path) -> None:
        from mmdistill.recipe.schema import TrainSpec
        from mmdistill.training.optimizers import make_optimizer

        *_, file = self.written(tmp_path)
        with pytest.raises(InputError, match="no parameter that can be trained"):
            make_optimizer(build(POINT, onnx=str(file)), TrainSpec().optimizer, 0.1)

    def test_what_is_wrong_with_it_is_said(self, tmp_path: Path) -> None:
        *_, file = self.written(tmp_path, rows=4)
        with pytest.raises(InputError, match="batches of exactly 4 rows"):
            build(POINT, onnx=str(file))
        file.write_bytes(b"nothing")
        with pytest.raises(InputError, match="cannot read the file"):
            build(POINT, onnx=str(file))
        with pytest.raises(InputError, match="no file"):
            build(POINT, onnx=str(tmp_path / "nowhere.onnx"))
        *_, file = self.written(tmp_path)
        with pytest.raises(InputError, match="no argument 'y'"):
            build(POINT, onnx=str(file), inputs={"y": "point"})


def test_a_wrapped_module_is_needed_again_to_load_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = wrap(
        TwoLayers(6, 8, 3).eval(), taps={"fused": "head:input"}, features={"point": POINT}, classes=["a", "b", "c"]
    )
    save_model(tmp_path, model, {})
    with pytest.raises(InputError, match="Give load_model a `module`"):
        load_model(tmp_path)
    loaded, _ = load_model(tmp_path, module=TwoLayers(6, 8, 3))
    torch.testing.assert_close(loaded(features(POINT)), model(features(POINT)))
    assert isinstance(loaded, CustomModel)
    assert loaded.classes == ("a", "b", "c")
    with pytest.raises(InputError, match="do not fit"):
        load_model(tmp_path, module=TwoLayers(6, 9, 3))


def test_absent_rows_are_refused_where_the_model_is_not_told() -> None:
    model = build(POINT, factory=FACTORY)
    refuse_absent_rows(model, {"point": 0, "other": 9})
    with pytest.raises(InputError, match="1,200 rows have no 'point', and the model is not told which"):
        refuse_absent_rows(model, {"point": 1200})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "exactly one of"),
        ({"timm": "resnet18", "factory": FACTORY}, "exactly one of"),
        ({"factory": FACTORY, "pretrained": True}, "`pretrained` is for timm and transformers"),
        ({"program": "a.pt2", "head": "none"}, "`head` is for timm and transformers"),
        ({"onnx": "a.onnx", "weights": "b.safetensors"}, "own weights"),
        ({"program": "a.pt2", "options": {"a": 1}}, "takes no options"),
        ({"factory": FACTORY, "pixels": {"std": [0.0]}}, "above 0"),
    ],
)
def test_specifications_that_contradict_themselves_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CustomSpec.model_validate(spec)
