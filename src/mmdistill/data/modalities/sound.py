"""One sound: decoded, mixed to one channel, resampled, trimmed, scaled; and its log-mel frames."""

from __future__ import annotations

import io
import math
import struct
from typing import Any

import kaldi_native_fbank
import numpy as np
import soundfile
import soxr

from mmdistill.data.modalities.base import CellError

MIN_RATE, MAX_RATE = 1_000, 768_000  # samples a second of a source; others come from damaged headers
_UNKNOWN_SIZE = 0x7FFF_0000  # what writes to a pipe puts about this, or more, in place of a size it cannot know
_RMS = 0.1


def decode(data: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    """Decode the beginning of a sound file (WAV, FLAC, Ogg, MP3 and whatever libsndfile reads).

    Args:
        data: the file.
        max_seconds: what is decoded at most.

    Returns:
        Samples float32 (T, channels) and the sample rate.

    Raises:
        CellError: when it is empty, of no known format, damaged, or shorter than its header says.
    """
    if not data:
        raise CellError("is an empty file, not a sound")
    _refuse_truncated(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            check_rate(file.samplerate)
            wanted = min(file.frames, math.ceil(max_seconds * file.samplerate))
            samples = file.read(wanted, dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, ValueError, MemoryError) as error:
        raise CellError(f"is no sound that can be decoded ({error})", fix="Replace the file") from error
    if len(samples) < wanted:
        raise CellError(
            f"is a truncated sound: {len(samples):,} of {wanted:,} frames are there",
            fix="Replace the file",
        )
    return samples, rate


def _refuse_truncated(data: bytes) -> None:
    """Hold the header of a WAV or AIFF file against its size, as libsndfile reads what is there without a word."""
    kind = data[:4]
    if kind not in (b"RIFF", b"RIFX", b"FORM") or len(data) < 12:
        return
    order = "<" if kind == b"RIFF" else ">"
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        position += 8
        if name in (b"data", b"SSND"):
            if size < _UNKNOWN_SIZE and position + size > len(data):
                raise CellError(
                    f"is a truncated sound: its header promises {size:,} bytes and {len(data) - position:,} are there",
                    fix="Replace the file",
                )
            return
        position += size + size % 2
    raise CellError("is a truncated sound: it ends before its samples", fix="Replace the file")


def check_rate(rate: float) -> None:
    """Refuse a sample rate that no recording has.

    Raises:
        CellError: when it is outside 1,000 to 768,000 a second.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise CellError(f"is a sound of {rate:,} samples a second, outside {MIN_RATE:,} to {MAX_RATE:,}")


def from_array(values: Any) -> np.ndarray:
    """Samples float32 (T, channels) from an array or lists: floats as they are, integers by the range of their type.

    Of two dimensions the shorter one is the channels.

    Raises:
        CellError: for other shapes and types.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise CellError("is a nested list whose rows differ in length, not a sound") from error
    if array.ndim not in (1, 2):
        raise CellError(f"is an array of shape {array.shape}, not (samples,) or (samples, channels)")
    if array.dtype.kind == "u" and array.dtype.itemsize == 1:
        array = (array.astype(np.float32) - 128.0) / 128.0
    elif array.dtype in (np.int16, np.int32):
        array = array / -float(np.iinfo(array.dtype).min)
    elif array.dtype.kind != "f":
        raise CellError(f"is an array of type {array.dtype}, not of float, int16, int32 or uint8 samples")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    return array.astype(np.float32)


def mono(samples: np.ndarray) -> np.ndarray:
    """The mean over channels, float32 (T,).

    Raises:
        CellError: when there are no samples, or some are NaN or infinite.
    """
    if samples.size == 0:
        raise CellError("is a sound without samples", fix="Leave the cell empty when there is no sound")
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise CellError("is a sound with samples that are NaN or infinite", fix="Replace the file")
    return np.ascontiguousarray(mixed, dtype=np.float32)


def resample(samples: np.ndarray, rate: float, wanted: int) -> np.ndarray:
    """From `rate` to `wanted` samples a second with SoX's resampler at high quality; float32 (T,)."""
    if rate == wanted:
        return samples
    resampled = soxr.resample(samples, rate, wanted, quality="HQ")
    return resampled if len(resampled) else np.zeros(1, np.float32)


def trim(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Without both ends whose size stays `decibels` under the peak; a sound of zeros stays as it is."""
    size = np.abs(samples)
    loud = np.flatnonzero(size > size.max() * 10.0 ** (-decibels / 20.0))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def scale(samples: np.ndarray, method: str) -> np.ndarray:
    """Scaled to a peak of 1 (``peak``) or a root mean square of 0.1 (``rms``); a sound of zeros stays as it is."""
    if method == "none":
        return samples
    level = np.abs(samples).max() if method == "peak" else math.sqrt(np.square(samples, dtype=np.float64).mean()) / _RMS
    return (samples / level).astype(np.float32) if level > 0 else samples


def mel_options(
    sample_rate: int, bins: int, frame_length: float, hop: float, low: float, high: float | None
) -> kaldi_native_fbank.FbankOptions:
    """Kaldi's filter-bank settings without dither, so that a sound always has the same frames.

    Args:
        sample_rate: samples a second.
        bins: mel bands.
        frame_length: in milliseconds.
        hop: in milliseconds.
        low: lower edge in hertz.
        high: upper edge in hertz; half the sample rate when None.
    """
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = sample_rate
    options.frame_opts.frame_length_ms = frame_length
    options.frame_opts.frame_shift_ms = hop
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bins
    options.mel_opts.low_freq = low
    options.mel_opts.high_freq = high or 0.0  # 0: half the sample rate
    return options


def log_mel(samples: np.ndarray, options: kaldi_native_fbank.FbankOptions) -> np.ndarray:
    """Log-mel energies of a waveform of -1 to 1, float32 (frames, bins); at least one frame, the sound padded to it.

    Energies under float32's epsilon count as epsilon, about the noise of 16-bit samples, so that digital silence lies
    near recorded silence.
    """
    rate = options.frame_opts.samp_freq
    frame = int(rate * 0.001 * options.frame_opts.frame_length_ms)
    if len(samples) < frame:
        samples = np.pad(samples, (0, frame - len(samples)))
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(rate, samples)
    computer.input_finished()
    return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])
