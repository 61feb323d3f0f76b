"""What every augmentation keeps: the clean view, absent rows, padding, and independence of the batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from mmdistill import catalog
from mmdistill.data.augmentations.catalog import (
    AudioAugmentation,
    ImageAugmentation,
    TabularAugmentation,
    TextAugmentation,
    VectorAugmentation,
)
from mmdistill.data.features import FeatureInfo
from tests.data_batches.stand_in import (
    image_info,
    log_mel_info,
    tabular_info,
    text_info,
    vector_info,
    waveform_info,
)

B = 12
ROWS = torch.arange(B)
LENGTHS = torch.arange(B) % 6 + 1
MASK = torch.arange(6) < LENGTHS[:, None]


def sequence(*trailing: int) -> Tensor:
    values = torch.randn(B, 6, *trailing, generator=torch.Generator().manual_seed(0))
    return values * MASK.reshape(B, 6, *(1 for _ in trailing))


def cases() -> dict[str, tuple[FeatureInfo, catalog.Options, dict[str, Tensor]]]:
    """Every modality with everything on."""
    generator = torch.Generator().manual_seed(1)
    image = ImageAugmentation(
        crop=0.6, flip=True, shift=0.2, rotation=20, brightness=0.3, contrast=0.3, saturation=0.3, erase=0.5, noise=0.1
    )
    audio = AudioAugmentation(gain=6, shift=0.3, noise=0.5, time_mask=0.4, frequency_mask=0.4)
    vector = {"noise": 0.5, "drop": 0.3, "swap_rows": 0.3}
    return {
        "image": (
            image_info(channels=3, size=(8, 10)),
            image,
            {"values": torch.randint(0, 256, (B, 3, 8, 10), generator=generator).to(torch.uint8)},
        ),
        "text": (
            text_info(),
            TextAugmentation(drop=0.4, swap=0.5),
            {"values": torch.randint(2, 99, (B, 6), generator=generator) * MASK, "mask": MASK},
        ),
        "log_mel": (log_mel_info(bins=20), audio, {"values": sequence(20), "mask": MASK}),
        "waveform": (waveform_info(), audio, {"values": sequence(), "mask": MASK}),
        "tabular": (
            tabular_info(),
            TabularAugmentation(noise=0.5, swap_rows=0.3, missing=0.3),
            {
                "numeric": torch.randn(B, 3, generator=generator),
                "missing": torch.rand(B, 3, generator=generator) < 0.3,
                "categorical": torch.randint(0, 9, (B, 2), generator=generator),
            },
        ),
        "vector": (
            vector_info([1.0] * 5, [2.0] * 5),
            VectorAugmentation(**vector),
            {"values": torch.randn(B, 5, generator=generator)},
        ),
        "vectors": (
            vector_info([1.0] * 5, [2.0] * 5, sequence=True),
            VectorAugmentation(**vector, time_mask=0.5),
            {"values": sequence(5), "mask": MASK},
        ),
    }


NAMES = sorted(cases())


def vary(name: str, views: Tensor | int, present: Tensor | None = None, seed: int = 0) -> dict[str, Tensor]:
    info, options, arrays = cases()[name]
    augmentation = catalog.get("augmentation", info.type).load()
    views = views if isinstance(views, Tensor) else torch.full_like(ROWS, views)
    return augmentation.apply(arrays, augmentation.parameters(options, seed, ROWS, views), info, present)


def same_rows(first: dict[str, Tensor], second: dict[str, Tensor], rows: Tensor) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[key][rows], second[key][rows].to(first[key].dtype)) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_view_0_is_the_clean_row_to_the_bit(name: str) -> None:
    views = ROWS % 2
    varied, clean = vary(name, views), cases()[name][2]
    assert same_rows(varied, clean, views == 0)
    assert not same_rows(varied, clean, views == 1)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_the_column_stay_as_they_are(name: str) -> None:
    present = ROWS % 3 != 0
    varied, clean = vary(name, 1, present), cases()[name][2]
    assert same_rows(varied, clean, ~present)
    assert not same_rows(varied, clean, present)


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_an_absent_row_reaches_no_other(name: str) -> None:
    info, options, arrays = cases()[name]
    augmentation = catalog.get("augmentation", info.type).load()
    present = ROWS % 3 != 0
    parameters = augmentation.parameters(options, 0, ROWS, torch.ones_like(ROWS))
    spoiled = {key: values.clone() for key, values in arrays.items()}
    for key, values in spoiled.items():
        if key != "mask":
            values[~present] = float("nan") if values.is_floating_point() else 7 if values.dtype != torch.bool else True
    first = augmentation.apply(arrays, parameters, info, present)
    second = augmentation.apply(spoiled, parameters, info, present)
    assert same_rows(first, second, present)


@pytest.mark.parametrize("name", NAMES)
def test_views_repeat_and_differ_from_each_other(name: str) -> None:
    everything = torch.ones(B, dtype=torch.bool)
    assert same_rows(vary(name, 3), vary(name, 3), everything)
    assert not same_rows(vary(name, 3), vary(name, 4), everything)
    assert not same_rows(vary(name, 3), vary(name, 3, seed=1), everything)


@pytest.mark.parametrize("name", NAMES)
def test_types_shapes_and_arguments_are_kept(name: str) -> None:
    info, options, arrays = cases()[name]
    augmentation = catalog.get("augmentation", info.type).load()
    before = {key: values.clone() for key, values in arrays.items()}
    varied = augmentation.apply(arrays, augmentation.parameters(options, 0, ROWS, torch.ones_like(ROWS)), info)
    assert {key: values.shape for key, values in varied.items()} == {
        key: values.shape for key, values in before.items()
    }
    for key, values in varied.items():
        assert torch.equal(arrays[key], before[key])
        assert values.dtype == (torch.float32 if name == "image" else before[key].dtype)


@pytest.mark.parametrize("name", [name for name in NAMES if "mask" in cases()[name][2]])
def test_padding_stays_padding(name: str) -> None:
    varied = vary(name, 1)
    assert not (varied["mask"] & ~MASK).any()
    assert (varied["values"][~varied["mask"]] == 0).all()
    assert torch.isfinite(varied["values"].float()).all()


@pytest.mark.parametrize("name", ["text", "log_mel", "vectors"])
def test_more_padding_changes_nothing(name: str) -> None:
    info, options, arrays = cases()[name]
    augmentation = catalog.get("augmentation", info.type).load()
    parameters = augmentation.parameters(options, 0, ROWS, torch.ones_like(ROWS))
    longer = {key: torch.cat([values, torch.zeros_like(values)], 1) for key, values in arrays.items()}
    short, long = augmentation.apply(arrays, parameters, info), augmentation.apply(longer, parameters, info)
    for key in short:
        torch.testing.assert_close(long[key][:, :6], short[key])
        assert not long[key][:, 6:].any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_on_by_default(name: str) -> None:
    info, options, arrays = cases()[name]
    off = type(options)()
    augmentation = catalog.get("augmentation", info.type).load()
    parameters = augmentation.parameters(off, 0, ROWS, torch.ones_like(ROWS))
    assert not off.varies
    assert options.varies
    assert set(parameters) == {"active"}
    assert same_rows(augmentation.apply(arrays, parameters, info), arrays, torch.ones(B, dtype=torch.bool))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_row_can_be_varied(name: str) -> None:
    info, options, arrays = cases()[name]
    augmentation = catalog.get("augmentation", info.type).load()
    parameters = augmentation.parameters(options, 0, ROWS[5:6], torch.ones(1, dtype=torch.int64))
    alone = augmentation.apply({key: values[5:6] for key, values in arrays.items()}, parameters, info)
    assert all(values.shape[0] == 1 for values in alone.values())
    if options.reproducible:
        together = vary(name, 1)
        for key, values in alone.items():
            torch.testing.assert_close(values, together[key][5:6], atol=1e-4, rtol=1e-5)


@given(st.data())
def test_options_out_of_range_or_unknown_are_refused(data) -> None:
    _, options, _ = cases()[data.draw(st.sampled_from(NAMES))]
    field = data.draw(st.sampled_from(sorted(type(options).model_fields)))
    with pytest.raises(ValidationError, match=field):
        type(options).model_validate({field: -0.5})
    with pytest.raises(ValidationError, match="unknown"):
        type(options).model_validate({"unknown": 1})


def test_the_usual_recipe_is_understood() -> None:
    options = catalog.get("augmentation", "image").options.model_validate(
        {"shift": 0.1, "crop": 0.8, "flip": True, "noise": 0.05}
    )
    assert options.varies
    assert options.reproducible


@pytest.mark.parametrize("name", ["image", "text", "audio", "tabular", "vector"])
def test_every_option_is_described(name: str) -> None:
    for field in catalog.get("augmentation", name).options.model_fields.values():
        assert field.description
