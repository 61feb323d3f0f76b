"""Vary sounds on the device. The same parameters mean the same on a waveform and on log-mel energies.

What enters a moved or masked sound is silence: zero in a waveform, and in log-mel energies the quietest value of the
sound itself, which recordings of any level and any floor of the logarithm have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.data.augmentations.catalog import AudioAugmentation, Augmentation
from mmdistill.data.augmentations.rows import active_rows, statistic, varied
from mmdistill.data.broadcast import spread
from mmdistill.data.views import keys, normal_from, uniform, uniform_from

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

# Bands are fractions of the mel scale up to this frequency, whatever the sample rate, so that features of different
# rates show the same band.
_TOP_FREQUENCY = 8000.0
_PRE_EMPHASIS = 0.97  # Kaldi's default, which the log-mel frames have


def parameters(options: AudioAugmentation, seed: int, rows: Tensor, views: Tensor) -> dict[str, Tensor]:
    """How each row varies.

    Args:
        options: what is on, and how far.
        seed: of the column.
        rows: int64 (B,).
        views: int64 (B,); 0 gives parameters that change nothing.

    Returns:
        tensors (B,): `active` bool; `gain` in decibels; `shift`, fraction of the length, later when positive;
        `noise`, level relative to the sound's own (a ratio of amplitudes) with `noise_key`; `time_start`,
        `time_width` of a silenced stretch, fractions of the length; `band_start`, `band_width` of a silenced band,
        fractions of the mel scale up to 8 kHz.
    """
    on = varied(views)
    draw = uniform(seed, rows, views, "audio", (7,)).unbind(-1)
    drawn = {"active": views != 0}
    if options.gain:
        drawn["gain"] = (draw[0] * 2 - 1) * (on * options.gain)
    if options.shift:
        drawn["shift"] = (draw[1] * 2 - 1) * (on * options.shift)
    if options.noise:
        drawn["noise"], drawn["noise_key"] = draw[2] * (on * options.noise), keys(seed, rows, views, "audio noise")
    if options.time_mask:
        drawn["time_width"] = draw[3] * (on * options.time_mask)
        drawn["time_start"] = draw[4] * (1 - drawn["time_width"])
    if options.frequency_mask:
        drawn["band_width"] = draw[5] * (on * options.frequency_mask)
        drawn["band_start"] = draw[6] * (1 - drawn["band_width"])
    return drawn


def apply(
    arrays: Mapping[str, Tensor], parameters: Mapping[str, Tensor], info: FeatureInfo, present: Tensor | None = None
) -> dict[str, Tensor]:
    """Carry the parameters out.

    Args:
        arrays: `values` float (B, T) waveform or (B, T, M) natural logarithms of mel energies, and `mask` bool (B, T).
        parameters: of `parameters`.
        info: of the feature; its settings hold the sample rate and the edges of the mel bands.
        present: bool (B,); rows without the sound stay as they are.

    Returns:
        the arrays with new `values`; lengths and padding stay.
    """
    before, mask = arrays["values"], arrays["mask"]
    values, lengths = before, mask.sum(1)
    waveform = before.dim() == 2
    silence = torch.zeros_like(lengths, dtype=before.dtype) if waveform else _quietest(before, mask)
    if "shift" in parameters:
        values = _shifted(values, parameters["shift"], lengths, silence)
    if "noise" in parameters:
        add = _noisy_waveform if waveform else _noisy_log_mel
        values = add(values, mask, lengths, parameters, info)
    if "gain" in parameters:
        gain = spread(parameters["gain"], values)
        # An amplitude ratio is 10^(dB/20) and an energy ratio 10^(dB/10), which adds to a logarithm.
        values = values * torch.pow(10.0, gain / 20) if waveform else values + gain * (math.log(10) / 10)
        silence = silence if waveform else silence + parameters["gain"] * (math.log(10) / 10)
    if "band_start" in parameters:
        if waveform:
            values = _without_band(values, parameters, info)
        else:
            band = _in_band(_band_places(info, values.shape[2], values.device), parameters)
            values = torch.where(band[:, None, :], spread(silence, values), values)
    if "time_start" in parameters:
        place = (torch.arange(values.shape[1], device=values.device) + 0.5) / lengths.clamp(min=1)[:, None]
        start = parameters["time_start"][:, None]
        stretch = (place >= start) & (place < start + parameters["time_width"][:, None])
        values = torch.where(spread(stretch, values), spread(silence, values), values)
    if values is before:
        return dict(arrays)
    touched = mask & active_rows(parameters, present)[:, None]
    return {**arrays, "values": torch.where(spread(touched, values), values, before)}


def _quietest(values: Tensor, mask: Tensor) -> Tensor:
    """The smallest log energy of each sound, (B,); 0 for an empty one."""
    smallest = values.masked_fill(~mask[:, :, None], math.inf).flatten(1).amin(1)
    return torch.where(mask.any(1), smallest, 0.0)


def _shifted(values: Tensor, shift: Tensor, lengths: Tensor, silence: Tensor) -> Tensor:
    """Moved later by `shift` of the length; silence enters."""
    steps = (shift * lengths).round().to(torch.int64)
    source = torch.arange(values.shape[1], device=values.device) - steps[:, None]
    inside = (source >= 0) & (source < lengths[:, None])
    index = spread(source.clamp(0, values.shape[1] - 1), values).expand_as(values)
    return torch.where(spread(inside, values), values.gather(1, index), spread(silence, values))


def _noisy_waveform(
    values: Tensor,
    mask: Tensor,
    lengths: Tensor,
    parameters: Mapping[str, Tensor],
    info: FeatureInfo,  # noqa: ARG001
) -> Tensor:
    """White Gaussian noise at `noise` times the root mean square of the sound."""
    power = (values.square() * mask).sum(1) / lengths.clamp(min=1)
    noise = normal_from(parameters["noise_key"], values.shape[1:])
    return values + noise * (power.sqrt() * parameters["noise"])[:, None]


def _noisy_log_mel(
    values: Tensor, mask: Tensor, lengths: Tensor, parameters: Mapping[str, Tensor], info: FeatureInfo
) -> Tensor:
    """The mel energies of the sound plus those that white noise at that level has.

    White noise gives a band energy in proportion to the band's width in hertz; a periodogram of noise is exponentially
    distributed around its mean, and so is each energy here. The level is that of the sound before pre-emphasis, as it
    is for a waveform.
    """
    device, bins, rate = values.device, values.shape[2], info.settings["sample_rate"]
    emphasis = statistic(info, "pre-emphasis of bands", device, lambda: _emphasis(_centres(info, bins), rate))
    share = statistic(info, "shares of white noise", device, lambda: _shares(_centres(info, bins)))
    frames = (values.exp() / emphasis).sum(2) * mask
    energy = frames.sum(1) / lengths.clamp(min=1) * parameters["noise"].square()
    draws = uniform_from(parameters["noise_key"], values.shape[1:])
    noise = spread(energy, values) * (share * emphasis) * -torch.log1p(-draws)
    return torch.logaddexp(values, noise.log())


def _without_band(values: Tensor, parameters: Mapping[str, Tensor], info: FeatureInfo) -> Tensor:
    """The waveform without the frequencies of the band."""
    length = values.shape[1]
    frequencies = torch.fft.rfftfreq(length, 1.0 / info.settings["sample_rate"], device=values.device)
    band = _in_band(1127.0 * torch.log1p(frequencies / 700.0) / _mel(_TOP_FREQUENCY), parameters)
    spectrum = torch.fft.rfft(values.to(torch.float32))
    return torch.fft.irfft(spectrum.masked_fill(band, 0.0), n=length).to(values.dtype)


def _in_band(place: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """bool (B, N): which of N places on the mel scale, as fractions up to 8 kHz, lie in each row's band."""
    start = parameters["band_start"][:, None]
    return (place >= start) & (place < start + parameters["band_width"][:, None])


def _band_places(info: FeatureInfo, bins: int, device: torch.device) -> Tensor:
    """Centres of the mel bands as fractions of the mel scale up to 8 kHz, (M,)."""
    top = _mel(_TOP_FREQUENCY)
    return statistic(info, "places of bands", device, lambda: [centre / top for centre in _centres(info, bins)])


def _mel(frequency: float) -> float:
    return 1127.0 * math.log1p(frequency / 700.0)


def _centres(info: FeatureInfo, bins: int) -> list[float]:
    """Centres of the mel bands, in mels: equally spaced between the edges."""
    settings = info.settings
    low, high = _mel(settings["low_frequency"]), _mel(settings["high_frequency"] or settings["sample_rate"] / 2)
    return [low + (high - low) * (index + 1) / (bins + 1) for index in range(bins)]


def _emphasis(centres: list[float], rate: float) -> list[float]:
    """What Kaldi's pre-emphasis, y[t] = x[t] - 0.97·x[t - 1], makes of the energy at each centre."""
    turns = (2 * math.pi * 700.0 * math.expm1(centre / 1127.0) / rate for centre in centres)
    return [1 + _PRE_EMPHASIS**2 - 2 * _PRE_EMPHASIS * math.cos(turn) for turn in turns]


def _shares(centres: list[float]) -> list[float]:
    """Widths of the bands in hertz as shares of their sum; the width follows d(hertz)/d(mel) ∝ exp(mel/1127)."""
    widths = [math.exp(centre / 1127.0) for centre in centres]
    return [width / sum(widths) for width in widths]


AUGMENTATION = Augmentation(parameters, apply)
