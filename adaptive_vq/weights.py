"""Weights of rows and of columns: what is accepted, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from adaptive_vq._arrays import Floats
from adaptive_vq._statistics import checked_weights, weighted_rows
from adaptive_vq.annotations import repeat_weights
from adaptive_vq.column_specs import did_you_mean

__all__ = [
    "check_column_weights",
    "learning_rows",
    "merge_rows",
    "positive_rows",
    "refuse_single_row",
    "rows_that_count",
    "settle_column_weights",
]

_FEW_ROWS = 50


def positive_rows(X: Floats, sample_weight: ArrayLike) -> tuple[Floats, Floats]:
    """Check weights as they are given, and drop rows of weight 0.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,)

    Returns
    -------
    X : ndarray of shape (n_positive, n_features)
    weight : ndarray of shape (n_positive,)

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.weights import positive_rows
    >>> positive_rows(np.array([[1.0], [2.0]]), [0, 3])
    (array([[2.]]), array([3.]))
    """
    rows, _ = weighted_rows(X, sample_weight)
    weight = np.asarray(sample_weight, dtype=np.float64)
    return rows, weight[weight > 0]


def rows_that_count(X: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Leave out rows of weight 0, so that nobody judges what stands in them.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    X : array-like or DataFrame of shape (n_rows, n_features)
    sample_weight : array-like of shape (n_rows,) or None
        Both as they are if no weight is 0, or if these are no weights of these rows, which is for
        others to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.weights import rows_that_count
    >>> rows_that_count(np.array([[2.0], [np.inf]]), [1, 0])
    (array([[2.]]), array([1.]))
    """
    if sample_weight is None:
        return X, None
    try:
        weight = checked_weights(sample_weight, _num_samples(X))
    except (TypeError, ValueError):
        return X, sample_weight
    places = np.flatnonzero(weight)
    if len(places) == len(weight):
        return X, sample_weight
    return _safe_indexing(X, places), weight[places]


def refuse_single_row(n_samples: int, sample_weight: ArrayLike | None) -> None:
    """Check weights, and refuse those that leave nothing to learn from.

    Parameters
    ----------
    n_samples : int
        Rows of the table.
    sample_weight : array-like of shape (n_samples,) or None

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or fewer than two are above zero. A single row of
        weight 2, which stands for two equal ones, is refused too: no column varies in it.

    Examples
    --------
    >>> from adaptive_vq.weights import refuse_single_row
    >>> refuse_single_row(3, [1, 0, 0])
    Traceback (most recent call last):
    ValueError: sample_weight is zero in all rows but one of 3: give at least two rows a weight.
    """
    # Rows without columns: only the weights are checked.
    rows, _ = weighted_rows(np.empty((n_samples, 0)), sample_weight)
    if sample_weight is not None and len(rows) < 2:
        raise ValueError(
            f"sample_weight is zero in all rows but one of {n_samples}: give at least two rows a "
            "weight."
        )


def merge_rows(X: Floats, weight: Floats | None) -> tuple[Floats, Floats | None]:
    """Merge equal rows of a table of fewer than 50 rows, in an order that follows from its cells.

    So the random choices of a fit (rows kept aside, first codewords) fall alike for rows repeated
    and rows weighted. Larger tables stay as they are.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
        Positive weights of the rows; None: 1 each.

    Returns
    -------
    X : ndarray of shape (n_distinct, n_features)
    weight : ndarray of shape (n_distinct,) or None
        None where all are 1.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.weights import merge_rows
    >>> merge_rows(np.array([[2.0], [1.0], [2.0]]), None)
    (array([[1.],
           [2.]]), array([1., 2.]))
    """
    mass = np.ones(len(X)) if weight is None else weight
    if mass.sum().round(6) >= _FEW_ROWS:  # fractions sum to the number of rows but for rounding
        return X, weight
    # Negative zeros become positive. NaN equals nothing; infinite no cell is that comes here.
    cells = np.ascontiguousarray(np.where(np.isnan(X), np.inf, X + 0.0))
    distinct, first, group = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    if len(distinct) < 2:
        return X, weight
    summed = np.bincount(group.ravel(), weights=mass)
    return X[first], None if (summed == 1.0).all() else np.asarray(summed, dtype=np.float64)


def learning_rows(X: Floats, sample_weight: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """Rows to learn from and their weights: those of weight 0 left out, few equal ones merged.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    X : ndarray of shape (n_rows, n_features)
    weight : ndarray of shape (n_rows,) or None
        Whole numbers as given, others rescaled to a mean of one; None where all are 1.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.weights import learning_rows
    >>> learning_rows(np.array([[2.0], [1.0], [3.0]]), [2, 0, 1])
    (array([[2.],
           [3.]]), array([2., 1.]))
    """
    return merge_rows(*weighted_rows(X, sample_weight))


def check_column_weights(given: Any, names: Sequence[str]) -> Floats | None:
    """Weights per column from what a user gives.

    Parameters
    ----------
    given : array-like, mapping of str to float, or None
        One weight per column, or those that are not 1 by name.
    names : sequence of str
        Column names.

    Returns
    -------
    ndarray of shape (n_features,) or None
        None where nothing is given.

    Raises
    ------
    ValueError
        If a name is unknown, the number of weights is wrong, or a weight is not positive and
        finite.

    Examples
    --------
    >>> from adaptive_vq.weights import check_column_weights
    >>> check_column_weights({"b": 4}, ["a", "b"])
    array([1., 4.])
    """
    if given is None:
        return None
    weights = np.ones(len(names))
    if isinstance(given, pd.Series) and not isinstance(given.index, pd.RangeIndex):
        if not given.index.is_unique:
            twice = given.index[given.index.duplicated()][0]
            raise ValueError(f"column_weights names {twice!r} more than once: give it once.")
        given = given.to_dict()  # by its labels, as pandas would
    if isinstance(given, Mapping):
        for name, weight in given.items():
            if name not in names:
                hint = did_you_mean(str(name), names) or (
                    f" Columns are called {list(names)[:3]}... here: names are strings, and a "
                    "cleaner before may have dropped some."
                )
                raise ValueError(f"column_weights names {name!r}, which is no column of X.{hint}")
            weights[list(names).index(name)] = _number(weight, str(name))
        return weights
    values: NDArray[Any] = np.asarray(given)
    if values.shape != (len(names),):
        raise ValueError(
            f"column_weights must hold one weight per column, shape ({len(names)},), or be a dict "
            f"from names to weights; got shape {values.shape}."
        )
    return np.array([_number(w, name) for w, name in zip(values, names, strict=True)])


def settle_column_weights(
    given: Floats | None, note: Mapping[str, Any] | None, owner: str, X: Any
) -> Floats | None:
    """Weights given here, else those of an earlier step, else what columns say they stand for.

    Parameters
    ----------
    given : ndarray of shape (n_features,) or None
    note : mapping or None
        Note of an earlier step.
    owner : str
        Class that they are given to, for the message.
    X : object
        Table, on which a cleaner may have noted for how many columns each stands.

    Returns
    -------
    ndarray of shape (n_features,) or None
        None where all columns count alike.

    Raises
    ------
    ValueError
        If weights given here differ from those of an earlier step.
    """
    earlier = (note or {}).get("column_weights")
    planned = bool((note or {}).get("plan"))
    if given is None:
        return repeat_weights(X) if earlier is None else np.asarray(earlier, dtype=np.float64)
    if earlier is None and not planned:
        return given
    if not np.array_equal(given, np.ones(len(given)) if earlier is None else earlier):
        raise ValueError(
            f"{owner}(column_weights=...) contradicts AdaptiveRatioSelector, which planned with "
            "other weights. Set column_weights on AdaptiveRatioSelector only."
        )
    return given


def _number(weight: ArrayLike, name: str) -> float:
    try:
        # numpy would drop imaginary parts, and make numbers of text and dates.
        if np.asarray(weight).dtype.kind not in "biufO":
            raise TypeError("no real number")
        value = float(np.asarray(weight, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"column_weights of {name!r} is {weight!r}: give a number.") from error
    if not (np.isfinite(value) and value > 0):
        raise ValueError(
            f"column_weights of {name!r} is {value:g}: give a finite number above 0, or drop the "
            "column."
        )
    return value
