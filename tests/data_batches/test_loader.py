"""Batches: contents, order, resuming, views, devices, and what is refused."""

import itertools
import threading

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from mmdistill.data.augmentations.catalog import ImageAugmentation, TextAugmentation, VectorAugmentation
from mmdistill.data.loader import Loader
from mmdistill.errors import InputError
from tests.data_batches.stand_in import (
    MemoryRows,
    MemoryStore,
    image_info,
    image_rows,
    labels,
    log_mel_info,
    text_info,
    vector_info,
)


def rows_of(loader: Loader, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch["row"].tolist() for batch in loader.batches(epoch, start)]


def assert_same(first: TensorDict, second: TensorDict) -> None:
    assert set(first.keys(True, True)) == set(second.keys(True, True))
    for key in first.keys(True, True):
        assert torch.equal(first[key], second[key]), key


def both(rows: int = 20) -> MemoryRows:
    """An image and a sound of 1 to 5 frames; every third row has no sound."""
    lengths = torch.arange(rows) % 5 + 1
    sound = MemoryStore(
        log_mel_info(bins=3), {"values": torch.arange(rows).view(-1, 1, 1).expand(-1, 5, 3).float()}, lengths
    )
    return MemoryRows(rows, image_rows(rows).features["image"], sound, present={"sound": torch.arange(rows) % 3 != 0})


def test_a_batch_holds_what_belongs_to_its_rows() -> None:
    labelled = torch.arange(20) % 2 == 0
    loader = Loader(both(), {"digit": (torch.arange(20) * 10, labelled)}, range(5, 20), 4, shuffle=False)
    batch = next(loader.batches(0))
    assert batch.batch_size == torch.Size([4])
    assert set(batch.keys()) == {"features", "present", "target", "labelled", "row", "view"}
    assert batch["row"].tolist() == [5, 6, 7, 8]
    assert batch["view"].tolist() == [0, 0, 0, 0]
    assert batch["features", "image", "values"][:, 0, 0, 0].tolist() == [5, 6, 7, 8]
    assert batch["features", "sound", "values"].shape == (4, 4, 3)
    assert batch["features", "sound", "mask"].sum(1).tolist() == [1, 2, 3, 4]
    assert batch["present", "image"].all()
    assert batch["present", "sound"].tolist() == [True, False, True, True]
    assert batch["target", "digit"].tolist() == [50, 60, 70, 80]
    assert batch["labelled", "digit"].tolist() == [False, True, False, True]


def test_only_the_named_features_are_gathered() -> None:
    prepared = both()
    loader = Loader(prepared, labels(20), range(20), 8, features=["sound"])
    batch = next(loader.batches(0))
    assert loader.features == ("sound",)
    assert loader.columns == ("sound",)
    assert set(batch["features"].keys()) == set(batch["present"].keys()) == {"sound"}
    assert prepared.features["image"].gathered == []


def test_targets_may_be_numpy_arrays_of_any_shape_and_several() -> None:
    targets = {
        "tags": (np.eye(20, dtype=np.float32), np.ones(20, dtype=bool)),
        "age": (np.arange(20.0), np.zeros(20, dtype=bool)),
    }
    batch = next(Loader(image_rows(20), targets, range(20), 8, shuffle=False).batches(0))
    assert torch.equal(batch["target", "tags"], torch.eye(20)[:8])
    assert batch["target", "age"].dtype == torch.float64
    assert not batch["labelled", "age"].any()


def test_evaluation_keeps_the_order_and_every_row() -> None:
    loader = Loader(image_rows(10), labels(10), [9, 1, 4, 7], 3, shuffle=False)
    assert rows_of(loader, 0) == [[9, 1, 4], [7]]
    assert len(loader) == 2


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_epoch_is_decided_by_seed_and_number_and_shows_every_row_once(prefetch: int) -> None:
    loader, again, other = (
        Loader(image_rows(30), labels(30), range(30), 8, seed=seed, prefetch=prefetch) for seed in (1, 1, 2)
    )
    first = rows_of(loader, 4)
    assert sorted(itertools.chain(*first)) == list(range(30))
    assert first == rows_of(again, 4) == rows_of(loader, 4)
    assert first != rows_of(loader, 5)
    assert first != rows_of(other, 4)
    assert len(first) == len(loader) == 4


@pytest.mark.parametrize("steps", [None, 7])
def test_starting_within_an_epoch_gives_the_same_batches_and_reads_no_others(steps: int | None) -> None:
    augment = {"image": ImageAugmentation(shift=0.3, noise=0.1)}
    whole = Loader(image_rows(30), labels(30), range(30), 8, augment=augment, steps_per_epoch=steps)
    prepared = image_rows(30)
    resumed = Loader(prepared, labels(30), range(30), 8, augment=augment, steps_per_epoch=steps)
    expected, got = list(whole.batches(2))[3:], list(resumed.batches(2, start=3))
    assert len(expected) == len(got)
    for first, second in zip(expected, got, strict=True):
        assert_same(first, second)
    assert len(prepared.features["image"].gathered) == len(got)
    assert list(resumed.batches(2, start=len(resumed))) == []


def test_a_batch_of_one_row_is_not_trained_on_unless_it_was_asked_for() -> None:
    sizes = [len(rows) for rows in rows_of(Loader(image_rows(9), labels(9), range(9), 4), 0)]
    assert sizes == [4, 4]
    assert len(rows_of(Loader(image_rows(9), labels(9), range(9), 4, shuffle=False), 0)[-1]) == 1
    assert rows_of(Loader(image_rows(9), labels(9), [3], 4), 0) == [[3]]


def test_a_fixed_number_of_steps_takes_full_batches_over_few_rows() -> None:
    loader = Loader(image_rows(5), labels(5), range(5), 4, steps_per_epoch=10)
    batches = rows_of(loader, 0) + rows_of(loader, 1)
    assert len(loader) == 10
    assert {len(rows) for rows in batches} == {4}
    assert np.bincount(list(itertools.chain(*batches))).tolist() == [16] * 5


def test_views_are_clean_without_augmentation_and_follow_the_passes_with_it() -> None:
    augment = {"image": ImageAugmentation(flip=True)}
    assert next(Loader(image_rows(8), {}, range(8), 4).batches(5))["view"].tolist() == [0] * 4
    assert next(Loader(image_rows(8), {}, range(8), 4, augment=augment).batches(5))["view"].tolist() == [6] * 4
    assert next(Loader(image_rows(8), {}, range(8), 4, mixup=0.3).batches(0))["view"].tolist() == [1] * 4
    few = Loader(image_rows(6), {}, range(6), 4, augment=augment, steps_per_epoch=3)
    assert [batch["view"].tolist() for batch in few.batches(0)] == [[1] * 4, [1, 1, 2, 2], [2] * 4]


@pytest.mark.parametrize(
    "augment", [{}, {"image": None}, {"image": ImageAugmentation()}, {"elsewhere": ImageAugmentation(flip=True)}]
)
def test_an_augmentation_that_is_off_or_of_a_column_not_read_leaves_rows_clean(augment) -> None:
    loader = Loader(image_rows(8), {}, range(8), 8, augment=augment)
    assert not loader.varies
    assert next(loader.batches(3))["features", "image", "values"].dtype == torch.uint8


def test_a_view_of_a_row_is_the_same_in_every_batch() -> None:
    augment = {"image": ImageAugmentation(shift=0.3, crop=0.5, noise=0.1)}
    shuffled, ordered = (
        Loader(image_rows(30), {}, range(30), size, augment=augment, shuffle=shuffle)
        for size, shuffle in ((8, True), (30, False))
    )
    reference = next(ordered.batches(0))["features", "image", "values"]
    for batch in shuffled.batches(0):
        torch.testing.assert_close(batch["features", "image", "values"], reference[batch["row"]])


def test_columns_vary_independently_and_features_of_one_column_together() -> None:
    values = {"values": torch.zeros(200, 1, 4, 4, dtype=torch.uint8)}
    values["values"][..., 0] = 255
    prepared = MemoryRows(
        200,
        MemoryStore(image_info("front", size=(4, 4)), values),
        MemoryStore(image_info("front@teacher", size=(4, 4), column="front"), values),
        MemoryStore(image_info("back", size=(4, 4)), values),
    )
    augment = {"front": ImageAugmentation(flip=True), "back": ImageAugmentation(flip=True)}
    features = next(Loader(prepared, {}, range(200), 200, augment=augment).batches(0))["features"]
    front, teacher, back = (features[name, "values"][:, 0, 0, 0] for name in ("front", "front@teacher", "back"))
    assert torch.equal(front, teacher)
    assert 0.3 < (front == back).float().mean() < 0.7


def test_absent_rows_are_not_varied() -> None:
    present = {"image": torch.arange(8) % 2 == 0}
    prepared = MemoryRows(8, image_rows(8).features["image"], present=present)
    loader = Loader(prepared, {}, range(8), 8, shuffle=False, augment={"image": ImageAugmentation(noise=0.2)})
    values = next(loader.batches(0))["features", "image", "values"]
    assert values[1::2, 0, 0, 0].tolist() == [1, 3, 5, 7]
    assert values[0].unique().numel() > 1


def test_mixup_blends_inputs_and_says_with_whom() -> None:
    labelled = torch.arange(20) < 10
    loader = Loader(both(), {"digit": (torch.arange(20), labelled)}, range(20), 20, mixup=1.0, seed=3)
    batch = next(loader.batches(0))
    row, partner, share = batch["row"], batch["mixed", "partner"], batch["mixed", "share"]
    assert torch.equal(labelled[row], labelled[row[partner]])
    assert torch.equal(batch["present", "sound"], batch["present", "sound"][partner])
    expected = share * row + (1 - share) * row[partner]
    torch.testing.assert_close(batch["features", "image", "values"][:, 0, 0, 0], expected)
    present = batch["present", "sound"]
    torch.testing.assert_close(batch["features", "sound", "values"][present, 0, 0], expected[present])
    assert not loader.reproducible


def test_whether_views_can_be_made_again_without_their_batch() -> None:
    store = MemoryStore(vector_info([0.0], [1.0]), {"values": torch.zeros(4, 1)})
    prepared = MemoryRows(4, store)
    assert Loader(prepared, {}, range(4), 2).reproducible
    assert Loader(prepared, {}, range(4), 2, augment={"vector": VectorAugmentation(noise=1.0)}).reproducible
    assert not Loader(prepared, {}, range(4), 2, augment={"vector": VectorAugmentation(swap_rows=0.1)}).reproducible


@pytest.mark.parametrize("augment", [None, {"image": ImageAugmentation(shift=0.2)}])
def test_prefetching_changes_nothing(augment) -> None:
    plain, ahead = (
        list(Loader(both(), labels(20), range(20), 6, augment=augment, prefetch=depth).batches(1)) for depth in (0, 2)
    )
    for first, second in zip(plain, ahead, strict=True):
        assert_same(first, second)


def test_leaving_early_ends_the_thread_and_an_error_of_the_store_arrives() -> None:
    prepared = image_rows(100)
    loader = Loader(prepared, {}, range(100), 4, prefetch=2)
    batches = loader.batches(0)
    next(batches)
    batches.close()

    def fail(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        raise OSError("the cache is gone")

    prepared.features["image"].gather = fail
    with pytest.raises(OSError, match="cache is gone"):
        list(loader.batches(0))
    assert not [thread for thread in threading.enumerate() if thread.name == "mmdistill-prefetch"]


def test_the_rows_given_may_change_afterwards() -> None:
    rows = np.arange(6)
    loader = Loader(image_rows(6), {}, rows, 6, shuffle=False)
    rows[:] = 0
    assert rows_of(loader, 0) == [[0, 1, 2, 3, 4, 5]]


def test_mistakes_of_a_user_are_named() -> None:
    prepared = image_rows(4)
    with pytest.raises(InputError, match="no rows"):
        Loader(prepared, {}, [], 4)
    with pytest.raises(InputError, match="Did you mean 'image'"):
        Loader(prepared, {}, range(4), 4, features=["imagee"])
    with pytest.raises(InputError, match="batch size is 0"):
        Loader(prepared, {}, range(4), 0)
    with pytest.raises(InputError, match=r"data.columns.image.augment: TextAugmentation does not vary.*image"):
        Loader(prepared, {}, range(4), 4, augment={"image": TextAugmentation(drop=0.1)})
    text = MemoryRows(4, MemoryStore(text_info(), {"values": torch.ones(4, 2, dtype=torch.int64)}, torch.full((4,), 2)))
    with pytest.raises(InputError, match=r"train.mixup: mixup cannot blend the text column 'text'"):
        Loader(text, {}, range(4), 4, mixup=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [0, 4]}, "4 prepared rows"),
        ({"rows": [-1]}, "4 prepared rows"),
        ({"rows": [[0], [1]]}, "shape"),
        ({"targets": {"digit": (torch.zeros(3), torch.ones(3, dtype=torch.bool))}}, "task 'digit'"),
        ({"targets": {"digit": (torch.zeros(4), torch.ones(4))}}, "bool"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
        ({"prefetch": -1}, "prefetch"),
    ],
)
def test_mistakes_of_a_caller_are_named(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(**{"prepared": image_rows(4), "targets": {}, "rows": range(4), "batch_size": 2, **changes})


def test_a_negative_epoch_or_start_is_refused() -> None:
    loader = Loader(image_rows(4), {}, range(4), 2)
    for epoch, start in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="at least 0"):
            next(loader.batches(epoch, start))
