"""Vary texts on the device: leave tokens out and swap neighbours.

Special tokens of a loaded tokenizer (the start and end of a text, for example) stay where they are. The draws belong to
positions, so features of one column that split a text into the same tokens show the same view, whatever their length;
under tokenizers that split it differently, as much is left out but not the same words.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.data.augmentations.catalog import Augmentation, TextAugmentation
from mmdistill.data.augmentations.rows import active_rows, statistic, varied
from mmdistill.data.views import keys, uniform, uniform_from

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


def parameters(options: TextAugmentation, seed: int, rows: Tensor, views: Tensor) -> dict[str, Tensor]:
    """How each row varies.

    Args:
        options: what is on, and how far.
        seed: of the column.
        rows: int64 (B,).
        views: int64 (B,); 0 gives parameters that change nothing.

    Returns:
        tensors (B,): `active` bool; the chances `drop` and `swap` with the keys of their draws, `drop_key` and
        `swap_key`; `swap_first` int64, whether pairs start at even (0) or odd (1) positions.
    """
    on = varied(views)
    drawn = {"active": views != 0}
    if options.drop:
        drawn["drop"], drawn["drop_key"] = on * options.drop, keys(seed, rows, views, "text drop")
    if options.swap:
        drawn["swap"], drawn["swap_key"] = on * options.swap, keys(seed, rows, views, "text swap")
        drawn["swap_first"] = (uniform(seed, rows, views, "text pairs") < 0.5).to(torch.int64)
    return drawn


def apply(
    arrays: Mapping[str, Tensor], parameters: Mapping[str, Tensor], info: FeatureInfo, present: Tensor | None = None
) -> dict[str, Tensor]:
    """Carry the parameters out.

    Args:
        arrays: `values` int64 (B, T) and `mask` bool (B, T), True at tokens.
        parameters: of `parameters`.
        info: of the feature; its state holds `tokenizer` and `unknown_id`.
        present: bool (B,); rows without the text stay as they are.

    Returns:
        the arrays with new `values` and `mask` of the same shape. Tokens close up, padding follows them; a text keeps
        at least one of its tokens.
    """
    values, mask = arrays["values"], arrays["mask"]
    active = active_rows(parameters, present)
    if "swap" in parameters:
        values = _swapped(values, _movable(values, mask, info) & active[:, None], parameters)
    if "drop" in parameters:
        dropped = _dropped(_movable(values, mask, info) & active[:, None], parameters)
        values, mask = _closed_up(values, mask, mask & ~dropped, active)
    return {**arrays, "values": values, "mask": mask}


def _movable(values: Tensor, mask: Tensor, info: FeatureInfo) -> Tensor:
    """bool (B, T): tokens that are neither padding nor special."""
    special = _special_ids(info.state.get("tokenizer", ""), info.state.get("unknown_id"))
    if not special:
        return mask
    return mask & ~torch.isin(values, statistic(info, "special ids", values.device, special))


@functools.lru_cache(maxsize=64)
def _special_ids(tokenizer: str, unknown: int | None) -> tuple[int, ...]:
    """Ids of a tokenizer's special tokens but the one for unknown words, which stands for a word."""
    if not tokenizer:
        return ()
    added = json.loads(tokenizer).get("added_tokens") or ()
    return tuple(token["id"] for token in added if token.get("special") and token["id"] != unknown)


def _swapped(values: Tensor, movable: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Pairs of movable neighbours change places; no token is in two pairs."""
    length = values.shape[1]
    position = torch.arange(length, device=values.device)
    draws = uniform_from(parameters["swap_key"], (length,))
    first = (position % 2 == parameters["swap_first"][:, None]) & (draws < parameters["swap"][:, None]) & movable
    first[:, -1:] = False
    first[:, :-1] &= movable[:, 1:]
    source = position + first.to(torch.int64)
    source[:, 1:] -= first[:, :-1].to(torch.int64)
    return values.gather(1, source)


def _dropped(movable: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """bool (B, T): tokens to leave out. The largest draw goes only when all go, so sparing it keeps one token."""
    draws = uniform_from(parameters["drop_key"], (movable.shape[1],))
    dropped = movable & (draws < parameters["drop"][:, None])
    spared = torch.where(movable, draws, -1.0).argmax(dim=1, keepdim=True)
    return dropped.scatter_(1, spared, False)


def _closed_up(values: Tensor, mask: Tensor, kept: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Kept tokens in their order, then zeros, with which batches are padded; rows that are not active as they were."""
    length = values.shape[1]
    place = torch.where(kept, kept.cumsum(1) - 1, length)
    closed = values.new_zeros((len(values), length + 1)).scatter_(1, place, values)[:, :length]
    reached = torch.arange(length, device=values.device) < kept.sum(1, keepdim=True)
    return torch.where(active[:, None], closed, values), torch.where(active[:, None], reached, mask)


AUGMENTATION = Augmentation(parameters, apply)
