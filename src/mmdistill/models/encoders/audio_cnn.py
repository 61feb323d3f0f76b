"""Convolutional audio encoder: the `tiny_cnn` and `cnn` of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.models.encoders.audio_frames import AudioFrames, every_nth
from mmdistill.models.encoders.catalog import AudioCnnOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.layers.norms import FrameNorm
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class FrameConvolutions(nn.Module):
    """3x3 convolutions over time and frequency, twice as wide each, that padding cannot reach into.

    Each halves time, and frequency as long as there are more than two bands.

    Frames beyond a row's end are set to zero after every layer, which is what a convolution finds beyond the end of
    an unpadded row, and each frame is normalised alone.

    Args:
        width: channels of the first layer.
        depth: layers.
        bands: frequency bands of the input.
    """

    def __init__(self, width: int, depth: int, bands: int) -> None:
        super().__init__()
        self.channels, self.bands = 1, bands
        convolutions: list[nn.Module] = []
        for stage in range(depth):
            outputs = width * 2**stage
            # Two bands are few enough; and oneDNN's bfloat16 kernel returns garbage for some maps that go from 2 to 1.
            stride = 2 if self.bands > 2 else 1
            convolutions.append(nn.Conv2d(self.channels, outputs, 3, (2, stride), 1, bias=False))
            self.channels, self.bands = outputs, -(-self.bands // stride)
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(FrameNorm(width * 2**stage) for stage in range(depth))
        self.to(memory_format=torch.channels_last)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Frames (B, T, bands) to the maps of each layer and the mask of the last one's frames.

        The last maps are (B, channels, ceil(T / 2^depth), bands').
        """
        stages = []
        maps = frames.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = convolution(maps)
            mask = every_nth(mask, 2, maps.shape[2])
            maps = F.relu(norm(maps)) * mask[:, None, :, None]
            stages.append(maps)
        return tuple(stages), mask


class AudioCnn(nn.Module):
    """Convolutions over time and frequency, a projection of each remaining frame, and the mean over time.

    Frequency is kept until the projection, since where a formant lies is what tells sounds apart.

    Args:
        info: an audio feature, log-mel or waveform.
        options: see `AudioCnnOptions`.
    """

    def __init__(self, info: FeatureInfo, options: AudioCnnOptions) -> None:
        super().__init__()
        self.dim = options.dim
        self.frames = AudioFrames(info, options.filters)
        self.convolutions = FrameConvolutions(options.width, options.depth, self.frames.bands)
        self.project = nn.Linear(self.convolutions.channels * self.convolutions.bands, options.dim)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` and `mask` to an embedding (B, dim), tokens (B, T', dim), maps (B, C, T', bands') and stages."""
        stages, mask = self.convolutions(*self.frames(arrays))
        tokens = F.relu(self.project(self.dropout(stages[-1].transpose(1, 2).flatten(2))))
        return Encoded(masked_mean(tokens, mask), tokens, mask, stages[-1], stages)
