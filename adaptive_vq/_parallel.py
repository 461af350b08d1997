"""Independent work side by side, in as many threads as torch has (torch only)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def each(function: Callable[[T], R], items: Iterable[T], *, split: bool = False) -> list[R]:
    """Apply a function to items, some at a time, and return the results in their order.

    Parameters
    ----------
    function : callable
        May not depend on the other items. Most of its time is to be spent in torch or numpy, which
        let other threads work.
    items : iterable
    split : bool, default=False
        Whether threads without an item of their own help inside the others. Without it there is one
        thread inside each, so that the arithmetic does not depend on the number of threads.

    Returns
    -------
    list
        What the function returned, in the order of the items.
    """
    items, n_threads = list(items), torch.get_num_threads()
    n_workers = min(n_threads, len(items))
    if n_threads == 1 or (split and n_workers < 2):
        return [function(item) for item in items]
    inside = n_threads // n_workers if split and n_workers else 1
    try:
        with ThreadPoolExecutor(
            max(n_workers, 1), initializer=torch.set_num_threads, initargs=(inside,)
        ) as pool:
            return list(pool.map(function, items))
    finally:
        # The workers' number is what threads to come would start with.
        torch.set_num_threads(n_threads)
