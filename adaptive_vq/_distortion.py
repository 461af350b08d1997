"""Distortion figures: how far a reconstruction is from the table, and from what is possible.

Private home of functions that :mod:`adaptive_vq.metrics` publishes. Nothing here knows an
estimator: arrays (or data frames) in, numbers out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._foreign_cells import without_na
from adaptive_vq._statistics import checked_weights
from adaptive_vq._wording import shown

# A column whose deviations are this small relative to its level is constant up to float64 rounding.
_CONSTANT = 1e-10
# Squares that float64 may hold with fewer digits, relative to the largest of the table.
_TINY = 1e-280
# An error on a constant column this small is float32 rounding of the codec, not distortion.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class _ColumnSums:
    """Weighted squared sums per column; `slack` is the error that counts as none (see `ratio`)."""

    error: Floats
    deviation: Floats
    slack: Floats
    weight: Floats

    @np.errstate(under="ignore")
    def ratio(self, columns: Any = slice(None)) -> float:
        """NMSE over `columns`; nan when none of their cells is observed."""
        if not self.weight[columns].sum() > 0:
            return float("nan")
        error, deviation = self.error[columns].sum(), self.deviation[columns].sum()
        if deviation > 0:
            return float(error / deviation)
        return 0.0 if error <= self.slack[columns].sum() else float("inf")


def _table(X: ArrayLike, name: str, finite: Any = "allow-nan") -> Floats:
    return check_array(without_na(X), dtype=np.float64, ensure_all_finite=finite, input_name=name)


def _numbers(values: ArrayLike, name: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}={shown(values, 60)} is not numeric: {error}.") from error


def row_weights(sample_weight: ArrayLike | None, n_rows: int) -> Floats:
    """Check weights of rows; the largest becomes 1."""
    if sample_weight is None:
        return np.ones(n_rows)
    weight = checked_weights(sample_weight, n_rows)
    # Only relative weights matter; the largest at 1 keeps tiny or huge ones from under/overflowing.
    return weight / weight.max()


def _reference(reference: ArrayLike | None, X: Floats, weight: Floats) -> Floats:
    if reference is None:
        # Mean of the observed cells; a column without one contributes nothing, so 0 will do.
        total = np.where(weight > 0, X, 0.0) * weight
        return total.sum(axis=0) / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    values = _numbers(reference, "reference")
    if values.shape != (X.shape[1],):
        raise ValueError(
            f"reference must hold one value per column of X, shape ({X.shape[1]},); "
            f"got shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError("reference must be finite; use 0 for a column without a training mean.")
    return values


def _pair(
    X: ArrayLike, X_hat: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Both tables with equal shape, the reconstruction filled wherever X is observed, and weights.

    Without rows of weight 0, whatever stands in them.
    """
    if isinstance(X_hat, pd.DataFrame):
        _refuse_other_names(X, X_hat.columns, "X_hat")
    finite = "allow-nan" if sample_weight is None else False
    target, output = _table(X, "X", finite), _table(X_hat, "X_hat", finite)
    if target.shape != output.shape:
        raise ValueError(
            f"X and X_hat must have the same shape; got {target.shape} and {output.shape}."
        )
    weight = row_weights(sample_weight, len(target))
    if sample_weight is not None:
        counts = weight > 0
        target, output, weight = target[counts], output[counts], weight[counts]
        target, output = _table(target, "X"), _table(output, "X_hat")
    holes = (np.isnan(output) & ~np.isnan(target)).any(axis=0)
    if holes.any():
        raise ValueError(
            f"X_hat is NaN in column {int(holes.argmax())} where X is observed; a reconstruction "
            "must fill every observed cell."
        )
    return target, output, weight


def _refuse_other_names(X: ArrayLike, names: pd.Index, given: str) -> None:
    """Refuse what is compared with the columns of a table and is named otherwise."""
    if not isinstance(X, pd.DataFrame) or X.columns.equals(names):
        return
    pairs = zip(X.columns, names, strict=False)  # other lengths are refused later
    if other := next(((a, b) for a, b in pairs if a != b), None):
        raise ValueError(
            f"X and {given} have other columns or another order: {other[0]!r} against "
            f"{other[1]!r}. Columns are compared one by one; select {given}[X.columns]."
        )


@np.errstate(under="ignore")
def _cells(
    X: ArrayLike, X_hat: ArrayLike, reference: ArrayLike | None, sample_weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Table, reconstruction and weights of cells, all of shape (n, d), and the reference."""
    if isinstance(reference, pd.Series) and not isinstance(reference.index, pd.RangeIndex):
        _refuse_other_names(X, reference.index, "reference")
    target, output, of_rows = _pair(X, X_hat, sample_weight)
    weight = ~np.isnan(target) * of_rows[:, None]
    if not weight.any():
        raise ValueError("X holds no observed cell: every cell is NaN or has weight 0.")
    return target, output, weight, _reference(reference, target, weight)


@np.errstate(under="ignore")
def _column_sums(target: Floats, output: Floats, weight: Floats, center: Floats) -> _ColumnSums:
    observed = ~np.isnan(target)
    deviation = np.where(weight > 0, target - center, 0.0)
    # One common scale leaves every ratio as it is and keeps the squares inside float64.
    scale = float(np.abs(deviation).max()) or 1.0
    squared = (weight * np.square(deviation / scale)).sum(axis=0)
    with np.errstate(over="ignore"):
        error = (weight * np.square(np.where(observed, output - target, 0.0) / scale)).sum(axis=0)
    cells, level = weight.sum(axis=0), np.abs(center) / scale
    squared[squared <= cells * np.square(_CONSTANT * level)] = 0.0
    spread = np.sqrt(squared.sum() / cells.sum())
    return _ColumnSums(error, squared, cells * np.square(_ROUNDING * (level + spread)), cells)


def reconstruction_nmse(
    X: ArrayLike,
    X_hat: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the normalized mean squared error (NMSE) of a reconstruction.

    Sum of squared errors over the observed cells, divided by the sum of their squared deviations
    from `reference`: 0 is perfect, 1 is as good as answering with the reference.

    Parameters
    ----------
    X : array-like of shape (n, d)
        True values, in any units; NaN marks a missing cell, which is left out of both sums.
    X_hat : array-like of shape (n, d)
        Reconstruction in the same units; must be finite wherever `X` is observed.
    reference : array-like of shape (d,), default=None
        Usually the training mean of each column. None takes the column means of `X` itself.
    sample_weight : array-like of shape (n,), default=None
        Weight of each row in both sums (and in the default reference).

    Returns
    -------
    float
        NMSE, at least 0. If all observed cells equal the reference: 0.0 when the error is zero up
        to float32 rounding, else ``inf``.

    Raises
    ------
    ValueError
        If shapes differ, or names of columns (also those of a Series as `reference`), a table is
        empty or infinite, no cell of `X` is observed, or `X_hat` is NaN where `X` is observed.

    Examples
    --------
    >>> from adaptive_vq.metrics import reconstruction_nmse
    >>> reconstruction_nmse([[0.0], [2.0]], [[0.5], [2.0]])
    0.125
    """
    return _column_sums(*_cells(X, X_hat, reference, sample_weight)).ratio()


def _category_columns(categories: Mapping[str, ArrayLike], n_columns: int) -> dict[str, Ints]:
    if not isinstance(categories, Mapping):
        raise TypeError(
            f"categories must be a mapping of names to column indices; got {categories!r}."
        )
    if not categories:
        raise ValueError("categories is empty; give at least one category with its columns.")
    columns = {name: np.asarray(spec) for name, spec in categories.items()}
    for name, index in columns.items():
        if index.ndim != 1 or index.size == 0 or index.dtype.kind not in "iu":
            raise ValueError(f"category {name!r} must be a non-empty list of column indices.")
        if index.min() < 0 or index.max() >= n_columns:
            raise ValueError(
                f"category {name!r} names a column outside 0..{n_columns - 1}: {index.tolist()}."
            )
        if len(np.unique(index)) < index.size:  # it would count twice
            raise ValueError(f"category {name!r} names a column twice: {index.tolist()}.")
    return columns


def category_nmse(
    X: ArrayLike,
    X_hat: ArrayLike,
    categories: Mapping[str, ArrayLike],
    *,
    reference: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> dict[str, float]:
    """Compute the normalized mean squared error (NMSE) of each category of columns.

    :func:`reconstruction_nmse` over the columns of one category at a time.

    Parameters
    ----------
    X, X_hat : array-like of shape (n, d)
        True values (NaN where missing) and their reconstruction.
    categories : mapping of str to array-like of int
        Column indices of each category.
    reference : array-like of shape (d,), default=None
        Usually the training mean of each column. None takes the column means of `X`.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Returns
    -------
    dict of str to float
        NMSE per category, in the order of `categories`; ``nan`` for a category without an observed
        cell. A category that never leaves the reference scores 0.0 if its error is float32
        rounding (relative to its level and to the spread of the whole table), else ``inf``.

    Raises
    ------
    ValueError
        As :func:`reconstruction_nmse`; also for an empty category, or one with a column out of
        range or twice.

    Examples
    --------
    >>> from adaptive_vq.metrics import category_nmse
    >>> X = [[0.0, 1.0], [2.0, 3.0]]
    >>> category_nmse(X, [[0.0, 2.0], [2.0, 2.0]], {"good": [0], "flat": [1]})
    {'good': 0.0, 'flat': 1.0}
    """
    cells = _cells(X, X_hat, reference, sample_weight)
    sums = _column_sums(*cells)
    columns = _category_columns(categories, len(sums.error))
    return {name: _own_ratio(sums, cells, index) for name, index in columns.items()}


def _own_ratio(sums: _ColumnSums, cells: tuple[Floats, ...], index: Ints) -> float:
    """NMSE of a category, at a scale of its own where squares are lost beside larger ones."""
    if sums.weight[index].any() and sums.deviation[index].sum() < _TINY:
        target, output, weight, center = cells
        own = _column_sums(target[:, index], output[:, index], weight[:, index], center[index])
        if own.deviation.sum() > 0:  # else constant: rounding of the whole table says how exactly
            return own.ratio()
    return sums.ratio(index)


@np.errstate(under="ignore")
def imbalance(errors: Mapping[str, float] | ArrayLike) -> dict[str, float]:
    """Measure how unevenly an error is spread over categories.

    Parameters
    ----------
    errors : mapping of str to float, or array-like of shape (n_categories,)
        Errors, not negative, e.g. from :func:`category_nmse`. NaN (unknown) entries are left out.

    Returns
    -------
    dict of str to float
        ``max_min`` and ``max_median``: worst error over best and over median, at least 1 (1.0 if
        all are zero, ``inf`` if only the divisor is). ``gini``: mean absolute difference of two
        errors over twice their mean, 0 (equal) to 1 - 1/n_categories (all in one category).
        Infinite errors give the limit: they count as equal to each other, the rest as 0.

    Raises
    ------
    ValueError
        If `errors` is empty, holds only NaN, or holds a negative value.

    Examples
    --------
    >>> from adaptive_vq.metrics import imbalance
    >>> imbalance({"a": 0.1, "b": 0.2, "c": 0.4})["max_median"]
    2.0
    """
    listed = list(errors.values()) if isinstance(errors, Mapping) else errors
    values = _numbers(listed, "errors")
    if values.ndim != 1 or values.size == 0:
        raise ValueError("errors must hold one number per category, and at least one.")
    values = np.sort(values[~np.isnan(values)])
    if values.size == 0:
        raise ValueError("errors holds only NaN; at least one category needs a known error.")
    if values[0] < 0:
        raise ValueError(f"errors must not be negative; got {values[0]:g}.")
    if np.isinf(values[-1]):
        values = np.isinf(values).astype(np.float64)
    if values[-1] == 0:
        return {"max_min": 1.0, "max_median": 1.0, "gini": 0.0}
    values = values / values[-1]
    rank = 2 * np.arange(1, values.size + 1) - values.size - 1
    gini = float(rank @ values / (values.size * values.sum()))
    with np.errstate(divide="ignore", over="ignore"):
        over_min, over_median = 1.0 / values[0], 1.0 / np.median(values)
    # Rounding of the ranked sum can dip below 0 when all errors are equal.
    return {
        "max_min": float(over_min),
        "max_median": float(over_median),
        "gini": max(gini, 0.0),
    }


def _spectrum(cov_or_eigenvalues: ArrayLike) -> Floats:
    """Eigenvalues, not negative, largest first."""
    array = _numbers(cov_or_eigenvalues, "cov_or_eigenvalues")
    if array.size == 0 or array.ndim not in (1, 2):
        raise ValueError("give a covariance matrix (d, d) or its eigenvalues (d,), not empty.")
    if not np.isfinite(array).all():
        raise ValueError("the covariance or spectrum holds NaN or infinity.")
    if array.ndim == 2:
        tolerance = 1e-8 * np.abs(array).max()
        if array.shape[0] != array.shape[1] or np.abs(array - array.T).max() > tolerance:
            raise ValueError(f"a covariance must be square and symmetric; got shape {array.shape}.")
        array = np.linalg.eigvalsh(array).astype(np.float64)
    array = np.sort(array)[::-1]
    # A sample covariance may dip below 0 by rounding; anything more is a wrong input.
    if array[-1] < -1e-8 * np.abs(array).max():
        raise ValueError(f"eigenvalues must not be negative; the smallest is {array[-1]:g}.")
    return np.maximum(array, 0.0)


def gaussian_distortion_rate(
    cov_or_eigenvalues: ArrayLike, bits: float | ArrayLike
) -> float | Floats:
    r"""Least squared error any code can reach on a Gaussian source (reverse water-filling).

    .. math:: D(R) = \sum_i \min(\theta, \lambda_i), \qquad
              R = \sum_i \max(0, \tfrac12 \log_2 (\lambda_i / \theta))

    Solved exactly, without iteration: with eigenvalues in falling order, component k begins to be
    coded at rate :math:`R_k = \sum_{i \le k} \tfrac12 \log_2 (\lambda_i / \lambda_k)`; between two
    of these rates :math:`\log_2 \theta` is linear in R.

    Parameters
    ----------
    cov_or_eigenvalues : array-like of shape (d, d) or (d,)
        Covariance matrix, or its eigenvalues in any order.
    bits : float or array-like
        Rate in bits per row, at least 0.

    Returns
    -------
    float or ndarray of the shape of `bits`
        Expected squared error per row, summed over columns, in squared units of the source. Divide
        by the trace (the sum of the eigenvalues) for the NMSE.

    Raises
    ------
    ValueError
        If the matrix is not a covariance, an eigenvalue is negative, or a rate is negative or NaN.

    References
    ----------
    T. M. Cover and J. A. Thomas, Elements of Information Theory, 2nd ed., theorem 10.3.3.

    Examples
    --------
    >>> from adaptive_vq.metrics import gaussian_distortion_rate
    >>> gaussian_distortion_rate([1.0, 1.0], 2.0)
    0.5
    """
    rate = _numbers(bits, "bits")
    if not (rate >= 0).all():
        raise ValueError(f"bits must not be negative or NaN; got {bits!r}.")
    spectrum = _spectrum(cov_or_eigenvalues)
    top = spectrum[0]
    if top == 0:
        distortion = np.zeros_like(rate)
        return distortion if rate.ndim else 0.0
    coded = spectrum[spectrum / top > 0] / top
    log = np.log2(coded)
    # Increments instead of the sums themselves: monotone even after rounding.
    starts = np.concatenate([[0.0], np.cumsum(np.arange(1, len(log)) * -np.diff(log) / 2)])
    active = np.searchsorted(starts, rate, side="right")
    water = np.exp2(np.cumsum(log)[active - 1] / active - 2 * rate / active)
    tail = np.concatenate([np.cumsum(coded[::-1])[::-1], [0.0]])
    distortion = top * (active * water + tail[active])
    return distortion if rate.ndim else float(distortion)
