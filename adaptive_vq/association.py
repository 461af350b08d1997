"""How much every column of a table has to do with every other one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from adaptive_vq._arrays import Bools, Floats, Ints
from adaptive_vq._statistics import column_quantiles

__all__ = ["Crossing", "correlation_matrix", "standardized", "sums"]

#: A normalized mutual information matrix is dense in columns x bins; beyond this it is refused.
MAX_INFORMATION_COLUMNS = 300
#: Two columns seen together in fewer rows than this count as uncorrelated.
MIN_COMMON_ROWS = 3
#: From so many on no square of all columns is made beside the result, or none at all.
MANY_COLUMNS = 2048
_COLUMNS_AT_ONCE = 512


def correlation_matrix(
    X: npt.ArrayLike, method: str = "pearson", sample_weight: Floats | None = None
) -> Floats:
    """Association of every column with every other one.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        NaN marks a missing cell. Every pair of columns is compared over the rows in which both are
        observed, and counts as unrelated if these are fewer than three.
    method : {"pearson", "spearman", "mutual_information"}, default="pearson"
        Linear correlation, correlation of ranks, or mutual information of up to ten quantile bins
        divided by the mean of the two entropies (only up to 300 columns).
    sample_weight : ndarray of shape (n_samples,), default=None
        Positive weights of the rows; 2 is the same as the row twice.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        Values in [-1, 1] (mutual information: [0, 1]), ones on the diagonal, zeros where a column
        is constant.

    Raises
    ------
    ValueError
        If mutual information is asked for more than 300 columns.

    Examples
    --------
    >>> from adaptive_vq.association import correlation_matrix
    >>> correlation_matrix([[0, 5], [1, 3], [2, 1]]).round(6).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    X = np.asarray(X, dtype=np.float64)
    if method == "mutual_information":
        association = _mutual_information(X, sample_weight)
    elif method == "spearman":
        association = _pearson(_ranks(X, sample_weight), sample_weight)
    else:
        association = _pearson(X, sample_weight)
    np.fill_diagonal(association, 1.0)
    return association


def _gram(A: Floats, B: Floats, weight: Floats | None) -> Floats:
    """Sums over the rows of products of a column of `A` with one of `B`."""
    return A.T @ B if weight is None else (A * weight[:, None]).T @ B


def sums(A: npt.NDArray[Any], weight: Floats | None) -> Floats:
    """Sums over rows, weighted if there are weights.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    ndarray of shape (n_features,), float64
    """
    return np.asarray(A.sum(axis=0) if weight is None else weight @ A, dtype=np.float64)


def _ranks(X: Floats, weight: Floats | None) -> Floats:
    """Ranks within each column, the middle one for ties; with weights, up to a constant."""
    if weight is None:
        return np.asarray(rankdata(X, axis=0, nan_policy="omit"))
    ranks = np.full(X.shape, np.nan)
    for j, column in enumerate(X.T):
        seen = ~np.isnan(column)
        _, place = np.unique(column[seen], return_inverse=True)
        mass = np.bincount(place, weights=weight[seen])
        ranks[seen, j] = (np.cumsum(mass) - mass / 2)[place]
    return ranks


def _pearson(X: Floats, weight: Floats | None) -> Floats:
    observed = ~np.isnan(X)
    Z = standardized(X, observed, weight)
    if observed.all():
        total = max(1, len(Z)) if weight is None else weight.sum()
        r = _gram(Z, Z, weight)
        r /= total  # in place, here as below: of many columns every copy is large
    elif Z.shape[1] < MANY_COLUMNS:
        seen = observed.astype(np.float64)
        r = _pairwise_pearson(Z, seen, Z, seen, weight)
    else:
        r = _pairwise_in_parts(Z, observed.astype(np.float64), weight)
    return np.clip(r, -1, 1, out=r)


def _pairwise_in_parts(Z: Floats, seen: Floats, weight: Floats | None) -> Floats:
    """Some columns at a time: what is counted beside the result is several times as large."""
    r = np.empty((Z.shape[1], Z.shape[1]))
    for start in range(0, len(r), _COLUMNS_AT_ONCE):
        some = slice(start, start + _COLUMNS_AT_ONCE)
        block = _pairwise_pearson(Z[:, some], seen[:, some], Z[:, start:], seen[:, start:], weight)
        r[some, start:], r[start:, some] = block, block.T
    return r


class Crossing:
    """Correlations between some columns and others, for tables too wide for all at once.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN marks a missing cell.
    weight : ndarray of shape (n_samples,) or None
        Positive weights of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.association import Crossing
    >>> X = np.array([[0.0, 5.0, 1.0], [1.0, 3.0, 0.0], [2.0, 1.0, 0.0]])
    >>> round(Crossing(X, None).mean_strength(np.array([0]), np.array([1])), 6)
    1.0
    """

    def __init__(self, X: Floats, weight: Floats | None) -> None:
        observed = ~np.isnan(X)
        self._Z, self._weight = standardized(X, observed, weight), weight
        self._seen = None if observed.all() else observed

    def mean_strength(self, first: Ints, second: Ints) -> float:
        """Mean absolute correlation of two groups of columns that have none in common.

        Parameters
        ----------
        first, second : ndarray of int64
            Column positions.

        Returns
        -------
        float
        """
        total = 0.0
        for a in _parts(first):
            for b in _parts(second):
                total += float(np.abs(self._between(a, b)).sum())
        return total / (len(first) * len(second))

    def _between(self, a: Ints, b: Ints) -> Floats:
        A, B = self._Z[:, a], self._Z[:, b]
        if self._seen is not None:
            seen = [self._seen[:, c].astype(np.float64) for c in (a, b)]
            return np.clip(_pairwise_pearson(A, seen[0], B, seen[1], self._weight), -1, 1)
        total = max(1, len(A)) if self._weight is None else self._weight.sum()
        return np.clip(_gram(A, B, self._weight) / total, -1, 1)


def _parts(columns: Ints) -> list[Ints]:
    return np.split(columns, range(_COLUMNS_AT_ONCE, len(columns), _COLUMNS_AT_ONCE))


def standardized(X: Floats, observed: Bools, weight: Floats | None) -> Floats:
    """Center and scale by the observed cells; missing cells and constant columns become zero.

    Parameters
    ----------
    X, observed : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    ndarray of shape (n_samples, n_features)
    """
    counts = sums(observed, weight)
    counts = np.where(counts > 0, counts, 1.0)
    filled = np.where(observed, X, 0.0)
    # Dividing by the largest value first keeps squares of huge cells finite.
    largest = np.abs(filled).max(axis=0, initial=0.0)
    filled /= np.where(largest > 0, largest, 1.0)
    mean = sums(filled, weight) / counts
    Z = np.where(observed, filled - mean, 0.0)
    std = np.sqrt(sums(Z**2, weight) / counts)
    varies = std > 1e-10
    Z[:, ~varies] = 0.0
    return Z / np.where(varies, std, 1.0)


def _pairwise_pearson(
    A: Floats,
    seen_a: Floats,
    B: Floats,
    seen_b: Floats,
    weight: Floats | None,
) -> Floats:
    """Correlations of the columns of `A` with those of `B`, over the rows that both are seen in."""
    common = _gram(seen_a, seen_b, weight)
    usable = common >= MIN_COMMON_ROWS
    common = np.where(common > 0, common, 1.0)
    # [i, j]: of column i of A over the rows in which j of B is observed, and the other way round
    sums_a = _gram(A, seen_b, weight)
    sums_b = sums_a.T if A is B else _gram(seen_a, B, weight)
    spread_a = np.maximum(_gram(A**2, seen_b, weight) - sums_a**2 / common, 0)
    if A is B:
        spread_b = spread_a.T
    else:
        spread_b = np.maximum(_gram(seen_a, B**2, weight) - sums_b**2 / common, 0)
    product = _gram(A, B, weight) - sums_a * sums_b / common
    scale = np.sqrt(spread_a * spread_b)
    # Columns have unit spread per row, so anything far below is a constant over the common rows.
    known = usable & (scale > 1e-9 * common)
    return np.where(known, product / np.where(known, scale, 1.0), 0.0)


def _mutual_information(X: Floats, weight: Floats | None) -> Floats:
    n, d = X.shape
    if d > MAX_INFORMATION_COLUMNS:
        raise ValueError(
            f"correlation='mutual_information' is for tables of up to {MAX_INFORMATION_COLUMNS} "
            f"columns; X has {d}. Use 'spearman' or 'pearson'."
        )
    n_rows = n if weight is None else weight.sum()
    n_bins = int(np.clip(np.sqrt(n_rows / 5), 2, 10))
    # A missing cell sets no indicator, so a pair's table holds its common rows only.
    indicators = np.concatenate(
        [_bin_indicators(X[:, j], n_bins, weight) for j in range(d)], axis=1
    )
    joint = (
        _gram(indicators, indicators, weight).reshape(d, n_bins, d, n_bins).transpose(0, 2, 1, 3)
    )
    total = np.maximum(joint.sum(axis=(2, 3)), 1)
    joint = joint / total[:, :, None, None]
    rows, columns = _entropy(joint.sum(axis=3)), _entropy(joint.sum(axis=2))
    information = rows + columns - _entropy(joint.reshape(d, d, -1))
    scale = (rows + columns) / 2
    usable = (scale > 1e-12) & (total >= MIN_COMMON_ROWS)
    return np.clip(np.where(usable, information / np.where(usable, scale, 1.0), 0.0), 0, 1)


def _bin_indicators(x: Floats, n_bins: int, weight: Floats | None) -> Floats:
    observed = ~np.isnan(x)
    indicators = np.zeros((len(x), n_bins))
    if observed.any():
        quantiles = column_quantiles(x[:, None], weight, np.arange(1, n_bins) / n_bins)
        edges, times = np.unique(quantiles, return_counts=True)
        # A value that fills bins, or the upper end, does not share one with the rare ones below it.
        alone = edges[(times > 1) | (edges == np.nanmax(x))]
        edges = np.union1d(edges, np.nextafter(alone, -np.inf))
        bins = np.searchsorted(edges, x[observed], side="left")
        indicators[np.flatnonzero(observed), bins] = 1.0
    return indicators


def _entropy(p: Floats) -> Floats:
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=2)
