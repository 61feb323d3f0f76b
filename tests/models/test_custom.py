"""Models that nobody here wrote: what they are given, which taps they give, and what a hook leaves behind."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.tap_path import parse_tap_path
from mmdistill.models.custom.wrap import wrap
from tests.models.features import arrays, image, text, vector


class Net(nn.Module):
    """A body whose first layer runs twice, attention that gives a tuple, a mapping of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor, scale: float = 1.0, *, fail: bool = False) -> dict[str, Tensor]:
        hidden = self.body(self.shared(self.shared(x)))[:, None] * scale
        attended, _ = self.attention(hidden, hidden, hidden)
        if fail:
            raise RuntimeError("on purpose")
        return {"logits": self.fc(attended[:, 0]), "other": hidden}


TAPS = {
    "hidden": "body.0",
    "fused": "fc:input",
    "attended": "attention[0]",
    "first": "shared#0",
    "last": "shared#-1",
    "other": "[other]",
    "given": ":input[x]",
}


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net().eval()


def batch(rows: int = 5, seed: int = 1) -> dict[str, dict[str, Tensor]]:
    return {"x": {"values": torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))}}


def wrapped(module: nn.Module | None = None, taps: dict[str, str] | None = None) -> CustomModel:
    return wrap(
        net() if module is None else module, taps=TAPS if taps is None else taps, example={"x": torch.zeros(2, 6)}
    )


def kept(model: CustomModel) -> int:
    """Tensors that the recorder still holds."""
    recorder = model.recorder
    return sum(len(calls) for calls in recorder._calls.values()) + len(recorder._overwritable)


class TestTaps:
    def test_hold_what_the_modules_compute(self) -> None:
        module, features = net(), batch()
        outputs = wrapped(module)(features)
        x = features["x"]["values"]
        torch.testing.assert_close(outputs["first"], module.shared(x))
        torch.testing.assert_close(outputs["last"], module.shared(module.shared(x)))
        torch.testing.assert_close(outputs["hidden"], module.body[0](outputs["last"]))
        torch.testing.assert_close(module.fc(outputs["fused"]), outputs["logits"])
        torch.testing.assert_close(outputs["attended"][:, 0], outputs["fused"])
        assert outputs["other"].shape == (5, 1, 8)
        assert outputs["given"] is x

    def test_shapes_are_known_before_training(self) -> None:
        assert wrapped().taps == {
            "logits": (3,),
            "hidden": (8,),
            "fused": (8,),
            "attended": (1, 8),
            "first": (6,),
            "last": (6,),
            "other": (1, 8),
            "given": (6,),
        }

    def test_carry_gradients_to_the_module(self) -> None:
        module = net()
        wrapped(module)(batch())["fused"].sum().backward()
        assert module.body[0].weight.grad is not None
        assert module.fc.weight.grad is None

    def test_the_logits_of_the_module_are_used_as_they_are_when_it_gives_a_tensor(self) -> None:
        layer = nn.Linear(6, 2)
        model = wrap(layer, {"input": "x"})
        torch.testing.assert_close(model(batch())["logits"], layer(batch()["x"]["values"]))

    @pytest.mark.parametrize(
        ("taps", "message"),
        [
            ({"fused": "body.7"}, r"taps.fused: The model has no module 'body.7'. Did you mean 'body.2'\?"),
            ({"fused": "encoder"}, "no module 'encoder'.*There are attention, body, fc, shared"),
            ({"fused": "attention"}, "attention is a tuple of 2, not a tensor"),
            ({"fused": "attention[5]"}, "no element 5 in a tuple of 2"),
            ({"fused": "[outher]"}, "no element 'outher' in a mapping with the keys logits, other.*'other'"),
            ({"fused": "fc[0]"}, "no element 0 in a tensor"),
            ({"fused": "shared"}, r"'shared' runs 2 times in a forward pass.*shared#0 is the first"),
            ({"fused": "shared#2"}, "no call 2"),
            ({"fused": "shared#"}, "not the path of a tap"),
            ({"fused": "#1"}, "counts the calls of no module"),
            ({"fused": "fc:inputs"}, "not the path of a tap"),
            ({"fused": "body.0[weight"}, "not the path of a tap"),
            ({"fused": "fc:input[3]"}, "no element 3 in a tuple of 1"),
        ],
    )
    def test_that_do_not_exist_are_named(self, taps: dict[str, str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            _ = wrapped(taps=taps).taps

    def test_of_a_module_that_does_not_run_is_refused(self) -> None:
        module = net()
        module.unused = nn.Linear(1, 1)
        with pytest.raises(InputError, match="'unused' did not run"):
            wrapped(module, {"fused": "unused"})(batch())

    def test_that_is_changed_in_place_later_is_refused(self) -> None:
        module = nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True))
        with pytest.raises(InputError, match="changed in place"):
            _ = wrapped(module, {"fused": "0"}).taps
        assert wrapped(module, {"fused": "1"}).taps["fused"] == (6,)

    def test_whose_rows_do_not_come_first_is_refused(self) -> None:
        class Turned(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x.transpose(0, 1)

        with pytest.raises(InputError, match="rows do not come first"):
            _ = wrapped(Turned(), {}).taps

    def test_paths_are_written_as_they_were_read(self) -> None:
        for path in [*TAPS.values(), "", ":input[2][key]", "a.b#-1:input[0]", "encoder[last_hidden_state][0]"]:
            assert str(parse_tap_path(path)) == path


class TestHooks:
    def test_keep_nothing_after_a_forward_pass(self) -> None:
        model = wrapped()
        model(batch())
        assert kept(model) == 0

    def test_keep_nothing_after_one_that_failed(self) -> None:
        module = net()
        model = wrapped(module)
        expected = model(batch())
        module.forward, working = (lambda **inputs: Net.forward(module, fail=True, **inputs)), module.forward
        with pytest.raises(RuntimeError, match="on purpose"):
            model(batch())
        assert kept(model) == 0
        module.forward = working
        torch.testing.assert_close(model(batch()), expected)

    def test_do_nothing_when_the_module_is_used_by_itself(self) -> None:
        module = net()
        model = wrapped(module)
        module(batch()["x"]["values"])
        assert kept(model) == 0

    def test_of_two_models_on_one_module_do_not_meet(self) -> None:
        module = net()
        first, second = wrapped(module, {"a": "body.0"}), wrapped(module, {"b": "body.2"})
        assert set(first(batch())) == {"logits", "a"}
        assert set(second(batch())) == {"logits", "b"}
        assert kept(first) == kept(second) == 0

    def test_of_a_copy_are_its_own(self) -> None:
        model = wrapped()
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.module.body[0].weight.zero_()  # type: ignore[union-attr, index, operator]
        assert not torch.equal(other(batch())["hidden"], model(batch())["hidden"])
        assert kept(model) == kept(other) == 0

    def test_are_gone_after_release(self) -> None:
        module = net()
        assert wrapped(module).release() is module
        assert not any(part._forward_hooks for part in module.modules())

    def test_survive_checkpointing_of_activations(self) -> None:
        from torch.utils.checkpoint import checkpoint

        class Checkpointed(Net):
            def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
                return self.fc(checkpoint(self.body, x, use_reentrant=False))

        module = Checkpointed()
        outputs = wrapped(module, {"hidden": "body.0"})(batch())
        (outputs["logits"].sum() + outputs["hidden"].sum()).backward()
        assert module.body[0].weight.grad is not None

    def test_are_compiled_without_a_graph_break(self) -> None:
        model = wrapped()
        model.reorder("logits", [2, 0, 1])
        expected = model(batch())
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        outputs = compiled(batch())
        torch.testing.assert_close(outputs, expected)
        outputs["fused"].sum().backward()
        assert model.module.body[0].weight.grad is not None  # type: ignore[union-attr, index]
        assert kept(model) == 0

    def test_reach_into_a_compiled_module(self) -> None:
        module = net()
        expected = wrapped(copy.deepcopy(module))(batch())
        model = wrapped(torch.compile(module, backend="aot_eager"))  # type: ignore[arg-type]
        torch.testing.assert_close(model(batch()), expected)

    def test_stay_under_distributed_data_parallel(self) -> None:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            expected = wrapped()(batch())
            around = torch.nn.parallel.DistributedDataParallel(wrapped(), find_unused_parameters=True)
            torch.testing.assert_close(around(batch()), expected)
            inside = wrapped(torch.nn.parallel.DistributedDataParallel(net()))
            outputs = inside(batch())
            torch.testing.assert_close(outputs, expected)
            outputs["logits"].sum().backward()
            assert kept(inside) == 0
        finally:
            torch.distributed.destroy_process_group()


class TestInputs:
    def test_go_to_the_arguments_that_are_named(self) -> None:
        class Two(nn.Module):
            def forward(self, left: Tensor, right: Tensor, *, known: Tensor) -> Tensor:
                return torch.cat([left, right, known[:, None].float()], 1)

        model = wrap(
            Two(),
            {"right": "a", "left": "b", "known": "a.present"},
            features={"a": vector("a", 2), "b": vector("b", 3)},
        )
        a, b = torch.full((2, 2), 1.0), torch.full((2, 3), 2.0)
        features = {"a": {"values": a}, "b": {"values": b}}
        there = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
        assert model(features, there)["logits"].tolist() == [[2, 2, 2, 1, 1, 1], [2, 2, 2, 0, 0, 0]]
        assert model.columns == ("a", "b")
        assert model.required_columns == ("b",)
        assert model(features)["logits"][:, -1].tolist() == [1, 1]
        without = model({"b": {"values": b}}, there)["logits"]
        assert without.tolist() == [[2, 2, 2, 0, 0, 0]] * 2
        with pytest.raises(InputError, match="needs 'b' and cannot do without"):
            model({"a": {"values": a}}, there)

    def test_what_stands_in_absent_rows_is_not_seen(self) -> None:
        class Summed(nn.Module):
            def forward(self, x: Tensor, known: Tensor) -> Tensor:
                return x + known[:, None]

        model = wrap(Summed(), {"x": "v", "known": "v.present"}, features={"v": vector("v", 2)})
        features = {"v": {"values": torch.tensor([[1.0, 1.0], [torch.nan, 9.0]])}}
        assert model(features, {"v": torch.tensor([True, False])})["logits"].tolist() == [[2, 2], [0, 0]]

    def test_of_one_column_need_not_be_named(self) -> None:
        model = wrap(nn.Flatten(), features={"image": image(size=2)})
        features = {"image": {"values": torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)}}
        assert model(features)["logits"].tolist() == [[1.0] * 4], "pixels run from 0 to 1"

    def test_bring_their_mask_where_the_module_has_an_argument_for_it(self) -> None:
        class Masked(nn.Module):
            def forward(self, ids: Tensor, extra: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
                assert extra is None and mask is not None
                return (ids * mask).sum(1, keepdim=True).float()

        info = text()
        model = wrap(Masked(), features={"text": info})
        given = arrays(info, [3, 1])
        given["values"][1, 1:] = 7
        assert model({"text": given})["logits"][1].item() == given["values"][1, 0]
        assert model.taps == {"logits": (1,)}

    def test_lengths_that_vary_are_known_and_masks_are_bool(self) -> None:
        class Tokens(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words = nn.Embedding(50, 4)

            def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
                return self.words(ids).mean(1)

        taps = {"tokens": "words", "tokens.mask": ":input[mask]"}
        model = wrap(Tokens(), {"ids": "text", "mask": "text.mask"}, taps, features={"text": text()})
        assert model.taps == {"logits": (4,), "tokens": (None, 4), "tokens.mask": (None,)}
        assert model({"text": arrays(text(), [3, 1])})["tokens.mask"].dtype == torch.bool

    @pytest.mark.parametrize(
        ("inputs", "features", "message"),
        [
            ({"y": "v"}, {"v": vector("v")}, r"inputs.y: The module has no argument 'y'"),
            ({"x": "w"}, {"v": vector("v")}, r"inputs.x: There is no column 'w'"),
            ({"x": "v.mean"}, {"v": vector("v")}, "'v' has no array 'mean'"),
            ({"scale": "v"}, {"v": vector("v")}, "needs 'x' as well"),
            (None, {"v": text("v")}, "rows of 'v' differ in length"),
            (None, {"v": vector("v"), "w": vector("w")}, "not clear"),
            (None, None, "not known what the module reads"),
        ],
    )
    def test_that_are_unclear_are_refused(self, inputs: Any, features: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            wrap(net(), inputs, features=features)

    def test_shapes_of_taps_need_something_to_go_by(self) -> None:
        with pytest.raises(InputError, match="Give wrap the `features`"):
            _ = wrap(net(), {"x": "v"}).taps

    def test_a_module_without_argument_names_is_called_by_position(self) -> None:
        class Starred(nn.Module):
            def forward(self, *inputs: Tensor) -> Tensor:
                return inputs[0] * 2

        model = wrap(Starred(), {"inputs": "x"})
        torch.testing.assert_close(model(batch())["logits"], batch()["x"]["values"] * 2)


def test_outputs_are_reordered_and_weights_are_not_touched() -> None:
    module = net()
    model = wrapped(module)
    before, weights = model(batch())["logits"], copy.deepcopy(module.state_dict())
    model.reorder("logits", [2, 0, 1])
    torch.testing.assert_close(model(batch())["logits"], before[:, [2, 0, 1]])
    model.reorder("logits", [1, 2, 0])
    torch.testing.assert_close(model(batch())["logits"], before)
    torch.testing.assert_close(module.state_dict(), weights)
    assert model.orders() == {"logits": [0, 1, 2]}


def test_a_model_that_fails_on_an_example_is_told_with_what_it_was_given() -> None:
    model = wrap(Net(), inputs={"x": "x"}, example={"x": torch.rand(4, 5)})
    with pytest.raises(
        InputError, match=r"forward\(x: x\.values\): The model fails on a small batch: Runtime"
    ) as caught:
        _ = model.taps
    assert caught.value.__cause__ is not None, "the traceback of the model's own code is kept"
