"""What rows cost that are like none before, where columns take few values (numpy, scipy)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from adaptive_vq.spectra import bits_to_tell, may_be_exact, row_items

__all__ = ["NewValues", "are_known", "novel_error"]

Rows = NDArray[np.float32]


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
    _, first, index, count = np.unique(
        row_items(rows), return_index=True, return_inverse=True, return_counts=True
    )
    if bits_to_tell(len(first), float(weight.sum())) is None:
        return None
    if (weight == np.rint(weight)).all():
        count = np.bincount(index.ravel(), weight)
    distance = cdist(rows[first], rows[first], "sqeuclidean")
    np.fill_diagonal(distance, np.inf)
    # A single row, or all alike: nothing says what another one would cost.
    once = (count == 1) & (len(first) > 1)
    cost = np.where(once, distance.min(1), 0.0)[index]
    return float(np.average(cost, weights=weight))


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
