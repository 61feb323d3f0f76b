"""Adapters join what differs between two taps, are chosen from the shapes, and can be set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.catalog import Entry, get
from mmdistill.distill.adapters.adapter import Adapter, resize
from mmdistill.distill.adapters.layers import ChannelNorm
from mmdistill.distill.adapters.make import make_adapters
from mmdistill.distill.adapters.resampler import Resampler
from mmdistill.distill.arguments import Argument, Sources
from mmdistill.errors import InputError
from mmdistill.losses.entry import LossEntry
from mmdistill.losses.module import Shape
from mmdistill.recipe.schema import Component

PLAIN = Entry("loss", "own", "nowhere:nothing")


def joined(
    student: Shape, teacher: Shape, adapter: Any = "auto", kind: str = "features", entry: Entry = PLAIN
) -> nn.Module | None:
    """The adapter between two taps of an argument."""
    arguments = [Argument(f"{side}_{kind}", side, ("tap",)) for side in ("student", "teacher")]  # type: ignore[arg-type]
    sources = Sources({"tap": student}, {"tap": teacher}, ("label",))
    made = make_adapters(Component.model_validate(adapter), arguments, sources, entry, seed=1)
    return made[f"student_{kind}"][0] if made else None


def relational(**changes: bool) -> Entry:
    """A loss that says what it compares."""
    kd = get("loss", "kd")
    assert isinstance(kd, LossEntry)
    values = {name: getattr(kd, name) for name in kd.__dataclass_fields__}
    return LossEntry(**{**values, **changes})


def after(adapter: nn.Module | None, *shape: int) -> tuple[int, ...]:
    assert adapter is not None
    return tuple(adapter(torch.randn(2, *shape)).shape[1:])


@pytest.mark.parametrize(
    ("student", "teacher", "kind"),
    [
        ((4,), (7,), "features"),
        ((5, 4), (5, 7), "tokens"),
        ((4, 6, 6), (7, 6, 6), "maps"),
        ((4, 6, 6), (7, 3, 9), "maps"),
        ((4, 6, 6), (4, 3, 9), "maps"),
        ((4, 6), (7, 9), "maps"),
        ((4, 2, 3, 4), (7, 4, 3, 2), "stages"),
        ((5, 4), (9, 7), "tokens"),
        ((5, 4), (9, 4), "tokens"),
    ],
)
def test_what_comes_out_has_the_teachers_shape(student: Any, teacher: Any, kind: str) -> None:
    assert after(joined(student, teacher, kind=kind), *student) == teacher


@pytest.mark.parametrize(("shape", "kind"), [((4,), "features"), ((None, 4), "tokens"), ((4, 6, 6), "maps")])
def test_equal_shapes_need_none(shape: Any, kind: str) -> None:
    assert joined(shape, shape, kind=kind) is None


def test_a_loss_may_say_that_widths_or_sizes_need_not_agree() -> None:
    maps = ((4, 6, 6), (7, 3, 3))
    assert joined(*maps, kind="maps", entry=relational(equal_widths=False, equal_sizes=False)) is None
    only_size = joined(*maps, kind="maps", entry=relational(equal_widths=False))
    assert isinstance(only_size, Adapter) and only_size.project is None
    assert after(only_size, 4, 6, 6) == (4, 3, 3)
    only_width = joined(*maps, kind="maps", entry=relational(equal_sizes=False))
    assert after(only_width, 4, 6, 6) == (7, 6, 6)


def test_maps_are_averaged_where_they_shrink_and_interpolated_where_they_grow() -> None:
    maps = torch.randn(2, 3, 8, 4)
    torch.testing.assert_close(resize(maps, (4, 2)), F.avg_pool2d(maps, 2))
    grown = F.interpolate(maps, size=(16, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(maps, (16, 8)), grown)
    both = F.interpolate(F.adaptive_avg_pool2d(maps, (2, 4)), size=(2, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(maps, (2, 9)), both)


def test_shrinking_before_a_linear_map_is_the_same_as_after() -> None:
    adapter = joined((4, 6, 6), (7, 3, 3), kind="maps")
    assert isinstance(adapter, Adapter)
    maps = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(adapter(maps), resize(adapter._projected(maps), (3, 3)))


def test_a_hidden_layer_has_a_width_and_an_activation() -> None:
    adapter = joined((4,), (7,), {"name": "mlp", "hidden": 9, "activation": "gelu"})
    assert isinstance(adapter, Adapter) and isinstance(adapter.project, nn.Sequential)
    first, activation, last = adapter.project
    assert (first.weight.shape, type(activation), last.weight.shape) == ((9, 4), nn.GELU, (7, 9))


def test_convolution_norm_and_relu_are_those_of_pytorch() -> None:
    adapter = joined((4, 6, 6), (7, 6, 6), {"name": "conv_norm", "kernel_size": 3}, kind="maps")
    assert isinstance(adapter, Adapter) and isinstance(adapter.project, nn.Sequential)
    convolution = adapter.project[0]
    maps = torch.randn(5, 4, 6, 6)
    expected = F.relu(nn.BatchNorm2d(7)(convolution(maps)))
    torch.testing.assert_close(adapter(maps), expected)
    assert adapter(maps).min() == 0
    without = joined((4,), (7,), {"name": "conv_norm", "relu": False})
    assert after(without, 4) == (7,)


def test_a_norm_of_a_single_value_uses_what_it_has_seen() -> None:
    norm = ChannelNorm(3)
    norm(torch.randn(8, 3) + 5)
    torch.testing.assert_close(norm(torch.ones(1, 3)), norm.eval()(torch.ones(1, 3)))


class TestResampler:
    """Learned queries gather tokens."""

    def resampler(self) -> Resampler:
        adapter = joined((None, 4), (9, 8), {"name": "resampler", "heads": 2}, kind="tokens")
        assert isinstance(adapter, Resampler)
        return adapter

    def test_padding_changes_nothing(self) -> None:
        resampler, tokens = self.resampler(), torch.randn(2, 3, 4)
        padded = torch.cat([tokens, torch.full((2, 2, 4), 1e3)], dim=1)
        mask = torch.tensor([True, True, True, False, False]).expand(2, 5)
        torch.testing.assert_close(resampler(padded, mask), resampler(tokens))

    def test_a_row_of_nothing_is_finite(self) -> None:
        resampler, tokens = self.resampler(), torch.randn(1, 3, 4, requires_grad=True)
        gathered = resampler(tokens, torch.zeros(1, 3, dtype=torch.bool))
        gathered.sum().backward()
        assert gathered.isfinite().all() and tokens.grad is not None and tokens.grad.isfinite().all()

    def test_every_head_is_attention(self) -> None:
        resampler, tokens = self.resampler(), torch.randn(2, 3, 4)
        keys, held = resampler.key(tokens), resampler.value(tokens)
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            scores = resampler.queries[:, part] @ keys[..., part].transpose(1, 2) / 2
            heads.append(scores.softmax(-1) @ held[..., part])
        torch.testing.assert_close(resampler(tokens), resampler.project(torch.cat(heads, dim=-1)))


@pytest.mark.parametrize(
    ("student", "teacher", "adapter", "kind", "message"),
    [
        ((4,), (5, 7), "auto", "features", "no adapter joins them"),
        ((5, 4), (7, 5, 5), "linear", "features", "no adapter joins them"),
        ((4, 6), (7, 6, 6), "auto", "maps", "no adapter joins them"),
        ((None,), (7,), "auto", "features", "varies with the batch"),
        ((5, 4), (None, 7), "resampler", "tokens", "length of 'tap' varies"),
        ((5, 4), (9, 7), {"name": "resampler", "heads": 2}, "tokens", "2 heads do not divide"),
        ((4,), (7,), "resampler", "features", "is for tokens"),
        ((5, 4), (9, 7), "linear", "tokens", "channels, not lengths.*resampler"),
        ((5, 4), (5, 7), "conv_norm", "tokens", "holds tokens"),
        ((4, 6, 6), (4, 3, 3), "none", "maps", "Set `adapter` to auto"),
        ((4,), (7,), "liner", "features", "Did you mean 'linear'"),
    ],
)
def test_what_cannot_be_joined_is_an_error(student: Any, teacher: Any, adapter: Any, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        joined(student, teacher, adapter, kind)


def stages(student: int, teacher: int, entry: Entry = PLAIN) -> dict[str, list[nn.Module | None]]:
    shapes = [(4, 8, 8), (6, 4, 4), (8, 2, 2)]
    names = [f"image.stages.{number}" for number in range(3)]
    arguments = [
        Argument("student_stages", "student", tuple(names[:student]), several=True),
        Argument("teacher_stages", "teacher", tuple(names[:teacher]), several=True),
    ]
    sources = Sources(
        dict(zip(names, shapes, strict=True)), dict(zip(names, [(4, 8, 8), (9, 4, 4), (9, 2, 2)], strict=True)), ("a",)
    )
    return make_adapters(Component(name="auto"), arguments, sources, entry, seed=1)


def test_every_stage_has_its_own() -> None:
    first, second, third = stages(3, 3)["student_stages"]
    assert first is None and second is not None and third is not None
    weights: list[Tensor] = [one.project.weight for one in (second, third)]  # type: ignore[union-attr]
    assert [tuple(one.shape) for one in weights] == [(9, 6), (9, 8)]


def test_other_numbers_of_stages_have_to_be_named() -> None:
    with pytest.raises(InputError, match=r"gives 2 stages \(image.stages.0, image.stages.1\).*Name as many of both"):
        stages(2, 3)
