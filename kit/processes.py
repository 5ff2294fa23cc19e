"""Processes that work for another one, and end when it ends."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

FEW = 100  # items that one process has finished before others have started


def map_on_every_core(function: Callable, items: Sequence) -> Iterator:
    """Yields what a function makes of each item, in their order.

    Few items are left to this process.  The others are shared among processes
    with one thread each, since matrix products of several threads may be
    rounded in another way.

    Args:
        function: Of one item; like the items, something that can be pickled.
        items: What it is called with.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    cores = Parallel(1 if len(items) < FEW else -1, return_as="generator")
    call = partial(_call, os.getpid(), function)
    with threadpool_limits(1):
        yield from cores(map(delayed(call), items))


def _call(parent, function, item):
    if os.getpid() != parent:
        end_with(parent)
    return function(item)


@cache
def end_with(parent: int) -> None:
    """Has this process end within seconds of its parent, however that ends.

    Args:
        parent: The number of the process that began this one.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
