"""Sounds: each operation does what it says, and means the same on a waveform and on log-mel energies."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mmdistill.data.augmentations.audio import apply, parameters
from mmdistill.data.augmentations.catalog import AudioAugmentation
from mmdistill.data.modalities import sound
from tests.data_batches.stand_in import log_mel_info, waveform_info

RATE, BINS = 16_000, 40
ROWS = torch.arange(32)
ONE = torch.ones_like(ROWS)
MEL = sound.mel_options(RATE, BINS, 25.0, 10.0, 20.0, None)


def by_hand(count: int, **values: float) -> dict[str, Tensor]:
    """Parameters set by hand, the same for each row, with noise that differs."""
    drawn = {"active": torch.ones(count, dtype=torch.bool), "noise_key": torch.arange(count)}
    return drawn | {name: torch.full((count,), value) for name, value in values.items()}


def waveform(values: Tensor, lengths: Tensor | None = None, **amounts: float) -> Tensor:
    lengths = torch.full((len(values),), values.shape[1]) if lengths is None else lengths
    mask = torch.arange(values.shape[1]) < lengths[:, None]
    return apply({"values": values, "mask": mask}, by_hand(len(values), **amounts), waveform_info())["values"]


def log_mel(values: Tensor, lengths: Tensor | None = None, **amounts: float) -> Tensor:
    lengths = torch.full((len(values),), values.shape[1]) if lengths is None else lengths
    mask = torch.arange(values.shape[1]) < lengths[:, None]
    return apply({"values": values, "mask": mask}, by_hand(len(values), **amounts), log_mel_info(bins=BINS))["values"]


def frames(values: Tensor) -> Tensor:
    """The log-mel frames that the audio modality makes of a batch of waveforms."""
    return torch.from_numpy(np.stack([sound.log_mel(row.numpy(), MEL) for row in values]))


def speech(count: int = 4, seconds: float = 1.0) -> Tensor:
    """Something like a voice: harmonics of a gliding pitch under a slow envelope, over a quiet hiss."""
    time = torch.arange(int(RATE * seconds)) / RATE
    generator = torch.Generator().manual_seed(0)
    rows = []
    for row in range(count):
        pitch = 110 + 30 * row + 40 * time
        phase = 2 * math.pi * torch.cumsum(pitch / RATE, 0)
        voice = sum(torch.sin(phase * harmonic) / harmonic**1.2 for harmonic in range(1, 40))
        rows.append(0.1 * voice * (0.6 + 0.4 * torch.sin(2 * math.pi * 3 * time)))
    return torch.stack(rows) + 1e-4 * torch.randn(count, len(time), generator=generator)


def test_gain_is_in_decibels_and_the_same_in_both() -> None:
    voice = speech()
    louder = waveform(voice, gain=6.0)
    torch.testing.assert_close(louder, voice * 10 ** (6 / 20))
    torch.testing.assert_close(frames(louder), log_mel(frames(voice), gain=6.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shift", [0.25, -0.4])
def test_a_shift_moves_the_sound_and_silence_enters(shift: float) -> None:
    values = torch.arange(1.0, 11.0).view(1, 10)
    lengths = torch.tensor([8])
    moved = waveform(values * (torch.arange(10) < 8), lengths, shift=shift)[0].tolist()
    expected = {0.25: [0, 0, 1, 2, 3, 4, 5, 6, 0, 0], -0.4: [4, 5, 6, 7, 8, 0, 0, 0, 0, 0]}[shift]
    assert moved == expected
    energies = torch.arange(1.0, 11.0).view(1, 10, 1).expand(1, 10, BINS)
    moved = log_mel(energies * (torch.arange(10) < 8)[:, None], lengths, shift=shift)[0, :8, 0].tolist()
    assert moved == [value or 1.0 for value in expected[:8]]  # 1 is the quietest value


def test_a_shift_is_the_same_in_both() -> None:
    voice = speech(seconds=2.0)
    first, second = frames(waveform(voice, shift=0.25)), log_mel(frames(voice), shift=0.25)
    inside = slice(56, 195)  # of 198 frames, those that no edge touches
    difference = (first[:, inside] - second[:, inside]).abs().mean()
    assert difference < 0.35
    assert difference < 0.3 * (first[:, inside] - frames(voice)[:, inside]).abs().mean()


@pytest.mark.parametrize("level", [0.1, 1.0])
def test_noise_has_its_level_relative_to_the_sound(level: float) -> None:
    voice, lengths = speech(), torch.tensor([16_000, 12_000, 9_000, 5_000])
    mask = torch.arange(16_000) < lengths[:, None]
    noise = waveform(voice * mask, lengths, noise=level) - voice * mask
    root_mean_square = ((noise**2).sum(1) / lengths).sqrt() / (((voice * mask) ** 2).sum(1) / lengths).sqrt()
    torch.testing.assert_close(root_mean_square, torch.full((4,), level), rtol=0.05, atol=0)


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_noise_is_the_same_in_both_within_half_a_decibel(level: float) -> None:
    voice = speech(seconds=2.0)
    first, second = frames(waveform(voice, noise=level)), log_mel(frames(voice), noise=level)
    energies = [10 * values.exp().mean(1).log10() for values in (first, second)]
    assert (energies[0] - energies[1]).abs().mean() < 0.5
    # It does matter: without noise the same comparison is far off.
    assert (energies[0] - 10 * frames(voice).exp().mean(1).log10()).abs().mean() > 3


def test_a_stretch_of_time_is_silenced_in_both() -> None:
    voice = speech(seconds=2.0)
    masked = waveform(voice, time_start=0.25, time_width=0.5)
    assert not masked[:, 8_000:24_000].any()
    assert torch.equal(masked[:, :8_000], voice[:, :8_000])
    assert torch.equal(masked[:, 24_000:], voice[:, 24_000:])
    energies = frames(voice)
    masked = log_mel(energies, time_start=0.25, time_width=0.5)
    silent = masked == energies.flatten(1).amin(1)[:, None, None]
    assert silent[:, 50:148].all()
    assert torch.equal(masked[:, :49], energies[:, :49])
    quiet = frames(waveform(voice, time_start=0.25, time_width=0.5))[:, 52:146]
    assert (quiet <= energies.flatten(1).amin(1)[:, None, None]).all()


def test_a_stretch_is_a_fraction_of_the_sound_not_of_its_padding() -> None:
    lengths = torch.tensor([4, 8])
    masked = waveform(torch.ones(2, 8) * (torch.arange(8) < lengths[:, None]), lengths, time_start=0.5, time_width=0.5)
    assert masked.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]


def test_a_band_is_silenced_in_both_at_the_same_frequencies() -> None:
    hiss = 0.1 * torch.randn(2, RATE, generator=torch.Generator().manual_seed(0))
    band = {"band_start": 0.5, "band_width": 0.2}  # 1,420 to 1,988 mel: 1,769 to 3,384 Hz
    power = torch.fft.rfft(waveform(hiss, **band)).abs() ** 2
    assert power[:, 1_800:3_350].mean() < 1e-3 * power[:, 3_500:].mean()
    assert power[:, :1_700].mean() > 0.5 * (torch.fft.rfft(hiss).abs() ** 2)[:, :1_700].mean()
    energies = frames(hiss)
    lost_in_waveform = (energies - frames(waveform(hiss, **band))).mean((0, 1)) > 2
    lost_in_log_mel = (energies - log_mel(energies, **band)).mean((0, 1)) > 0.5
    assert int(lost_in_log_mel.sum()) == 8
    assert int((lost_in_waveform ^ lost_in_log_mel).sum()) <= 2  # bands at the edges overlap it in part


def test_the_band_does_not_move_with_the_sample_rate() -> None:
    values = torch.zeros(1, 3, 40)
    mask = torch.ones(1, 3, dtype=torch.bool)
    values[..., 0] = -9.0
    drawn = by_hand(1, band_start=0.3, band_width=0.2)
    for rate in (8_000, 16_000):
        info = log_mel_info(bins=40, sample_rate=rate)
        silenced = apply({"values": values, "mask": mask}, drawn, info)["values"][0, 0] == -9.0
        top = 1127 * math.log1p(rate / 2 / 700)
        low = 1127 * math.log1p(20 / 700)
        centres = low + (top - low) * torch.arange(1, 41) / 41
        lost = centres[1:][silenced[1:]]
        assert 0.3 * 2840 <= lost.min() < 0.3 * 2840 + 80
        assert 0.5 * 2840 - 80 < lost.max() <= 0.5 * 2840


def test_more_padding_changes_a_filtered_waveform_only_at_its_ends() -> None:
    voice = speech(2, 0.5)
    lengths = torch.full((2,), 8_000)
    padded = torch.cat([voice, torch.zeros(2, 4_000)], 1)
    amounts = {"band_start": 0.4, "band_width": 0.1, "gain": 3.0, "shift": 0.1, "noise": 0.1}
    short, long = waveform(voice, lengths, **amounts), waveform(padded, lengths, **amounts)
    assert (short - long[:, :8_000])[:, 500:-500].abs().max() < 0.02 * voice.abs().max()
    assert not long[:, 8_000:].any()


def test_parameters_lie_in_their_ranges_and_reach_them() -> None:
    rows = torch.arange(5_000)
    options = AudioAugmentation(gain=6, shift=0.2, noise=0.1, time_mask=0.3, frequency_mask=0.4)
    drawn = parameters(options, 0, rows, torch.ones_like(rows))
    ranges = {
        "gain": (-6, 6),
        "shift": (-0.2, 0.2),
        "noise": (0, 0.1),
        "time_width": (0, 0.3),
        "band_width": (0, 0.4),
    }
    for name, (low, high) in ranges.items():
        room = 0.02 * (high - low)
        assert low <= drawn[name].min() < low + room
        assert high - room < drawn[name].max() <= high
    assert (drawn["time_start"] + drawn["time_width"]).max() <= 1
    assert (drawn["band_start"] + drawn["band_width"]).max() <= 1


def test_digital_silence_and_an_empty_sound_stay_finite() -> None:
    amounts = {
        "gain": 6.0,
        "shift": 0.2,
        "noise": 0.5,
        "time_start": 0.1,
        "time_width": 0.3,
        "band_start": 0.1,
        "band_width": 0.3,
    }
    lengths = torch.tensor([50, 0])
    assert not waveform(torch.zeros(2, 50), lengths, **amounts).any()
    floor = math.log(2.0**-23)
    silent = log_mel(torch.full((2, 50, BINS), floor) * torch.tensor([1.0, 0.0]).view(2, 1, 1), lengths, **amounts)
    assert torch.isfinite(silent).all()
    assert not silent[1].any()
