"""Independent work side by side, in as many threads as torch has outside of it (torch only).

Operations of torch that share their work out add up in another order with another number of
threads. Where results are to be the same bits everywhere each takes one thread, and the threads
take different pieces of work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

R = TypeVar("R")

_here = threading.local()


class _Share:
    """Threads for each of several pieces of work; what ends early leaves its own to the others."""

    def __init__(self, workers: int, at_a_time: int, n_pieces: int) -> None:
        self._lock = threading.Lock()
        self._workers, self._busy, self._left = workers, at_a_time, n_pieces

    def number(self) -> int:
        return max(1, self._workers // self._busy)

    def done(self) -> None:
        with self._lock:
            self._left -= 1
            self._busy = max(1, min(self._busy, self._left))


class _Outside:
    """Number of torch's threads before the first of the present users of `one_thread_each`."""

    def __init__(self) -> None:
        self._lock, self._n_users, self._number = threading.Lock(), 0, 0

    def number(self) -> int:
        """Return it; torch's own would be 1 in a thread that starts now."""
        with self._lock:
            return self._number if self._n_users else torch.get_num_threads()

    def enter(self) -> int:
        with self._lock:
            if self._n_users == 0:
                self._number = torch.get_num_threads()
            self._n_users += 1
            return self._number

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1


_outside = _Outside()


def n_workers() -> int:
    """Threads that what this thread does may be shared out to: as many as torch has, unless set."""
    own: _Share | None = getattr(_here, "share", None)
    return _outside.number() if own is None else own.number()


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
    if getattr(_here, "share", None) is not None:  # a thread that has been given one already
        yield
        return
    n_threads = _outside.enter()
    try:
        _start(_Share(n_threads, 1, 1))
        yield
    finally:
        _here.share = None
        _outside.leave()
        torch.set_num_threads(n_threads)


def _start(share: _Share) -> None:
    torch.get_num_threads()  # or the first operation sets the number of all threads once more
    torch.set_num_threads(1)
    _here.share = share


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
        Whether threads without an item, from the start or once none is left, are left to what the
        others share out in turn.

    Returns
    -------
    list
        What the function returned, in the order of the items.
    """
    calls, workers = list(zip(*items, strict=True)), n_workers()
    at_a_time = min(workers, len(calls))
    n_threads = workers if getattr(_here, "share", None) is None else 1
    if at_a_time == 0 or (at_a_time == 1 and (split or n_threads == 1)):
        return [function(*call) for call in calls]
    share = _Share(workers if split else 1, at_a_time, len(calls))

    def piece(call: tuple[Any, ...]) -> R:
        try:
            return function(*call)
        finally:
            share.done()

    try:
        with ThreadPoolExecutor(at_a_time, initializer=_start, initargs=(share,)) as pool:
            return list(pool.map(piece, calls))
    finally:
        # The workers' number is what threads to come would start with.
        torch.set_num_threads(n_threads)


def until(
    enough: Callable[[list[R]], bool], function: Callable[..., R], items: Sequence[Any]
) -> list[R]:
    """Apply a function to items one after the other, until what it returned so far is enough.

    As many at a time as there are threads; what comes after enough is dropped, so that their number
    does not matter.

    Examples
    --------
    >>> from adaptive_vq._parallel import until
    >>> until(lambda found: sum(found) > 4, lambda x: x * x, [1, 2, 3, 4])
    [1, 4]
    """
    found: list[R] = []
    while len(found) < len(items):
        for result in each(function, items[len(found) : len(found) + n_workers()], split=True):
            found.append(result)
            if enough(found):
                return found
    return found
