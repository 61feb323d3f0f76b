"""Vary images on the device: geometry by one resampling of the batch, then colours, an erased box and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mmdistill.data.augmentations.catalog import Augmentation, ImageAugmentation
from mmdistill.data.augmentations.rows import active_rows, varied
from mmdistill.data.broadcast import spread
from mmdistill.data.views import keys, normal_from, uniform

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
_GEOMETRY = ("crop_side", "shift_x", "rotation")
_COLOUR = ("brightness", "contrast", "saturation")


def parameters(options: ImageAugmentation, seed: int, rows: Tensor, views: Tensor) -> dict[str, Tensor]:
    """How each row varies.

    Args:
        options: what is on, and how far.
        seed: of the column.
        rows: int64 (B,).
        views: int64 (B,); 0 gives parameters that change nothing.

    Returns:
        tensors (B,): `active` bool; `crop_side` (of the side) with `crop_x` and `crop_y`, its centre from -1 to 1 of
        where it can lie; `shift_x`, `shift_y` (of the side, to the right and down); `rotation` (radians,
        counter-clockwise); `flip` bool; the factors `brightness`, `contrast`, `saturation`; `erase_height`,
        `erase_width` (of the side) with `erase_y`, `erase_x`, the corner; `noise` (of the value range) with
        `noise_key`.
    """
    on = varied(views)
    draw = uniform(seed, rows, views, "image", (14,)).unbind(-1)

    def either_way(index: int, amount: float) -> Tensor:
        return (draw[index] * 2 - 1) * (on * amount)

    drawn = {"active": views != 0}
    if options.crop:
        drawn["crop_side"] = 1 - draw[0] * (on * (1 - options.crop))
        drawn["crop_x"], drawn["crop_y"] = either_way(1, 1.0), either_way(2, 1.0)
    if options.flip:
        drawn["flip"] = (draw[3] < 0.5) & drawn["active"]
    if options.shift:
        drawn["shift_x"], drawn["shift_y"] = either_way(4, options.shift), either_way(5, options.shift)
    if options.rotation:
        drawn["rotation"] = either_way(6, math.radians(options.rotation))
    for index, name in enumerate(_COLOUR, start=7):
        amount = getattr(options, name)
        if amount:
            drawn[name] = 1 + either_way(index, amount)
    if options.erase:
        side = on * options.erase
        drawn["erase_height"], drawn["erase_width"] = draw[10] * side, draw[11] * side
        drawn["erase_y"] = draw[12] * (1 - drawn["erase_height"])
        drawn["erase_x"] = draw[13] * (1 - drawn["erase_width"])
    if options.noise:
        drawn["noise"], drawn["noise_key"] = on * options.noise, keys(seed, rows, views, "image noise")
    return drawn


def apply(
    arrays: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    info: FeatureInfo,  # noqa: ARG001 - a seam of all modalities
    present: Tensor | None = None,
) -> dict[str, Tensor]:
    """Carry the parameters out.

    Args:
        arrays: `values` (B, C, H, W), uint8 or float, 0 to 255.
        parameters: of `parameters`.
        info: of the feature; any size shows the same.
        present: bool (B,); rows without the image stay as they are.

    Returns:
        the arrays with new `values`: float32, 0 to 255; of the type they had when only `flip` or nothing is on.
    """
    before = arrays["values"]
    values = before
    if any(name in parameters for name in _GEOMETRY):
        values = _resampled(values.to(torch.float32), parameters)
    elif "flip" in parameters:
        values = torch.where(spread(parameters["flip"], values), values.flip(-1), values)
    if any(name in parameters for name in _COLOUR):
        values = _recoloured(values.to(torch.float32), parameters)
    if "erase_height" in parameters:
        values = _erased(values.to(torch.float32), parameters)
    if "noise" in parameters:
        values = values.to(torch.float32)
        noise = normal_from(parameters["noise_key"], values.shape[1:])
        values = torch.addcmul(values, noise, spread(parameters["noise"] * 255.0, values)).clamp_(0.0, 255.0)
    if values is not before:
        values = _where(active_rows(parameters, present), values, before)
    return {**arrays, "values": values}


def _where(active: Tensor, values: Tensor, before: Tensor) -> Tensor:
    """`values` of active rows and, to the bit, `before` of others, where resampling would leave rounding errors.

    `lerp` gives its ends exactly at weights of 0 and 1, and in a fraction of the time of `where`.
    """
    if not values.is_floating_point():
        return torch.where(spread(active, values), values, before)
    return torch.lerp(before.to(values.dtype), values, spread(active.to(values.dtype), values))


def _resampled(values: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Crop, rotate, shift and flip by one bilinear resampling; the border is continued outside."""
    height, width = values.shape[-2:]
    grid = _grid(_affine(parameters, height / width), height, width)
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _grid(affine: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W, 2): where each pixel of the result lies in the image; `affine_grid` in a third of its time."""
    x = (torch.arange(width, device=affine.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=affine.device) * 2 + 1) / height - 1
    rows = torch.addcmul(affine[:, :, 2, None], affine[:, :, 1, None], y)
    places = rows[:, :, :, None] + (affine[:, :, 0, None] * x)[:, :, None, :]
    # A complex tensor holds its two parts side by side, as the grid wants them; stacking would write one by one.
    return torch.view_as_real(torch.complex(places[:, 0], places[:, 1]))


def _affine(parameters: Mapping[str, Tensor], aspect: float) -> Tensor:
    """(B, 2, 3): from a place in the result to a place in the image, both from -1 to 1 along each side.

    A place is mirrored, moved, turned about the centre, then scaled into the crop. `aspect` (height over width) makes
    the turn one of pixels rather than of fractions of the sides.
    """
    one = torch.ones_like(parameters["active"], dtype=torch.float32)
    mirror = one if "flip" not in parameters else 1 - 2 * parameters["flip"].to(torch.float32)
    angle = parameters.get("rotation", torch.zeros_like(one))
    side = parameters.get("crop_side", one)
    cosine, sine = side * angle.cos(), side * angle.sin()
    xx, xy, yx, yy = cosine, -sine * aspect, sine / aspect, cosine
    move_x = move_y = torch.zeros_like(one)
    if "shift_x" in parameters:
        left, up = -2 * parameters["shift_x"], -2 * parameters["shift_y"]
        move_x, move_y = xx * left + xy * up, yx * left + yy * up
    if "crop_side" in parameters:
        room = 1 - side
        move_x, move_y = move_x + room * parameters["crop_x"], move_y + room * parameters["crop_y"]
    return torch.stack((xx * mirror, xy, move_x, yx * mirror, yy, move_y), dim=-1).view(-1, 2, 3)


def _recoloured(values: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Brightness and contrast on all channels, saturation on three."""
    colour = values.shape[1] == 3
    if colour and "saturation" in parameters:
        values = torch.lerp(_grey(values), values, spread(parameters["saturation"], values))
    if "contrast" in parameters:
        mean = (_grey(values) if colour else values).mean(dim=(1, 2, 3), keepdim=True)
        values = torch.lerp(mean, values, spread(parameters["contrast"], values))
    if "brightness" in parameters:
        values = values * spread(parameters["brightness"], values)
    return values.clamp(0.0, 255.0)


def _grey(values: Tensor) -> Tensor:
    """(B, 1, H, W) of (B, 3, H, W)."""
    red, green, blue = values.split(1, dim=1)
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue


def _erased(values: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """A box filled with the image's mean (random erasing: Zhong et al., 2020)."""
    rows, columns = (
        _between(parameters[f"erase_{start}"], parameters[f"erase_{extent}"], values.shape[axis])
        for start, extent, axis in (("y", "height", -2), ("x", "width", -1))
    )
    box = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(box, values.mean(dim=(-2, -1), keepdim=True), values)


def _between(start: Tensor, extent: Tensor, count: int) -> Tensor:
    """bool (B, count): pixels whose centre lies from `start` to `start` + `extent`, fractions of the side."""
    centre = (torch.arange(count, device=start.device) + 0.5) / count
    return (centre >= start[:, None]) & (centre < (start + extent)[:, None])


AUGMENTATION = Augmentation(parameters, apply)
