"""Independent work side by side, in as many threads as torch has (torch only).

Operations of torch that share their work out add up in another order with another number of
threads. Where results are to be the same bits everywhere each takes one thread, and the threads
take different pieces of work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

R = TypeVar("R")

_here = threading.local()


def n_workers() -> int:
    """Threads that what this thread does may be shared out to: as many as torch has, unless set."""
    own: int | None = getattr(_here, "workers", None)
    return own or torch.get_num_threads()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let an operation of torch take one thread; `each` shares out as many as there were.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._parallel import n_workers, one_thread_each
    >>> before = torch.get_num_threads()
    >>> with one_thread_each():
    ...     torch.get_num_threads(), n_workers() == before
    (1, True)
    """
    workers, own, n_threads = n_workers(), getattr(_here, "workers", None), torch.get_num_threads()
    try:
        _start(workers)
        yield
    finally:
        _here.workers = own
        torch.set_num_threads(n_threads)


def _start(workers: int) -> None:
    torch.set_num_threads(1)
    _here.workers = workers


def each(function: Callable[..., R], *items: Iterable[Any], split: bool = False) -> list[R]:
    """Apply a function to items as `map` does, some at a time; results are in their order.

    Of several at a time each works with one thread of torch.

    Parameters
    ----------
    function : callable
        May not depend on the other items. Most of its time is to be spent in torch or numpy, which
        let other threads work.
    *items : iterables of the same length
        One for each argument.
    split : bool, default=False
        Whether threads without an item of their own are left to what the others share out in turn.

    Returns
    -------
    list
        What the function returned, in the order of the items.
    """
    calls, n_threads, workers = list(zip(*items, strict=True)), torch.get_num_threads(), n_workers()
    at_a_time = min(workers, len(calls))
    if at_a_time == 0 or (at_a_time == 1 and (split or n_threads == 1)):
        return [function(*call) for call in calls]
    inside = workers // at_a_time if split else 1
    try:
        with ThreadPoolExecutor(at_a_time, initializer=_start, initargs=(inside,)) as pool:
            return list(pool.map(lambda call: function(*call), calls))
    finally:
        # The workers' number is what threads to come would start with.
        torch.set_num_threads(n_threads)
