"""The image modality: a picture in any of its forms becomes uint8 values (channels, height, width)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from mmdistill.data.cells import Cell, is_media
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
from mmdistill.data.modalities.catalog import ImageOptions
from mmdistill.data.modalities.moments import Moments
from mmdistill.data.modalities.picture import check_pixels, decode, from_array, is_grey, plain, resize
from mmdistill.data.modalities.reader import CellReader


class ImageModality:
    """Paths, zip members, bytes, arrays, nested lists and PIL images to ``values`` uint8 (C, H, W).

    State: ``size`` [height, width], ``channels`` (1 or 3), ``mean`` and ``std`` per channel (0 to 255) over a sample of
    training rows.
    """

    fit_rows: int | None = 2_000

    def __init__(self, settings: ImageOptions, reader: CellReader) -> None:
        self.settings = settings
        self.reader = reader.within(settings.root, settings.max_megabytes)

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether there is no picture."""
        return is_absent(only_cell(cells))

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """Colour or grey, and the statistics of the channels.

        Raises:
            CellError: when no picture can be read.
        """
        colour, grey = Moments(3), Moments(1)
        all_grey = True
        for image in readable(cells, self._picture):
            all_grey = all_grey and is_grey(image)
            colour.update(np.asarray(image.convert("RGB")).reshape(-1, 3))
            grey.update(np.asarray(image.convert("L")).reshape(-1, 1))
        channels = self.settings.channels
        if channels == "auto":
            channels = 1 if all_grey else 3
        statistics = (grey if channels == 1 else colour).summary()
        return {"size": list(self.settings.height_and_width), "channels": channels, **statistics}

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:
        """``values`` uint8 (C, H, W).

        Raises:
            CellError: when the cell is no picture, or is damaged, truncated or too large.
        """
        image = self._picture(cells)
        if state["channels"] == 1:
            return {"values": np.asarray(image.convert("L"))[None]}
        return {"values": np.ascontiguousarray(np.moveaxis(np.asarray(image.convert("RGB")), -1, 0))}

    def arrays(self, state: State) -> dict[str, ArraySpec]:
        """``values`` of shape (C, H, W)."""
        return {"values": ArraySpec((state["channels"], *self.settings.height_and_width), "uint8")}

    def _picture(self, cells: dict[str, Cell]) -> Image.Image:
        """The picture of mode L or RGB at its final size."""
        settings = self.settings
        cell = only_cell(cells)
        with naming_file(cell):
            image = plain(self._open(cell), settings.background)
        return resize(image, settings.height_and_width, settings.fit, settings.interpolation, settings.background)

    def _open(self, cell: Cell) -> Image.Image:
        settings = self.settings
        if isinstance(cell, Image.Image):
            check_pixels(cell.width, cell.height, settings.max_pixels)
            return cell
        if isinstance(cell, np.ndarray | list | tuple):
            image = from_array(cell)
            check_pixels(image.width, image.height, settings.max_pixels)
            return image
        if isinstance(cell, str | bytes | bytearray | memoryview) or is_media(cell):
            return decode(self.reader.read(cell), settings.max_pixels, settings.height_and_width)
        raise CellError(f"is {describe(cell)}, not a picture", fix="Give a path, the bytes of a file, or an array")
