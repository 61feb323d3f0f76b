"""Run an iterator ahead of its consumer in a thread."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    """The last thing in the queue: why the source ended."""

    error: BaseException | None = None


def prefetched(source: Iterator[Item], depth: int) -> Generator[Item, None, None]:
    """Yield what `source` yields, up to `depth` items ahead.

    What `source` raises is raised here, after the items before it. When the consumer stops early, by an exception,
    Ctrl-C or ``close()``, the thread is told, finishes the item in hand and is joined.

    Args:
        source: read in the thread only, from the first `next` on.
        depth: items that may wait, at least 1.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, not at least 1")
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def read() -> None:
        try:
            for item in source:
                if stopped.is_set():
                    break
                waiting.put(item)
            waiting.put(_End())
        except BaseException as error:
            waiting.put(_End(error))

    thread = threading.Thread(target=read, name="mmdistill-prefetch", daemon=True)
    thread.start()
    ended = False
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                ended = True
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        # While the interpreter shuts down, daemon threads no longer run and nothing would ever arrive.
        if not sys.is_finalizing():
            while not ended and thread.is_alive():
                with contextlib.suppress(queue.Empty):
                    ended = isinstance(waiting.get(timeout=0.1), _End)
            thread.join()
