"""Sound becomes a sequence of frames: a standardised log-mel, or learned filters over a waveform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.models.layers.standardise import Standardise, statistics
from mmdistill.models.masking import sequence_mask, where_true

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

DEFAULT_SAMPLE_RATE = 16_000


class LearnedFilters(nn.Module):
    """Filters of 25 ms every 10 ms, rectified, compressed by a logarithm and normalised: a log-mel that is learned.

    After the time-domain filterbanks of Zeghidour et al., "Learning Filterbanks from Raw Speech" (ICASSP 2018).

    Args:
        sample_rate: samples a second.
        filters: how many filters.
    """

    def __init__(self, sample_rate: int, filters: int) -> None:
        super().__init__()
        self.stride = max(1, round(0.010 * sample_rate))
        self.window = max(2, round(0.025 * sample_rate))
        self.filters = nn.Conv1d(1, filters, self.window, self.stride, bias=False)
        self.norm = nn.LayerNorm(filters)

    def forward(self, wave: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, T), zero where masked, to frames (B, ceil(T / stride), filters) and their mask."""
        responses = self.filters(F.pad(wave, (0, self.window - 1)).unsqueeze(1))
        frames = self.norm(torch.log1p(responses.abs()).transpose(1, 2))
        return frames, every_nth(mask, self.stride, frames.shape[1])


class AudioFrames(nn.Module):
    """An audio feature's arrays to frames (B, T, bands), zero at masked frames, and their mask (B, T).

    Args:
        info: an audio feature, log-mel (T, M) or waveform (T,); `state` holds `mean` and `std`, `settings` the
            `sample_rate`.
        filters: learned filters of a waveform; not used with a log-mel.
    """

    def __init__(self, info: FeatureInfo, filters: int) -> None:
        super().__init__()
        shape = info.arrays["values"].shape
        self.standardise = Standardise(*statistics(info.state))
        self.bands = shape[0] if shape else filters
        rate = info.settings.get("sample_rate") or DEFAULT_SAMPLE_RATE
        self.learned = None if shape else LearnedFilters(rate, filters)

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`values` (B, T, M) or (B, T) and `mask` (B, T) to frames and mask."""
        mask = sequence_mask(arrays)
        values = where_true(mask, self.standardise(arrays["values"]))
        if self.learned is None:
            return values, mask
        frames, mask = self.learned(values, mask)
        return where_true(mask, frames), mask


def every_nth(mask: Tensor, step: int, count: int) -> Tensor:
    """Positions 0, step, 2·step… of a mask (B, T), `count` of them: what a convolution of that stride is centred on.

    The count is the convolution's own, so that torch.export sees one length rather than two formulas for it.
    """
    return mask.index_select(1, step * torch.arange(count, device=mask.device))
