"""Sounds of any rate, channels and length become log-mel frames or a waveform."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmdistill.data.modalities import sound
from mmdistill.data.modalities.base import CellError
from mmdistill.errors import InputError
from tests.data_rows.making import extracted, feature, fitted, modality, sine, sound_file

WAVE = {"features": "waveform", "sample_rate": 16_000}


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [("WAV", "PCM_16", 1e-4), ("WAV", "PCM_24", 1e-6), ("WAV", "FLOAT", 1e-7), ("WAV", "PCM_U8", 1e-2),
     ("FLAC", "PCM_16", 1e-4), ("OGG", "VORBIS", 0.05), ("AIFF", "PCM_16", 1e-4)],
)  # fmt: skip
def test_every_format_gives_the_same_wave(kind: str, subtype: str, tolerance: float) -> None:
    wave = sine()
    np.testing.assert_allclose(
        extracted("audio", sound_file(wave, kind=kind, subtype=subtype), **WAVE), wave, atol=tolerance
    )


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="this libsndfile has no MP3")
def test_mp3_is_read() -> None:
    values = extracted("audio", sound_file(sine(1.0), kind="MP3"), **WAVE)
    assert abs(len(values) - 16_000) < 2_500
    spectrum = np.abs(np.fft.rfft(values[:16_000]))
    assert abs(spectrum.argmax() * 16_000 / min(len(values), 16_000) - 440) < 3


def test_channels_are_averaged() -> None:
    stereo = np.stack([sine(), -sine()], axis=1)
    np.testing.assert_allclose(extracted("audio", sound_file(stereo, subtype="FLOAT"), **WAVE), 0, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_is_resampled(rate: int) -> None:
    values = extracted("audio", sound_file(sine(0.5, rate), rate, subtype="FLOAT"), **WAVE)
    assert abs(len(values) - 8_000) <= 1
    np.testing.assert_allclose(values[500:7_500], sine(0.5)[500:7_500], atol=0.01)


@pytest.mark.parametrize(
    "cell",
    [
        sine(),
        sine().tolist(),
        (sine() * 32768).astype(np.int16),
        np.stack([sine(), sine()]),
        np.stack([sine(), sine()], axis=1),
        {"array": sine(), "sampling_rate": 16_000, "path": None},
        {"bytes": sound_file(sine(), subtype="FLOAT"), "path": "x.wav"},
    ],
)
def test_arrays_and_mappings(cell: object) -> None:
    np.testing.assert_allclose(extracted("audio", cell, **WAVE), sine(), atol=1e-4)


def test_a_mapping_says_its_rate() -> None:
    values = extracted("audio", {"array": sine(0.5, 8_000), "sampling_rate": 8_000}, **WAVE)
    assert abs(len(values) - 8_000) <= 1


def test_paths_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound_file(sine(), subtype="FLOAT"))
    np.testing.assert_array_equal(extracted("audio", "a.wav", tmp_path, **WAVE), sine())


def test_length_limits() -> None:
    assert len(extracted("audio", sine(0.5), max_seconds=0.2, **WAVE)) == 3_200
    assert len(extracted("audio", sound_file(sine(0.5)), max_seconds=0.2, **WAVE)) == 3_200
    padded = extracted("audio", sine(0.5), min_seconds=1, **WAVE)
    assert len(padded) == 16_000
    assert not padded[8_000:].any()


def test_trimming_removes_both_quiet_ends() -> None:
    quiet = np.zeros(4_000, np.float32)
    values = extracted("audio", np.concatenate([quiet, sine(), quiet]), trim_silence=40, **WAVE)
    assert abs(len(values) - 8_000) < 50
    assert len(extracted("audio", quiet, trim_silence=40, **WAVE)) == 4_000


def test_levels() -> None:
    assert np.abs(extracted("audio", sine() / 10, normalize="peak", **WAVE)).max() == pytest.approx(1)
    rms = np.sqrt(np.mean(extracted("audio", sine() / 10, normalize="rms", **WAVE).astype(float) ** 2))
    assert rms == pytest.approx(0.1, rel=1e-4)
    for method in ("peak", "rms"):
        assert not extracted("audio", np.zeros(100, np.float32), normalize=method, **WAVE).any()


def test_log_mel_has_a_frame_every_hop_and_its_energy_where_the_tone_is() -> None:
    values = extracted("audio", sine(1.0, frequency=1_000), mel_bins=40)
    assert values.dtype == np.float32
    assert values.shape == (1 + (16_000 - 400) // 160, 40)
    low, high = (1127 * np.log(1 + hertz / 700) for hertz in (20, 8_000))
    expected = (1127 * np.log(1 + 1_000 / 700) - low) / (high - low) * 41 - 1
    assert abs(values.mean(axis=0).argmax() - expected) <= 1


def test_log_mel_is_the_same_every_time() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    np.testing.assert_array_equal(extracted("audio", noise), extracted("audio", noise))


@pytest.mark.parametrize("samples", [1, 10, 399, 400, 401])
def test_a_very_short_sound_has_one_frame(samples: int) -> None:
    values = extracted("audio", sine(1.0)[:samples], mel_bins=20)
    assert values.shape == (1, 20)
    assert np.isfinite(values).all()


def test_silence_is_finite() -> None:
    assert np.isfinite(extracted("audio", np.zeros(16_000, np.float32))).all()


def test_a_truncated_wav_is_refused() -> None:
    data = sound_file(sine())
    with pytest.raises(CellError, match=r"truncated sound: its header promises 16,000 bytes and 7,956 are there"):
        extracted("audio", data[:8_000])
    with pytest.raises(CellError, match="truncated sound"):
        extracted("audio", data[:40])


@pytest.mark.parametrize("kind", ["FLAC", "AIFF"])
def test_other_truncated_files_are_refused(kind: str) -> None:
    data = sound_file(np.random.default_rng(0).standard_normal(16_000) * 0.1, kind=kind)
    with pytest.raises(CellError):
        extracted("audio", data[: len(data) // 2])


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read() -> None:
    data = bytearray(sound_file(sine()))
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert len(extracted("audio", bytes(data), **WAVE)) == 8_000


def test_a_wav_with_other_chunks_in_front_is_read() -> None:
    data = sound_file(sine())
    place = data.index(b"data")
    with_list = data[:place] + b"LIST" + struct.pack("<I", 5) + b"INFOx\0" + data[place:]
    assert len(extracted("audio", with_list, **WAVE)) == 8_000


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (b"", "an empty file"),
        (b"not a sound at all, only words", "no sound that can be decoded"),
        (3.5, r"is a number \(3.5\), not a sound"),
        ({"samples": []}, "a mapping with the keys samples"),
        ({"array": sine(), "sampling_rate": None}, "sampling_rate is empty"),
        ({"array": sine(), "sampling_rate": 0}, "outside 1,000 to 768,000"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros(0), "without samples"),
        ([], "without samples"),
        (np.array([0.1, np.nan]), "NaN or infinite"),
        (np.zeros(5, np.int64), "type int64"),
        ([[1.0, 2.0], [3.0]], "differ in length"),
        (sound_file(np.zeros(0, np.float32)), "without samples"),
    ],
)
def test_says_what_is_wrong_with_a_sound(cell: object, message: str) -> None:
    with pytest.raises(CellError, match=message):
        modality("audio").extract({"x": cell}, {})


@pytest.mark.parametrize("cell", [None, "", {"bytes": None, "path": None}, {"array": None, "sampling_rate": 8_000}])
def test_absence(cell: object) -> None:
    assert modality("audio").absent({"x": cell})


def test_state_holds_the_statistics_of_the_frames() -> None:
    sounds = [sine(0.3), np.random.default_rng(0).standard_normal(9_000).astype(np.float32) * 0.1]
    info = fitted("audio", sounds, mel_bins=24)
    frames = np.concatenate([extracted("audio", each, mel_bins=24) for each in sounds]).astype(np.float64)
    np.testing.assert_allclose(info.state["mean"], frames.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(info.state["std"], frames.std(axis=0), rtol=1e-10)
    assert info.state["frame_rate"] == 100.0
    assert info.arrays["values"].sequence


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high_frequency": 9_000}, "above half the sample rate"),
        ({"low_frequency": 9_000}, "not below high_frequency"),
        ({"min_seconds": 20}, "larger than max_seconds"),
        ({"sample_rate": 1_000, "frame_length": 2}, "8 samples or more"),
        ({"hop": 0.01}, "shorter than one sample"),
        ({"mel_bin": 3}, "Did you mean 'mel_bins'"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        feature("audio", **settings)


def test_too_many_bands_are_refused_before_any_sound_is_read() -> None:
    with pytest.raises(InputError, match="200 mel bands are too many for 8000 samples"):
        modality("audio", sample_rate=8_000, mel_bins=200)


def test_frames_agree_with_kaldis_definition() -> None:
    """Povey window, pre-emphasis 0.97, mean removed, power spectrum, triangular mel filters; written out in NumPy."""
    rate, bins, frame, size = 16_000, 23, 400, 512
    wave = (np.random.default_rng(1).standard_normal(frame) * 0.1).astype(np.float32)
    options = sound.mel_options(rate, bins, 25.0, 10.0, 20.0, None)
    centred = wave - wave.mean()
    emphasised = centred - 0.97 * np.concatenate([centred[:1], centred[:-1]])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / (frame - 1))) ** 0.85
    power = np.abs(np.fft.rfft(emphasised * window, size)) ** 2
    mel = 1127 * np.log(1 + np.arange(size // 2) * rate / size / 700)
    edges = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + rate / 2 / 700), bins + 2)
    energies = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
        energies.append((np.clip(np.minimum(rising, falling), 0, None) * power[: size // 2]).sum())
    np.testing.assert_allclose(sound.log_mel(wave, options)[0], np.log(energies), atol=2e-3)
