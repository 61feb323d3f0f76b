"""Convolutional recurrent audio encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmdistill.models.encoders.audio_cnn import FrameConvolutions
from mmdistill.models.encoders.audio_frames import AudioFrames
from mmdistill.models.encoders.catalog import AudioCrnnOptions
from mmdistill.models.encoders.encoded import Encoded
from mmdistill.models.layers.recurrent import Recurrent
from mmdistill.models.masking import masked_mean

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


class AudioCrnn(nn.Module):
    """Convolutions over time and frequency, then a GRU in both directions over the remaining frames.

    Args:
        info: an audio feature, log-mel or waveform.
        options: see `AudioCrnnOptions`.
    """

    def __init__(self, info: FeatureInfo, options: AudioCrnnOptions) -> None:
        super().__init__()
        self.frames = AudioFrames(info, options.filters)
        self.convolutions = FrameConvolutions(options.width, options.depth, self.frames.bands)
        inputs = self.convolutions.channels * self.convolutions.bands
        self.dropout = nn.Dropout(options.dropout)
        self.recurrent = Recurrent("gru", inputs, options.hidden, options.layers, True, options.dropout)
        self.dim = self.recurrent.dim

    def forward(self, arrays: Mapping[str, Tensor]) -> Encoded:
        """`values` and `mask` to an embedding (B, dim), tokens (B, T', dim), maps (B, C, T', bands') and stages."""
        stages, mask = self.convolutions(*self.frames(arrays))
        tokens = self.recurrent(self.dropout(stages[-1].transpose(1, 2).flatten(2)), mask)
        return Encoded(masked_mean(tokens, mask), tokens, mask, stages[-1], stages)
