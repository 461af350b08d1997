"""Code figures: how well codebooks are used, what codes cost, and what geometry they keep.

Private home of functions that :mod:`adaptive_vq.metrics` publishes. Nothing here knows an
estimator: arrays (or data frames) in, numbers out.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    check_scalar,
    gen_batches,
)

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._distortion import row_weights

_PAIRS_PER_BATCH = 4096


def _check_codes(codes: ArrayLike) -> tuple[NDArray[Any], list[Any]]:
    """Codes as (n, m) integers, and the columns' names for messages."""
    names = list(getattr(codes, "columns", []))
    if np.ndim(codes) == 1:
        codes = np.asarray(codes)[:, None]
    array = check_array(codes, dtype=None, ensure_min_features=0, input_name="codes")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(
            "codes must be integers (what transform returns with encode='ordinal'); "
            f"got dtype {array.dtype}."
        )
    names = names or list(range(array.shape[1]))
    if array.size and array.min() < 0:
        column = int(np.argmax(array.min(axis=0) < 0))
        raise ValueError(f"codes must not be negative; column {names[column]!r} is.")
    return array, names


def _check_sizes(sizes: ArrayLike) -> Ints:
    array = np.atleast_1d(np.asarray(sizes))
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 1:
        raise ValueError("sizes must be positive integers, one codebook size per code column.")
    return array.astype(np.int64)


def _hits(
    codes: ArrayLike, sizes: ArrayLike, sample_weight: ArrayLike | None = None
) -> list[NDArray[Any]]:
    """How often each codeword of each codebook is used."""
    array, names = _check_codes(codes)
    checked = _check_sizes(sizes)
    if len(checked) != array.shape[1]:
        raise ValueError(
            f"sizes must hold one codebook size per code column; got {len(checked)} sizes "
            f"for {array.shape[1]} columns."
        )
    for name, column, size in zip(names, array.T, checked, strict=True):
        if column.max() >= size:
            raise ValueError(
                f"codes column {name!r} holds {column.max()}, but its codebook has {size} "
                f"codewords (codes 0..{size - 1})."
            )
    weight = None if sample_weight is None else row_weights(sample_weight, len(array))
    return [
        np.bincount(column.astype(np.int64), weight, minlength=size)
        for column, size in zip(array.T, checked, strict=True)
    ]


def codebook_utilization(
    codes: ArrayLike, sizes: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Floats:
    """Share of each codebook's codewords that the given rows use.

    n rows cannot use more than n codewords, so few rows make any codebook look idle.

    Parameters
    ----------
    codes : array-like of int of shape (n, m) or (n,)
        Ordinal codes, one column per codebook.
    sizes : array-like of int of shape (m,)
        Number of codewords of each codebook.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows; one of weight 0 uses nothing.

    Returns
    -------
    ndarray of shape (m,)
        Shares in (0, 1].

    Raises
    ------
    ValueError
        If codes are empty, not integers, negative or not below their codebook's size (naming the
        column), or if `sizes` does not hold one positive integer per column.

    Examples
    --------
    >>> from adaptive_vq.metrics import codebook_utilization
    >>> codebook_utilization([[0, 0], [1, 0]], [2, 4])
    array([1.  , 0.25])
    """
    return np.array(
        [np.count_nonzero(hits) / len(hits) for hits in _hits(codes, sizes, sample_weight)]
    )


def dead_codes(codes: ArrayLike, sizes: ArrayLike, min_hits: int = 1) -> Ints:
    """Count the codewords of each codebook with fewer than `min_hits` rows.

    Parameters
    ----------
    codes : array-like of int of shape (n, m) or (n,)
        Ordinal codes, one column per codebook.
    sizes : array-like of int of shape (m,)
        Number of codewords of each codebook.
    min_hits : int, default=1
        Rows a codeword needs to count as alive; at least 1.

    Returns
    -------
    ndarray of int of shape (m,)
        Number of dead (for `min_hits` above 1: rare) codewords.

    Raises
    ------
    ValueError
        As :func:`codebook_utilization`; also if `min_hits` is below 1.
    TypeError
        If `min_hits` is not an integer.

    Examples
    --------
    >>> from adaptive_vq.metrics import dead_codes
    >>> dead_codes([[0, 0], [1, 0]], [2, 4])
    array([0, 3])
    """
    check_scalar(min_hits, "min_hits", Integral, min_val=1)
    return np.array([np.sum(hits < min_hits) for hits in _hits(codes, sizes)], dtype=np.int64)


def code_entropy(codes: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Floats:
    """Empirical entropy of each code column, in bits.

    The rate an ideal entropy coder would need for that column alone (plug-in estimate, which is
    low when rows are few). Never above log2 of the codebook's size.

    Parameters
    ----------
    codes : array-like of int of shape (n, m) or (n,)
        Ordinal codes, one column per codebook.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Returns
    -------
    ndarray of shape (m,)
        Bits per row.

    Raises
    ------
    ValueError
        If codes are empty, not integers or negative.

    Examples
    --------
    >>> from adaptive_vq.metrics import code_entropy
    >>> code_entropy([[0, 7], [1, 7]])
    array([1., 0.])
    """
    array, _ = _check_codes(codes)
    weight = None if sample_weight is None else row_weights(sample_weight, len(array))
    places = (np.unique(column, return_inverse=True)[1] for column in array.T)
    counts = (np.bincount(column, weight) for column in places)
    return np.array([entropy(hits, base=2) for hits in counts], dtype=np.float64)


def codebook_perplexity(
    codes: ArrayLike, sizes: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Floats:
    """Count the codewords effectively in use: 2 to the power of the code entropy.

    Parameters
    ----------
    codes : array-like of int of shape (n, m) or (n,)
        Ordinal codes, one column per codebook.
    sizes : array-like of int of shape (m,)
        Number of codewords of each codebook; codes are checked against it.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Returns
    -------
    ndarray of shape (m,)
        Perplexities, from 1 (one code only) to the size (all codewords equally often).

    Raises
    ------
    ValueError
        As :func:`codebook_utilization`.

    Examples
    --------
    >>> from adaptive_vq.metrics import codebook_perplexity
    >>> codebook_perplexity([[0, 0], [1, 0]], [2, 4])
    array([2., 1.])
    """
    # Rounding may lift the power of an entropy a hair above the size.
    return np.array(
        [
            min(2.0 ** entropy(hits, base=2), len(hits))
            for hits in _hits(codes, sizes, sample_weight)
        ],
        dtype=np.float64,
    )


def rate_bits(sizes: ArrayLike) -> float:
    """Rate of a fixed-length code: sum of log2 of the codebook sizes, in bits per row.

    Parameters
    ----------
    sizes : array-like of int of shape (m,)
        Number of codewords of every codebook used to decode a row; may be empty (0 bits).

    Returns
    -------
    float
        Bits per row.

    Raises
    ------
    ValueError
        If a size is not a positive integer.

    Examples
    --------
    >>> from adaptive_vq.metrics import rate_bits
    >>> rate_bits([256, 16])
    12.0
    """
    return float(np.log2(_check_sizes(sizes)).sum())


def _pairs(n_rows: int, n_pairs: int, random_state: Any) -> tuple[Ints, Ints]:
    """All pairs of rows if they are few enough, else `n_pairs` random ones."""
    if n_rows * (n_rows - 1) // 2 <= n_pairs:
        first, second = np.triu_indices(n_rows, k=1)
        return first, second
    rng = check_random_state(random_state)
    first = rng.randint(n_rows, size=n_pairs)
    return first, (first + 1 + rng.randint(n_rows - 1, size=n_pairs)) % n_rows


def _near_one(X: Floats) -> Floats:
    """Scale by the power of two that brings the largest cell to 1: no square over- or underflows.

    Beyond that nothing changes: it only moves the exponents of the cells.
    """
    return np.asarray(np.ldexp(X, -np.frexp(np.abs(X).max())[1]), dtype=np.float64)


def _distances(X: Floats, first: Ints, second: Ints) -> Floats:
    batches = gen_batches(len(first), _PAIRS_PER_BATCH)
    return np.concatenate([np.linalg.norm(X[first[b]] - X[second[b]], axis=1) for b in batches])


@np.errstate(under="ignore")  # next to the largest cells the others are nothing
def topographic_similarity(
    X: ArrayLike, Y: ArrayLike, *, n_pairs: int = 10_000, random_state: Any = None
) -> float:
    """Pearson correlation between the pairwise distances of rows in two representations.

    1 means that rows near in `X` are near in `Y` (decoded latents, say) in exact proportion.

    Parameters
    ----------
    X : array-like of shape (n, p)
        First representation, without missing cells.
    Y : array-like of shape (n, q)
        Second representation of the same rows.
    n_pairs : int, default=10_000
        Pairs of rows to look at; all of them if there are no more than this.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs; pass an int for a repeatable figure.

    Returns
    -------
    float
        Correlation in [-1, 1]; ``nan`` if the distances do not vary in `X` or in `Y`.

    Raises
    ------
    ValueError
        If row counts differ, there are fewer than 3 rows, `n_pairs` is below 2, or a cell is NaN
        or infinite.
    TypeError
        If `n_pairs` is not an integer.

    References
    ----------
    H. Brighton and S. Kirby, Understanding linguistic evolution by visualizing the emergence of
    topographic mappings, Artificial Life 12(2), 2006.

    Examples
    --------
    >>> from adaptive_vq.metrics import topographic_similarity
    >>> round(topographic_similarity([[0.0], [1.0], [3.0]], [[0.0], [2.0], [6.0]]), 6)
    1.0
    """
    check_scalar(n_pairs, "n_pairs", Integral, min_val=2)
    first = check_array(X, dtype=np.float64, ensure_min_samples=3, input_name="X")
    second = check_array(Y, dtype=np.float64, ensure_min_samples=3, input_name="Y")
    check_consistent_length(first, second)
    left, right = _pairs(len(first), n_pairs, random_state)
    distances = np.stack([_distances(_near_one(table), left, right) for table in (first, second)])
    level = distances.mean(axis=1)
    if (distances.std(axis=1) <= 1e-12 * level).any():
        return float("nan")
    return float(np.corrcoef(distances / level[:, None])[0, 1])
