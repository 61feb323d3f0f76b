"""Images: each operation does what it says, and a view is the same at every size."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmdistill.data.augmentations.catalog import ImageAugmentation
from mmdistill.data.augmentations.image import apply, parameters
from tests.data_batches.stand_in import image_info

ROWS = torch.arange(64)
ONE = torch.ones_like(ROWS)


def given(count: int, **values: float | bool) -> dict[str, Tensor]:
    """Parameters set by hand, the same for each row."""
    return {"active": torch.ones(count, dtype=torch.bool)} | {
        name: torch.full((count,), value) for name, value in values.items()
    }


def changed(values: Tensor, **by_hand: float | bool) -> Tensor:
    return apply({"values": values}, given(len(values), **by_hand), image_info())["values"]


def dot(row: int, column: int, size: tuple[int, int] = (9, 9)) -> Tensor:
    values = torch.zeros(1, 1, *size)
    values[..., row, column] = 200.0
    return values


def place(values: Tensor) -> tuple[int, int]:
    flat = int(values.flatten().argmax())
    return flat // values.shape[-1], flat % values.shape[-1]


def test_a_shift_moves_right_and_down_by_a_fraction_of_the_side() -> None:
    moved = changed(dot(4, 4), shift_x=2 / 9, shift_y=-1 / 9)
    assert place(moved) == (3, 6)
    assert moved.max() == pytest.approx(200, abs=1e-2)


def test_a_turn_is_counter_clockwise_and_of_pixels_whatever_the_proportions() -> None:
    assert place(changed(dot(4, 7), rotation=math.pi / 2)) == (1, 4)
    wide = changed(dot(4, 9, (9, 15)), rotation=math.pi / 2)
    assert place(wide) == (2, 7)
    assert wide.max() == pytest.approx(200, abs=1e-2)


def test_a_crop_enlarges_a_part() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    right = changed(ramp, crop_side=0.5, crop_x=1.0, crop_y=0.0)
    torch.testing.assert_close(right[0, 0, 0], torch.tensor([3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.0]))


def test_a_flip_mirrors_and_alone_keeps_bytes() -> None:
    values = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    assert torch.equal(changed(values, flip=True), values.flip(-1))
    both = changed(values, flip=True, shift_x=0.0, shift_y=0.0)
    torch.testing.assert_close(both, values.flip(-1).float(), atol=1e-4, rtol=0)


def test_outside_the_border_is_continued() -> None:
    assert changed(torch.full((1, 3, 8, 8), 255.0), shift_x=0.5, shift_y=0.5).min() == pytest.approx(255.0)


def test_colours_change_as_their_factors_say() -> None:
    values = torch.tensor([[10.0, 30.0], [50.0, 70.0]]).view(1, 1, 2, 2)
    assert changed(values, brightness=2.0).flatten().tolist() == [20, 60, 100, 140]
    assert changed(values, contrast=0.5).flatten().tolist() == [25, 35, 45, 55]
    assert torch.equal(changed(values, saturation=0.0), values)  # grey has none
    colour = torch.tensor([200.0, 100.0, 0.0]).view(1, 3, 1, 1)
    grey = 0.299 * 200 + 0.587 * 100
    torch.testing.assert_close(changed(colour, saturation=0.0).flatten(), torch.full((3,), grey))
    assert changed(values, brightness=10.0).max() == 255


def test_an_erased_box_holds_the_mean_of_each_channel() -> None:
    values = torch.arange(200.0).view(1, 2, 10, 10)
    erased = changed(values, erase_height=0.3, erase_width=0.2, erase_y=0.5, erase_x=0.0)
    box = torch.zeros(10, 10, dtype=torch.bool)
    box[5:8, 0:2] = True
    assert torch.equal(erased[0, :, ~box], values[0, :, ~box])
    assert erased[0, 0, box].unique().tolist() == [49.5]
    assert erased[0, 1, box].unique().tolist() == [149.5]


def test_noise_has_the_deviation_that_was_asked_for_and_stays_in_range() -> None:
    drawn = parameters(ImageAugmentation(noise=0.05), 0, ROWS, ONE)
    values = torch.full((64, 3, 16, 16), 128, dtype=torch.uint8)
    noisy = apply({"values": values}, drawn, image_info())["values"]
    assert noisy.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.3)
    black = apply({"values": torch.zeros_like(values)}, drawn, image_info())["values"]
    assert black.min() == 0


def test_parameters_lie_in_their_ranges_and_reach_them() -> None:
    rows = torch.arange(5000)
    options = ImageAugmentation(crop=0.8, flip=True, shift=0.1, rotation=30, brightness=0.2, erase=0.4)
    drawn = parameters(options, 0, rows, torch.ones_like(rows))
    ranges = {
        "crop_side": (0.8, 1),
        "crop_x": (-1, 1),
        "crop_y": (-1, 1),
        "shift_x": (-0.1, 0.1),
        "shift_y": (-0.1, 0.1),
        "rotation": (-math.pi / 6, math.pi / 6),
        "brightness": (0.8, 1.2),
        "erase_height": (0, 0.4),
        "erase_width": (0, 0.4),
        "erase_y": (0, 1),
        "erase_x": (0, 1),
    }
    for name, (low, high) in ranges.items():
        room = 0.02 * (high - low)
        assert low - 1e-6 <= drawn[name].min() < low + room
        assert high - room < drawn[name].max() <= high + 1e-6
    assert (drawn["erase_y"] + drawn["erase_height"]).max() <= 1 + 1e-6
    assert 0.45 < drawn["flip"].float().mean() < 0.55
    pairs = torch.corrcoef(
        torch.stack([drawn[name] for name in ("crop_side", "crop_x", "shift_x", "shift_y", "rotation")])
    )
    assert (pairs - torch.eye(5)).abs().max() < 0.06


def test_the_parameters_of_view_0_change_nothing() -> None:
    options = ImageAugmentation(crop=0.5, flip=True, shift=0.1, rotation=9, brightness=0.2, erase=0.4, noise=0.1)
    drawn = parameters(options, 0, ROWS, torch.zeros_like(ROWS))
    assert not drawn["active"].any()
    neutral = {
        "crop_side": 1,
        "flip": 0,
        "shift_x": 0,
        "shift_y": 0,
        "rotation": 0,
        "brightness": 1,
        "erase_height": 0,
        "noise": 0,
    }
    for name, value in neutral.items():
        assert (drawn[name] == value).all(), name


def test_a_view_shows_the_same_at_28_and_at_56_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 1, 7, 7, generator=generator) * 255
    small, large = (functional.interpolate(coarse, size=(size, size), mode="bilinear") for size in (28, 56))
    options = ImageAugmentation(crop=0.7, flip=True, shift=0.15, rotation=15, brightness=0.2, contrast=0.3)
    drawn = parameters(options, 0, ROWS, ONE)
    seen_small = apply({"values": small}, drawn, image_info(size=(28, 28)))["values"]
    seen_large = apply({"values": large}, drawn, image_info(size=(56, 56)))["values"]
    difference = (functional.avg_pool2d(seen_large, 2) - seen_small).abs()
    assert difference.mean() < 1.5
    # The view is not the clean image: the same comparison without it is far off.
    assert (functional.avg_pool2d(large, 2) - seen_small).abs().mean() > 20


def test_an_erased_box_lies_at_the_same_place_at_both_sizes() -> None:
    drawn = parameters(ImageAugmentation(erase=0.6), 0, ROWS, ONE)
    ramp = torch.linspace(0, 255, 56).expand(64, 1, 56, 56)
    boxes = []
    for size in (28, 56):
        values = functional.interpolate(ramp, size=(size, size), mode="area")
        boxes.append(apply({"values": values}, drawn, image_info(size=(size, size)))["values"] != values)
    pooled = functional.avg_pool2d(boxes[1].float(), 2)
    assert (pooled - boxes[0].float()).abs().mean() < 0.03
    assert boxes[0].float().mean() > 0.03
