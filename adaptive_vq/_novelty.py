"""What rows cost that are like none before, where columns take few values (numpy, scipy)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from adaptive_vq.spectra import bits_to_tell, may_be_exact, row_items

__all__ = ["NewValues", "are_known", "novel_error", "surprise_error"]

Rows = NDArray[np.float32]

_LOST = 0.1
"""Prior of `surprise_error`."""
_MOSTLY_NEW = 0.5
"""Share of rows that came once from which new ones are no surprise."""
_MOST_COMPARED = 256
"""Rows that are compared with all others to see what one of their kind costs."""


def novel_error(rows: Rows, weight: NDArray[np.float64]) -> float | None:
    """Squared error per row to be expected of rows that equal none before.

    Rows of few values repeat each other, but for now and then one that comes for the first time.
    It costs its distance to the nearest of those before, which may be more than all others
    together. A few hundred rows kept aside seldom have one. All rows tell more of it: those that
    came once would have been new, had they come last. (Their share estimates how much is unseen:
    Good, 1953, "The population frequencies of species and the estimation of population
    parameters".)

    Parameters
    ----------
    rows : ndarray of shape (n, k)
    weight : ndarray of shape (n,)
        Rows without weight do not count; one of weight 2 came twice, where all are whole numbers.

    Returns
    -------
    float or None
        None where rows do not repeat each other often enough for `exact_bits`: many of those kept
        aside are new then and tell enough, and further codebooks may make good what they cost.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._novelty import novel_error
    >>> novel_error(np.float32([[0.0]] * 39 + [[4.0]]), np.ones(40))
    0.4
    """
    rows, weight = rows[weight > 0], weight[weight > 0]
    if len(rows) == 0 or not may_be_exact(rows):
        return None
    first, index, once = _that_came_once(rows, weight)
    if bits_to_tell(len(first), float(weight.sum())) is None:
        return None
    distance = cdist(rows[first], rows[first], "sqeuclidean")
    np.fill_diagonal(distance, np.inf)
    # A single row, or all alike: nothing says what another one would cost.
    cost = np.where(once & (len(first) > 1), distance.min(1), 0.0)[index]
    return float(np.average(cost, weights=weight))


def surprise_error(rows: Rows, weight: NDArray[np.float64], n_judged: int) -> float:
    """Squared error per row to be expected of new rows that are lost, though none has been yet.

    Where rows mostly repeat others but are too many for `novel_error`, rows that are new to a
    codec are rarely lost: further codebooks make good what the first one lacks. That none of those
    kept aside was lost does not mean that none will be, and one may cost more than all others
    together. Of m new ones among them, none lost, the next is with probability a / (m + 1 + a) if
    the share that is lost has the prior Beta(a, 1) (Laplace's rule of succession for a = 1); one
    that is lost costs its distance to the nearest of the others. The prior was chosen on one table
    of a thousand rows: it puts the share at a tenth at first.

    Parameters
    ----------
    rows, weight
        As of `novel_error`.
    n_judged : int
        Rows that have been kept aside.

    Returns
    -------
    float
        0 where most rows are like no other: what is new to a codec is then the rule, not what
        surprises it.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._novelty import surprise_error
    >>> rows = np.float32([[0.0]] * 39 + [[4.0]])
    >>> round(surprise_error(rows, np.ones(40), 40), 3)
    0.019
    """
    rows, weight = rows[weight > 0], weight[weight > 0]
    if len(rows) == 0:
        return 0.0
    first, _, once = _that_came_once(rows, weight)
    alone = np.sort(first[once])
    share = float(weight[alone].sum() / weight.sum())
    if not 0.0 < share <= _MOSTLY_NEW or len(first) < 2:
        return 0.0
    some = alone[:_MOST_COMPARED]
    distance = cdist(rows[some], rows[first], "sqeuclidean")
    distance[some[:, None] == first] = np.inf
    cost = float(np.average(distance.min(1), weights=weight[some]))
    lost = _LOST / (share * n_judged + 1.0 + _LOST)
    return share * cost * lost


def _that_came_once(
    rows: Rows, weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Places of distinct rows, which of them every row equals, and whether no other row does."""
    _, first, index, count = np.unique(
        row_items(rows), return_index=True, return_inverse=True, return_counts=True
    )
    index = index.ravel()
    if (weight == np.rint(weight)).all():
        count = np.bincount(index, weight)
    return first, index, count == 1


class NewValues:
    """What values cost that are new to columns of few: new to all sets with such a column as well.

    Parameters
    ----------
    rows_of : callable
        From columns to all rows in these, of shape (n, k), and the weights of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._novelty import NewValues
    >>> Z = np.float32([[0.0, i] for i in range(39)] + [[4.0, 39.0]])
    >>> NewValues(lambda columns: (Z[:, columns], np.ones(40))).error([0, 1])
    0.4
    """

    def __init__(self, rows_of: Callable[[list[int]], tuple[Rows, NDArray[np.float64]]]) -> None:
        self._error = cache(lambda column: novel_error(*rows_of([column])) or 0.0)

    def error(self, columns: Iterable[int]) -> float:
        """Squared error per row to be expected of them."""
        return sum(map(self._error, columns))


def are_known(rows: Rows, before: Rows) -> NDArray[np.bool_]:
    """Whether each row equals one of those before.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._novelty import are_known
    >>> are_known(np.float32([[1.0], [2.0]]), np.float32([[2.0], [3.0]])).tolist()
    [False, True]
    """
    return np.isin(row_items(rows), row_items(before))
