"""Independent work side by side, in as many threads as torch has outside of it (torch only).

Operations of torch that share their work out add up in another order with another number of
threads. Where results are to be the same bits everywhere each takes one thread, and the threads
take different pieces of work.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

R = TypeVar("R")

_MOST_WAITING = 64
"""Threads that wait for further work; more than that end with theirs."""

_SWITCHING = 1e-4
"""Seconds after which Python is to let another thread go on. Between operations of torch a thread
needs the interpreter for microseconds only; by Python's own 5 ms it may wait for far longer than
its operation takes, while another one takes the interpreter back each time."""

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
    """Number of torch's threads before the first of the present users of `one_thread_each`.

    Where there are several, Python switches between threads more often until the last one leaves.
    And new tensors are float32 until then, whatever torch makes of numbers outside: rows are.
    """

    def __init__(self) -> None:
        self._lock, self._n_users, self._number = threading.Lock(), 0, 0
        self._interval = self._shorter = 0.0
        self._dtype = torch.float32

    def number(self) -> int:
        """Return it; torch's own would be 1 in a thread that starts now."""
        with self._lock:
            return self._number if self._n_users else torch.get_num_threads()

    def enter(self) -> int:
        with self._lock:
            if self._n_users == 0:
                self._number = torch.get_num_threads()
                self._interval = sys.getswitchinterval()
                if self._number > 1:
                    sys.setswitchinterval(min(self._interval, _SWITCHING))
                self._shorter = sys.getswitchinterval()
                self._dtype = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._n_users += 1
            return self._number

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users:
                return
            # What has been set in the meantime stays.
            if sys.getswitchinterval() == self._shorter:
                sys.setswitchinterval(self._interval)
            if torch.get_default_dtype() == torch.float32:
                torch.set_default_dtype(self._dtype)


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


class _Helpers:
    """Threads that wait for work. Most pieces take less time than a thread takes to start."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew in a process that has been forked: threads stay behind."""
        # One lock for the works too: a thread comes to a work and takes a piece at once.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._offered = deque[_Work[Any]]()
        self._n_free = 0

    def offer(self, work: _Work[Any], n_threads: int) -> None:
        """Let so many threads take part in a work."""
        with self._changed:
            self._offered.extend([work] * n_threads)
            missing = max(0, len(self._offered) - self._n_free)
            self._n_free += missing
            self._changed.notify(n_threads)
        for _ in range(missing):
            begun = threading.Event()
            threading.Thread(target=self._run, args=(begun,), daemon=True).start()
            begun.wait()  # it sets the number of torch's threads, which the caller sets after it

    def withdraw(self, work: _Work[Any]) -> None:
        """Offer a work no longer to threads that have not come to it."""
        with self._changed:
            self._offered = deque(other for other in self._offered if other is not work)

    def _run(self, begun: threading.Event) -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        begun.set()
        while (found := self._next()) is not None:
            work, place = found
            work.take_part(place, self._leave)
            del work, found  # an idle thread would hold what came of it

    def _next(self) -> tuple[_Work[Any], int] | None:
        """Wait for a work with a piece left, and take that; None where others wait enough."""
        with self._changed:
            while self._n_free <= _MOST_WAITING:
                self._changed.wait_for(lambda: self._offered)
                work = self._offered.popleft()
                place = work.taken()
                if place is not None:
                    self._n_free -= 1
                    return work, place
                del work  # as below
            self._n_free -= 1
            return None

    def _leave(self) -> None:
        """Count a thread as free again: on its way to the next work it needs no other beside it."""
        self._n_free += 1


class _Work(Generic[R]):
    """Calls of a function, handed out one by one to all who take part.

    Whoever wants the results takes part too, and waits for nothing but pieces under way: work
    inside of pieces can not come to a standstill, whatever there is of threads.
    """

    def __init__(
        self, function: Callable[..., R], calls: Sequence[tuple[Any, ...]], share: _Share
    ) -> None:
        self._function, self._calls, self._share = function, calls, share
        self._next = self._under_way = 0
        self._changed = threading.Condition(_helpers.lock)
        self._results: dict[int, R] = {}
        self._failures: dict[int, BaseException] = {}

    def take_part(self, place: int | None = None, leave: Callable[[], None] | None = None) -> None:
        """Work on what is left, piece by piece, from one on that has been taken.

        `leave` is called before the last one counts as ended.
        """
        before, _here.share = getattr(_here, "share", None), self._share
        place = self.taken() if place is None else place
        try:
            while place is not None:
                self._work_on(place)
                place = self.taken(True, leave)
        finally:
            _here.share = before
            if place is not None:  # an interrupt
                self._give_up()
                self.taken(True, leave)

    def end(self) -> None:
        """Hand out nothing further, and wait for what is under way: nothing goes on unseen."""
        self._give_up()
        try:
            self._wait()
        except BaseException:  # an interrupt
            self._wait()
            raise

    def results(self) -> list[R]:
        """What the pieces gave, once all have ended; the first failure is raised."""
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[place] for place in range(len(self._calls))]

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def _give_up(self) -> None:
        with self._changed:
            self._next = len(self._calls)

    def taken(self, ended: bool = False, leave: Callable[[], None] | None = None) -> int | None:
        """Place of the next piece, if one is left; `ended` says whether one was under way."""
        with self._changed:
            self._under_way -= ended
            if self._next < len(self._calls):
                self._under_way += 1
                self._next += 1
                return self._next - 1
            if leave is not None:
                leave()
            self._changed.notify_all()
            return None

    def _work_on(self, place: int) -> None:
        try:
            self._results[place] = self._function(*self._calls[place])
        except BaseException as failure:  # raised where the results are wanted
            self._failures[place] = failure
            self._give_up()
        finally:
            self._share.done()


_helpers = _Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.forget)


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
    work = _Work(function, calls, _Share(workers if split else 1, at_a_time, len(calls)))
    if n_threads > 1:
        torch.set_num_threads(1)
    try:
        with _offered(work, at_a_time - 1):
            work.take_part()
        return work.results()
    finally:
        # Threads to come would start with the number of the last one that began.
        torch.set_num_threads(n_threads)


@contextmanager
def _offered(work: _Work[Any], n_threads: int) -> Iterator[None]:
    """Let other threads take part in a work until its end."""
    try:
        _helpers.offer(work, n_threads)
        yield
    finally:
        _helpers.withdraw(work)
        work.end()


def beside(aside: Callable[[], Any], function: Callable[[], R]) -> R:
    """Call a function, and another one in the meantime if there is a thread for it.

    Parameters
    ----------
    aside : callable
        Called in another thread, or after the function. What it returns is dropped.
    function : callable
        Called in this thread.

    Returns
    -------
    object
        What the function returned.

    Examples
    --------
    >>> from adaptive_vq._parallel import beside
    >>> found = []
    >>> beside(lambda: found.append(2), lambda: 1), found
    (1, [2])
    """
    own: _Share | None = getattr(_here, "share", None)
    if own is None or own.number() == 1:
        result = function()
        aside()
        return result
    share = _Share(own.number(), 2, 2)
    work = _Work(aside, [()], share)
    try:
        _here.share = share
        with _offered(work, 1):
            result = function()
            share.done()
            work.take_part()
    finally:
        _here.share = own
    work.results()
    return result


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
