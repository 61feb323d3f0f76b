"""The order of rows: a pure function of (seed, epoch), complete, and endless where the number of steps is fixed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdistill.data.order import Order, permutation

ROWS = np.arange(100, 110)


def test_a_shuffle_depends_on_seed_and_epoch_only() -> None:
    assert sorted(permutation(50, 3, 7)) == list(range(50))
    assert np.array_equal(permutation(50, 3, 7), permutation(50, 3, 7))
    assert not np.array_equal(permutation(50, 3, 7), permutation(50, 3, 8))
    assert not np.array_equal(permutation(50, 3, 7), permutation(50, 4, 7))
    assert not np.array_equal(permutation(50, -1, 0), permutation(50, 1, 0))


def test_a_pass_shows_every_row_once() -> None:
    rows, passes = Order(ROWS, 4, seed=0, shuffle=True).epoch(3)
    assert sorted(rows.tolist()) == ROWS.tolist()
    assert rows.tolist() != ROWS.tolist()
    assert passes.tolist() == [3] * 10


def test_without_shuffling_rows_keep_their_order_and_none_is_left_out() -> None:
    order = Order(ROWS, 3, seed=0, shuffle=False)
    assert len(order) == 4
    assert order.epoch(0)[0].tolist() == ROWS.tolist()


def test_a_last_batch_of_one_row_is_left_out_of_training_only() -> None:
    assert len(Order(ROWS, 3, seed=0, shuffle=True)) == 3
    assert len(Order(ROWS, 3, seed=0, shuffle=True).epoch(0)[0]) == 9
    assert len(Order(ROWS[:8], 3, seed=0, shuffle=True)) == 3
    # The row left out is another one in each epoch.
    left = {tuple(set(ROWS.tolist()) - set(Order(ROWS, 3, 0, True).epoch(epoch)[0].tolist())) for epoch in range(20)}
    assert len(left) > 3


def test_one_row_alone_is_shown() -> None:
    assert len(Order(ROWS[:1], 3, seed=0, shuffle=True)) == 1
    assert len(Order(ROWS, 1, seed=0, shuffle=True)) == 10


def test_drop_last_leaves_the_rest_out() -> None:
    order = Order(ROWS, 4, seed=0, shuffle=False, drop_last=True)
    assert len(order) == 2
    assert order.epoch(0)[0].tolist() == ROWS[:8].tolist()
    assert len(Order(ROWS[:3], 4, seed=0, shuffle=True, drop_last=True)) == 0


@given(count=st.integers(1, 12), batch_size=st.integers(1, 9), steps=st.integers(1, 7), seed=st.integers(0, 5))
def test_fixed_steps_are_full_batches_of_one_endless_stream(count: int, batch_size: int, steps: int, seed: int) -> None:
    order = Order(np.arange(count), batch_size, seed, shuffle=True, steps=steps)
    assert len(order) == steps
    epochs = [order.epoch(epoch) for epoch in range(4)]
    assert all(len(rows) == len(passes) == steps * batch_size for rows, passes in epochs)
    stream = torch.cat([rows for rows, _ in epochs])
    numbers = torch.cat([passes for _, passes in epochs])
    assert numbers.tolist() == [place // count for place in range(len(stream))]
    for number in range(len(stream) // count):
        assert stream[number * count : (number + 1) * count].tolist() == permutation(count, seed, number).tolist()
