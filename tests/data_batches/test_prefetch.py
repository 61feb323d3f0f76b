"""Reading ahead in a thread: same items, errors where they belong, and no thread left behind."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from mmdistill.data.prefetch import prefetched


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mmdistill-prefetch"]


def test_the_items_come_in_order_and_the_thread_ends() -> None:
    assert list(prefetched(iter(range(50)), 3)) == list(range(50))
    assert list(prefetched(iter(()), 1)) == []
    assert threads() == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        for item in prefetched(source(), 4):
            seen.append(item)  # noqa: PERF402 - what came before the error is the point
    assert seen == [1, 2]
    assert threads() == []


def test_no_more_than_the_depth_is_read_ahead() -> None:
    read = []

    def source() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    ahead = prefetched(source(), 3)
    next(ahead)
    time.sleep(0.1)
    assert len(read) <= 1 + 3 + 1  # given out, waiting, and in hand
    ahead.close()


@pytest.mark.parametrize("leave", [KeyboardInterrupt, RuntimeError])
def test_the_thread_ends_when_the_consumer_leaves_by_an_exception(leave: type[BaseException]) -> None:
    def consume() -> None:
        for item in prefetched(iter(range(10_000)), 2):
            if item == 5:
                raise leave

    with pytest.raises(leave):
        consume()
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == []


def test_closing_an_unread_or_half_read_iterator_joins_the_thread() -> None:
    unread = prefetched(iter(range(10)), 2)
    unread.close()
    half_read = prefetched(iter(range(10_000)), 2)
    next(half_read)
    half_read.close()
    assert threads() == []


def test_a_program_that_forgets_an_iterator_ends() -> None:
    program = (
        "import itertools\nfrom mmdistill.data.prefetch import prefetched\n"
        "forgotten = prefetched(itertools.count(), 2)\nprint(next(forgotten))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


def test_a_depth_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="depth"):
        list(prefetched(iter(range(3)), 0))
