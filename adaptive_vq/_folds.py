"""Rows kept aside more than once, where one part of them would be too few to judge by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENOUGH_JUDGED", "MOST_FOLDS", "Race", "folds"]

ENOUGH_JUDGED = 600
"""Rows kept aside, over all folds, from which errors of two codecs can be told apart."""
MOST_FOLDS = 4

Index = NDArray[np.int64]


def folds(order: Index, n_valid: int, most: int = MOST_FOLDS) -> Iterator[tuple[Index, Index]]:
    """Split rows into those to fit on and those kept aside, again and again while these are few.

    Parameters
    ----------
    order : ndarray of int of shape (n,)
        Rows, shuffled.
    n_valid : int
        Rows kept aside at a time, less than n.
    most : int, default=4
        Folds at most.

    Yields
    ------
    fit, valid : ndarray of int
        Rows to fit on, rows kept aside: no row is kept aside twice. One fold where `n_valid` rows
        are enough to judge by, else as many as that takes, at most `most`.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._folds import folds
    >>> [(fit.tolist(), valid.tolist()) for fit, valid in folds(np.arange(4), 2)]
    [([2, 3], [0, 1]), ([0, 1], [2, 3])]
    """
    wanted = -(-ENOUGH_JUDGED // n_valid)
    for i in range(max(1, min(wanted, most, len(order) // n_valid))):
        valid = slice(i * n_valid, (i + 1) * n_valid)
        yield np.delete(order, valid), order[valid]


class Race:
    """Summed errors over folds, of which those that are worse half-way do not see the others.

    Their error is that of the best one times what they are worse by so far.

    Parameters
    ----------
    n_folds : int

    Examples
    --------
    >>> from adaptive_vq._folds import Race
    >>> race = Race(4)
    >>> race.error(lambda folds: 2.0 * len(folds)), race.error(lambda folds: 1.0 * len(folds))
    (8.0, 4.0)
    >>> race.error(lambda folds: 3.0 if 0 in folds else 1 / 0)
    6.0
    """

    def __init__(self, n_folds: int) -> None:
        half = (n_folds + 1) // 2
        self._first, self._others = range(half), range(half, n_folds)
        self._best = math.inf, math.inf

    def error(self, of: Callable[[Sequence[int]], float]) -> float:
        """Summed error of one contestant, by its summed error on some folds."""
        first, (half_way, least) = of(self._first), self._best
        if first >= half_way > 0.0:
            return least * first / half_way
        every = first + (of(self._others) if self._others else 0.0)
        if every < least:
            self._best = first, every
        return every
