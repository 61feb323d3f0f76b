"""Whatever happens to the bytes of a file, it is read or refused with a `CellError`, never anything else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdistill.data.modalities.base import CellError
from tests.data_rows.making import modality, png, sound_file

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
WAVE = np.random.default_rng(0).standard_normal(2_000) * 0.1


def arrays(compressed: bool) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, a=NOISE[0, :, 0], b=WAVE[:5])
    return stream.getvalue()


FILES = {
    **{f"image {kind}": png(NOISE, format=kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")},
    **{f"audio {kind}": sound_file(WAVE, kind=kind) for kind in ("WAV", "FLAC", "OGG", "AIFF")},
    **{f"vector {compressed}": arrays(compressed) for compressed in (False, True)},
}


@pytest.mark.filterwarnings("ignore")  # Pillow and NumPy warn of some damage as well
@pytest.mark.parametrize("name", list(FILES))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_read(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    near_the_start = st.integers(0, min(200, len(content)) - 1)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(near_the_start | st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 127, 255]) | st.integers(0, 255))
    if data.draw(st.integers(0, 4)) == 0:
        content = content[: data.draw(st.integers(0, len(content)))]
    kind = name.split()[0]
    own = modality(kind, **{"vector": {"key": "a"}, "image": {"max_pixels": 1_000_000}}.get(kind, {}))
    try:
        state = own.fit(iter([{"x": bytes(content)}]))
    except CellError:
        return
    for array, spec in own.arrays(state).items():
        values = own.extract({"x": bytes(content)}, state)[array]
        assert values.shape[spec.sequence :] == spec.shape
        assert np.isfinite(values).all()
