"""One-hot codes among the columns: which indicators belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from adaptive_vq._arrays import Floats, Ints

__all__ = ["one_hot_codes"]

_NONE_OF_THEM = 0.05
"""Share of the rows that may have none of a code's values, since rare ones have been left out."""
_SEEN = 3.0
"""Correlations of so many standard errors, on average, tell a clustering what belongs together."""
_ROWS_PER_COLUMN = 5
"""Of fewer rows some combination of unrelated columns would have next to no variance by chance."""
_IN_A_SUM = 0.5
"""A column of a sum that is 1 in every row has a coefficient of 1 there; its square over the sum of
all variances, which is less than 1, is more than 1, and that of other columns is 0."""
_SAME_SUM = 0.5
"""Between columns of one sum the cosine of their projections is 1, between those of others 0."""


def one_hot_codes(Z: NDArray[np.float32], weight: Floats | None = None) -> list[Ints]:
    """Groups of two-valued columns of which each row has one set, that correlations do not show.

    The more values a code has the less do its indicators correlate: by -1 / 59 where it has 60, no
    more than chance makes unrelated columns of 3,500 rows do. But their sum is the same in every
    row. Such directions without variance span a space, and the projection on it has an entry other
    than 0 only where two columns are in one sum.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        In any units.
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    list of ndarray of int64
        Positions of the columns of each code. Those with few values are left out: their indicators
        correlate enough for a clustering.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._indicators import one_hot_codes
    >>> rng = np.random.default_rng(0)
    >>> codes = [np.eye(k)[rng.integers(k, size=500)] for k in (3, 30, 20)]
    >>> Z = np.hstack([*codes, rng.normal(size=(500, 2))]).astype(np.float32)
    >>> [(int(code.min()), int(code.max()), len(code)) for code in one_hot_codes(Z)]
    [(3, 32, 30), (33, 52, 20)]
    """
    if weight is not None:
        Z, weight = Z[weight > 0], weight[weight > 0]
    columns = _two_valued(Z)
    if not len(columns) or len(Z) < _ROWS_PER_COLUMN * len(columns):
        return []
    shares = np.ones(len(Z)) if weight is None else weight
    shares = shares / shares.sum()
    rows = (Z[:, columns] > Z[:, columns].min(axis=0)).astype(np.float64)
    mean = shares @ rows
    spread = mean * (1.0 - mean)
    rows = (rows - mean) / np.sqrt(spread)
    r = (rows.T * shares) @ rows
    values, vectors = np.linalg.eigh(r)
    space = vectors[:, values < _NONE_OF_THEM]
    if not space.shape[1]:
        return []
    projection = space @ space.T
    in_a_sum = np.flatnonzero(projection.diagonal() > _IN_A_SUM * spread)
    part = projection.diagonal()[in_a_sum]
    cosine = np.abs(projection[np.ix_(in_a_sum, in_a_sum)]) / np.sqrt(np.outer(part, part))
    _, label = connected_components(cosine > _SAME_SUM, directed=False)
    groups = [in_a_sum[label == k] for k in np.unique(label)]
    seen = _SEEN * float(np.sqrt(shares @ shares))
    return [columns[group] for group in groups if _mean_correlation(r, group) < seen]


def _mean_correlation(r: Floats, group: Ints) -> float:
    """Mean absolute correlation of different columns of a group; 1 for a single one."""
    n = len(group)
    strength = np.abs(r[np.ix_(group, group)])
    return float((strength.sum() - n) / (n * (n - 1))) if n > 1 else 1.0


def _two_valued(Z: NDArray[np.float32]) -> Ints:
    """Columns that take two values."""
    low, high = Z.min(axis=0), Z.max(axis=0)
    between = ((low < Z) & (high > Z)).any(axis=0)
    return np.flatnonzero((low < high) & ~between)
