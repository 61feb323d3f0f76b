"""The audio modality: a sound in any of its forms becomes log-mel frames or a waveform."""

from __future__ import annotations

from collections.abc import Iterator

import kaldi_native_fbank
import numpy as np

from mmdistill.data.cells import Cell, is_media
from mmdistill.data.modalities import sound
from mmdistill.data.modalities.base import (
    ArraySpec,
    CellError,
    State,
    describe,
    is_absent,
    naming_file,
    only_cell,
    readable,
)
from mmdistill.data.modalities.catalog import AudioOptions
from mmdistill.data.modalities.moments import Moments
from mmdistill.data.modalities.reader import CellReader
from mmdistill.errors import InputError


class AudioModality:
    """Paths, zip members, bytes, arrays and Hugging Face mappings to ``values`` float32, a sequence.

    ``log_mel``: (frames, bins); ``waveform``: (samples,). An array without a rate has the column's `sample_rate`.
    Values stay float32, not float16, so that a predictor that extracts anew sees the very same numbers.

    State: ``mean`` and ``std`` per mel band (of one element for a waveform) over a sample of training rows, and
    ``frame_rate``, elements a second.
    """

    fit_rows: int | None = 4_000

    def __init__(self, settings: AudioOptions, reader: CellReader) -> None:
        self.settings = settings
        self.reader = reader.within(settings.root, settings.max_megabytes)
        self._mel = sound.mel_options(
            settings.sample_rate,
            settings.mel_bins,
            settings.frame_length,
            settings.hop,
            settings.low_frequency,
            settings.high_frequency,
        )
        if settings.features == "log_mel":
            self._check_bands()

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether there is no sound."""
        cell = only_cell(cells)
        return is_absent(cell) or (isinstance(cell, dict) and "array" in cell and cell["array"] is None)

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """The statistics of the bands.

        Raises:
            CellError: when no sound can be read.
        """
        dim = self.settings.mel_bins if self.settings.features == "log_mel" else 1
        moments = Moments(dim)
        for values in readable(cells, self._values):
            moments.update(values.reshape(-1, dim))
        log_mel = self.settings.features == "log_mel"
        return {
            **moments.summary(),
            "frame_rate": 1000.0 / self.settings.hop if log_mel else float(self.settings.sample_rate),
        }

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:  # noqa: ARG002 - state changes nothing
        """``values`` float32 (frames, bins) or (samples,).

        Raises:
            CellError: when the cell is no sound, or is damaged, truncated, without samples or too large.
        """
        return {"values": self._values(cells)}

    def arrays(self, state: State) -> dict[str, ArraySpec]:  # noqa: ARG002 - the same for every state
        """``values``, a sequence of frames of `mel_bins`, or of samples."""
        shape = (self.settings.mel_bins,) if self.settings.features == "log_mel" else ()
        return {"values": ArraySpec(shape, "float32", sequence=True)}

    def _values(self, cells: dict[str, Cell]) -> np.ndarray:
        cell = only_cell(cells)
        with naming_file(cell):
            waveform = self._waveform(cell)
        return sound.log_mel(waveform, self._mel) if self.settings.features == "log_mel" else waveform

    def _waveform(self, cell: Cell) -> np.ndarray:
        settings = self.settings
        samples, rate = self._open(cell)
        waveform = sound.resample(sound.mono(samples), rate, settings.sample_rate)
        waveform = waveform[: round(settings.max_seconds * settings.sample_rate)]
        if settings.trim_silence is not None:
            waveform = sound.trim(waveform, settings.trim_silence)
        waveform = sound.scale(waveform, settings.normalize)
        missing = round(settings.min_seconds * settings.sample_rate) - len(waveform)
        return np.pad(waveform, (0, missing)) if missing > 0 else waveform

    def _open(self, cell: Cell) -> tuple[np.ndarray, float]:
        rate: float = self.settings.sample_rate
        array: object = None
        if isinstance(cell, dict) and cell.get("array") is not None:
            stated, array = cell.get("sampling_rate"), cell["array"]
            if isinstance(stated, bool) or not isinstance(stated, int | float):
                raise CellError(f"is {describe(cell)} whose sampling_rate is {describe(stated)}")
            sound.check_rate(stated)
            rate = stated
        elif isinstance(cell, np.ndarray | list | tuple):
            array = cell
        if array is not None:
            samples = sound.from_array(array)
            return samples[: round(self.settings.max_seconds * rate)], rate
        if isinstance(cell, str | bytes | bytearray | memoryview) or is_media(cell):
            return sound.decode(self.reader.read(cell), self.settings.max_seconds)
        raise CellError(f"is {describe(cell)}, not a sound", fix="Give a path, the bytes of a file, or an array")

    def _check_bands(self) -> None:
        try:
            kaldi_native_fbank.OnlineFbank(self._mel)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.settings.mel_bins} mel bands are too many for {self.settings.sample_rate} samples a second and "
                f"frames of {self.settings.frame_length:g} ms",
                where="mel_bins",
                fix="Lower `mel_bins`, or raise `frame_length` or `sample_rate`",
            ) from error
