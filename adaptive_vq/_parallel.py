"""Independent work side by side, in as many threads as torch has (torch only)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

R = TypeVar("R")


def each(function: Callable[..., R], *items: Iterable[Any], split: bool = False) -> list[R]:
    """Apply a function to items as `map` does, some at a time; results are in their order.

    Parameters
    ----------
    function : callable
        May not depend on the other items. Most of its time is to be spent in torch or numpy, which
        let other threads work.
    *items : iterables of the same length
        One for each argument.
    split : bool, default=False
        Whether threads without an item of their own help inside the others. Without it there is one
        thread inside each, so that the arithmetic does not depend on the number of threads.

    Returns
    -------
    list
        What the function returned, in the order of the items.
    """
    calls, n_threads = list(zip(*items, strict=True)), torch.get_num_threads()
    n_workers = min(n_threads, len(calls))
    if n_threads == 1 or n_workers == 0 or (split and n_workers == 1):
        return [function(*call) for call in calls]
    inside = n_threads // n_workers if split else 1
    try:
        with ThreadPoolExecutor(
            n_workers, initializer=torch.set_num_threads, initargs=(inside,)
        ) as pool:
            return list(pool.map(lambda call: function(*call), calls))
    finally:
        # The workers' number is what threads to come would start with.
        torch.set_num_threads(n_threads)
