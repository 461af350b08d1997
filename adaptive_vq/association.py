"""How much every column of a table has to do with every other one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from adaptive_vq._statistics import column_quantiles

__all__ = ["correlation_matrix", "sums"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A normalized mutual information matrix is dense in columns x bins; beyond this it is refused.
MAX_INFORMATION_COLUMNS = 300
#: Two columns seen together in fewer rows than this count as uncorrelated.
MIN_COMMON_ROWS = 3


def correlation_matrix(
    X: npt.ArrayLike, method: str = "pearson", sample_weight: FloatArray | None = None
) -> FloatArray:
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


def _gram(A: FloatArray, B: FloatArray, weight: FloatArray | None) -> FloatArray:
    """Sums over the rows of products of a column of `A` with one of `B`."""
    return A.T @ B if weight is None else (A * weight[:, None]).T @ B


def sums(A: npt.NDArray[Any], weight: FloatArray | None) -> FloatArray:
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


def _ranks(X: FloatArray, weight: FloatArray | None) -> FloatArray:
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


def _pearson(X: FloatArray, weight: FloatArray | None) -> FloatArray:
    observed = ~np.isnan(X)
    Z = _standardized(X, observed, weight)
    if observed.all():
        total = max(1, len(Z)) if weight is None else weight.sum()
        r = _gram(Z, Z, weight) / total
    else:
        r = _pairwise_pearson(Z, observed.astype(np.float64), weight)
    return np.clip(r, -1, 1)


def _standardized(
    X: FloatArray, observed: npt.NDArray[np.bool_], weight: FloatArray | None
) -> FloatArray:
    """Center and scale by the observed cells; missing cells and constant columns become zero."""
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


def _pairwise_pearson(Z: FloatArray, observed: FloatArray, weight: FloatArray | None) -> FloatArray:
    common = _gram(observed, observed, weight)
    usable = common >= MIN_COMMON_ROWS
    common = np.where(common > 0, common, 1.0)
    sums = _gram(Z, observed, weight)  # [i, j]: of column i over the rows in which j is observed
    spread = np.maximum(_gram(Z**2, observed, weight) - sums**2 / common, 0)
    product = _gram(Z, Z, weight) - sums * sums.T / common
    scale = np.sqrt(spread * spread.T)
    # Columns have unit spread per row, so anything far below is a constant over the common rows.
    known = usable & (scale > 1e-9 * common)
    return np.where(known, product / np.where(known, scale, 1.0), 0.0)


def _mutual_information(X: FloatArray, weight: FloatArray | None) -> FloatArray:
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
    rows, columns = _entropy(joint.sum(axis=3), 2), _entropy(joint.sum(axis=2), 2)
    information = rows + columns - _entropy(joint.reshape(d, d, -1), 2)
    scale = (rows + columns) / 2
    usable = (scale > 1e-12) & (total >= MIN_COMMON_ROWS)
    return np.clip(np.where(usable, information / np.where(usable, scale, 1.0), 0.0), 0, 1)


def _bin_indicators(x: FloatArray, n_bins: int, weight: FloatArray | None) -> FloatArray:
    observed = ~np.isnan(x)
    indicators = np.zeros((len(x), n_bins))
    if observed.any():
        edges = np.unique(column_quantiles(x[:, None], weight, np.arange(1, n_bins) / n_bins))
        bins = np.searchsorted(edges, x[observed], side="left")
        indicators[np.flatnonzero(observed), bins] = 1.0
    return indicators


def _entropy(p: FloatArray, axis: int) -> FloatArray:
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=axis)
