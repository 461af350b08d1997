"""Tables in, arrays out: validation that names the column at fault, and the way back to names.

Built on :func:`sklearn.utils.validation.validate_data`, so ``n_features_in_`` and
``feature_names_in_`` mean what they mean everywhere in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from adaptive_vq._foreign_cells import (
    is_arrow,
    is_polars,
    name_unreadable_column,
    refuse_no_table,
    refuse_text,
    without_index,
    without_na,
)
from adaptive_vq._wording import listed
from adaptive_vq.annotations import attributes

__all__ = [
    "as_frame",
    "check_table",
    "column_names",
    "first_row",
    "joined",
    "like_input",
    "like_training",
    "row_chunks",
]

CHUNK_ROWS = 32_768
"""Rows of a table that are worked on at a time, so that memory does not grow with the table."""

_SHOWN = 5  # column names listed in an error


def check_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, ensure_min_samples: int = 1
) -> NDArray[np.float64]:
    """Validate a numeric table for an estimator and return it as an array.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and, for named columns, ``feature_names_in_`` when `reset` is true;
        is asked for them otherwise.
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        Numbers or booleans; NaN, None and NA mark missing cells.
    reset : bool
        True in ``fit``, False on new rows.
    ensure_min_samples : int, default=1
        Fewest rows accepted.

    Returns
    -------
    ndarray of shape (n_samples, n_features), float64, C-contiguous
        NaN where a cell is missing. May share memory with `X`: do not write into it.

    Raises
    ------
    TypeError
        For what is no table (a path, a dict, None), a sparse matrix, or cells that are no numbers
        at all (a dict, a list).
    ValueError
        For infinite, text, date or complex cells, duplicate column names, several levels of column
        names, too few rows, and columns other than those of ``fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from adaptive_vq.tables import check_table
    >>> check_table(BaseEstimator(), [[1, None], [2, 3]], reset=True)
    array([[ 1., nan],
           [ 2.,  3.]])
    """
    X = _without_note(without_index(X))
    _check_header(X)
    refuse_text(X)
    try:
        array = validate_data(
            estimator,
            without_na(X),
            reset=reset,
            dtype=np.float64,
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=ensure_min_samples,
        )
    except (TypeError, ValueError, OverflowError) as error:
        name_unreadable_column(X, error)
        raise
    _check_infinity(array, column_names(estimator))
    return array


def row_chunks(X: Any, n_rows: int | None = None) -> Iterator[Any]:
    """Cut a table into chunks of rows of its own kind; a memory-mapped one is read chunk by chunk.

    Parameters
    ----------
    X : array-like, sparse matrix, pandas or polars DataFrame of shape (n_samples, n_features)
    n_rows : int, default=None
        Most rows of a chunk; None means 32,768.

    Yields
    ------
    array-like, sparse matrix or DataFrame of shape (at most n_rows, n_features)
        `X` itself where it is small, or of a kind that cannot be cut, such as a list.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.tables import row_chunks
    >>> [len(chunk) for chunk in row_chunks(np.zeros((5, 2)), 2)]
    [2, 2, 1]
    """
    n_rows = n_rows or CHUNK_ROWS
    _refuse_unknown_length(X)
    n_samples = X.shape[0] if len(getattr(X, "shape", ())) == 2 else 0
    if n_samples <= n_rows:
        yield X
        return
    cut: Any = X.iloc if isinstance(X, pd.DataFrame) else X
    if hasattr(X, "tocsr"):
        cut = X.tocsr()  # not every sparse format can be cut
    for start in range(0, n_samples, n_rows):
        yield cut[start : start + n_rows]


def _refuse_unknown_length(X: Any) -> None:
    """Refuse a table that does not know its number of rows, and say what takes it.

    numpy would make an array of all its rows, and scikit-learn would not see its names.
    """
    if not hasattr(X, "__dask_graph__"):
        return
    shape = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or not all(isinstance(n, Integral) for n in shape[:1]):
        raise TypeError(
            f"X is a Dask {type(X).__name__}, which does not know its number of rows: fit with "
            "adaptive_vq.streaming.fit_chunks (a FeatureCharacterizer with scale.characterize, a "
            "FeatureCleaner with scale.fit_cleaner), encode with adaptive_vq.scale.transform, or "
            "give X.compute()."
        )


def first_row(X: Any) -> Any:
    """Return the first row of a table, which costs no copy of the others.

    Parameters
    ----------
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)

    Returns
    -------
    array-like or DataFrame of shape (1, n_features)
        Of the kind of `X`, with its names and ``attrs``; `X` itself where it cannot be cut, such as
        a list.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.tables import first_row
    >>> first_row(np.zeros((5, 2))).shape
    (1, 2)
    """
    return next(row_chunks(X, 1))


def joined(chunks: list[Any]) -> Any:
    """Join what was made of the chunks of a table; the list is emptied as it goes.

    Parameters
    ----------
    chunks : list of ndarray, or of sparse matrices, of shape (n_rows, n_columns)
        At least one.

    Returns
    -------
    ndarray or csr_matrix of shape (n_samples, n_columns)
        The one chunk itself where there is only one.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.tables import joined
    >>> joined([np.ones((2, 1)), np.zeros((1, 1))]).shape
    (3, 1)
    """
    if len(chunks) == 1:
        return chunks[0]
    if sp.issparse(chunks[0]):
        return sp.csr_matrix(sp.vstack(chunks, format="csr"))
    whole = np.empty((sum(map(len, chunks)), *chunks[0].shape[1:]), chunks[0].dtype)
    at = len(whole)
    while chunks:
        part = chunks.pop()
        whole[at - len(part) : at] = part
        at -= len(part)
    return whole


def column_names(estimator: BaseEstimator) -> list[str]:
    """Return the training columns' names.

    Parameters
    ----------
    estimator : estimator
        Fitted at least as far as ``n_features_in_``.

    Returns
    -------
    list of str, length n_features
        ``feature_names_in_``, or ``x0``, ``x1``, ... where the training table had no names.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from adaptive_vq.tables import check_table, column_names
    >>> estimator = BaseEstimator()
    >>> _ = check_table(estimator, [[1.0, 2.0]], reset=True)
    >>> column_names(estimator)
    ['x0', 'x1']
    """
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return [f"x{j}" for j in range(estimator.n_features_in_)]
    return [str(name) for name in names]


def as_frame(X: Any, array: NDArray[np.float64], *, copy: bool = True) -> pd.DataFrame:
    """Return a table that may be handed on as a pandas DataFrame.

    Parameters
    ----------
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        The table as the user gave it.
    array : ndarray of shape (n_samples, n_features)
        The same cells after :func:`check_table`; used where `X` is no data frame.
    copy : bool, default=True
        False: what is no pandas table may share its memory, to be looked at only.

    Returns
    -------
    pandas.DataFrame of shape (n_samples, n_features)
        A shallow copy of a pandas table (columns, index, dtypes and ``attrs`` stay); a polars or
        pyarrow table with its names; an array with columns 0, 1, ...

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.tables import as_frame
    >>> X = np.ones((2, 3))
    >>> as_frame(X, X).shape
    (2, 3)
    """
    if isinstance(X, pd.DataFrame):
        return X.copy(deep=False)
    if is_polars(X):
        X = without_na(X)
        return pd.DataFrame({name: X[name].to_numpy() for name in X.columns}, copy=copy)
    names = getattr(without_index(X), "column_names", None)  # of a pyarrow table
    frame = pd.DataFrame(array, columns=names, copy=copy)
    frame.attrs = attributes(X)
    return frame


def like_input(X: Any, cells: NDArray[np.float64], columns: NDArray[np.int64]) -> Any:
    """Give an array of some of a table's columns the form of that table.

    Parameters
    ----------
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        The table as the user gave it.
    cells : ndarray of shape (n_samples, n_columns)
        New cells.
    columns : ndarray of int of shape (n_columns,)
        Positions in `X` of the columns they belong to.

    Returns
    -------
    ndarray, pandas or polars DataFrame of shape (n_samples, n_columns)
        With the names, and for pandas the index and ``attrs``, of `X`; a pandas DataFrame also of a
        pyarrow table.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from adaptive_vq.tables import like_input
    >>> X = pd.DataFrame({"a": [1.0], "b": [2.0]}, index=["row"])
    >>> like_input(X, np.array([[5.0]]), np.array([1]))
           b
    row  5.0
    """
    if isinstance(X, pd.DataFrame):
        frame = pd.DataFrame(cells, index=X.index, columns=X.columns[columns])
        frame.attrs = dict(X.attrs)
        return frame
    if is_polars(X):
        return type(X)({X.columns[j]: cells[:, i] for i, j in enumerate(columns)})
    if is_arrow(X):
        names = without_index(X).column_names
        frame = pd.DataFrame(cells, columns=[names[j] for j in columns])
        frame.attrs = attributes(X)
        return frame
    return cells


def like_training(
    estimator: BaseEstimator, values: NDArray[Any], given: Any = None
) -> pd.DataFrame | NDArray[Any]:
    """Give an array of training columns the form of the training table.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator.
    values : ndarray of shape (n_samples, n_features)
        One column per training column.
    given : object, default=None
        What the values were made from; of a pandas DataFrame they get the index.

    Returns
    -------
    pandas.DataFrame or ndarray of shape (n_samples, n_features)
        A DataFrame with the training names if there were any, else `values` itself.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.base import BaseEstimator
    >>> from adaptive_vq.tables import check_table, like_training
    >>> estimator = BaseEstimator()
    >>> _ = check_table(estimator, pd.DataFrame({"a": [1.0], "b": [2.0]}), reset=True)
    >>> list(like_training(estimator, np.zeros((1, 2))).columns)
    ['a', 'b']
    """
    if getattr(estimator, "feature_names_in_", None) is None:
        return values
    index = given.index if isinstance(given, pd.DataFrame) else None
    return pd.DataFrame(values, index=index, columns=pd.Index(column_names(estimator)))


def _check_header(X: Any) -> None:
    """Refuse column names and types that scikit-learn would misread in silence."""
    refuse_no_table(X)
    _refuse_unknown_length(X)
    if hasattr(X, "collect_schema") and not hasattr(X, "shape"):
        raise TypeError(f"X is a {type(X).__name__}, which has no cells yet: give X.collect().")
    if is_arrow(X):
        # timestamps, times of day, durations and intervals
        kinds = ("date", "time", "duration", "month")
        dates = [field.name for field in X.schema if str(field.type).startswith(kinds)]
    elif is_polars(X) and hasattr(X, "columns"):
        dates = [name for name in X.columns if X[name].dtype.is_temporal()]
    elif isinstance(X, pd.DataFrame):
        _check_names(X.columns)
        dates = [name for name, dtype in X.dtypes.items() if dtype.kind in "mM"]
    elif isinstance(X, np.ndarray) and X.dtype.names is not None:
        raise TypeError("X is a structured array: give pandas.DataFrame(X), or its columns.")
    elif isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "mM":
        dates = [f"x{j}" for j in range(X.shape[1])]
    else:
        return
    if X.shape[1] == 0:  # pandas would have scikit-learn fail on the missing dtype
        raise ValueError(f"Found array with 0 feature(s) (shape={X.shape}): X has no column.")
    if dates:
        raise ValueError(
            f"Columns of X hold dates or time differences: {listed(dates, _SHOWN)}. Turn them into "
            "numbers first (for example days since a fixed date)."
        )


def _without_note(X: Any) -> Any:
    """Frame without ``attrs``, which pandas copies whenever scikit-learn looks at a column."""
    if isinstance(X, pd.DataFrame) and X.attrs:
        X = X.copy(deep=False)
        X.attrs = {}
    return X


def _check_names(columns: pd.Index) -> None:
    if isinstance(columns, pd.MultiIndex):
        raise ValueError(
            f"X has {columns.nlevels} levels of column names. Flatten them first, for example to "
            "'category__feature': X.columns = ['__'.join(map(str, c)) for c in X.columns]."
        )
    if not columns.is_unique:
        twice = columns[columns.duplicated()].unique()
        raise ValueError(
            f"X has duplicate column names: {listed(twice, _SHOWN)}. Rename or drop the repeated "
            "columns."
        )


def _check_infinity(array: NDArray[np.float64], names: list[str]) -> None:
    columns = np.flatnonzero(np.isinf(array).any(axis=0))
    if columns.size:
        raise ValueError(
            "Input X contains infinity or a value too large for dtype('float64') in "
            f"column {listed([names[j] for j in columns], _SHOWN)}. Replace such cells by a finite "
            "value or by NaN (a missing cell)."
        )
