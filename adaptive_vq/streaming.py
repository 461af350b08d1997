"""Training rows for a codec out of a table that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar

from adaptive_vq._fit_rows import draw_seed
from adaptive_vq._streams import dask_pieces, parquet_pieces
from adaptive_vq.tables import check_table, row_chunks

__all__ = ["fit_chunks", "sample_rows"]


def fit_chunks(estimator: Any, chunks: Any) -> Any:
    """Fit a codec on a table larger than memory, read once from beginning to end.

    Every row is checked, and ``fit_rows`` of them are drawn and learned from. The result does not
    depend on the chunks; that of a codec which is no part of a pipeline is the result of `fit` on
    the whole table.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        Fitted in place. Its ``fit_rows`` (None: all rows are kept) and ``random_state`` decide
        which rows are drawn.
    chunks : str, path, array, memory map, DataFrame, or iterable of arrays or DataFrames
        A Parquet file or a folder of them, the whole table, or chunks with the same columns. A Dask
        DataFrame or array is computed one partition after the other.

    Returns
    -------
    HierarchicalVQVAE or Pipeline
        The estimator.

    Raises
    ------
    TypeError, ValueError
        As in `fit`, for any chunk; if chunks have different columns, or there is no row.
    OSError
        If a file can not be read.

    See Also
    --------
    sample_rows : Draws the rows only.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.streaming import fit_chunks
    >>> X = np.random.default_rng(0).normal(size=(900, 4))
    >>> vq = HierarchicalVQVAE(bits=8, max_epochs=0, fit_rows=300)
    >>> codes = fit_chunks(vq, np.array_split(X, 7)).transform(X)
    >>> bool((codes == vq.fit(X).transform(X)).all())
    True
    """
    return estimator.fit(drawn_rows(estimator, chunks))


def drawn_rows(estimator: Any, chunks: Any) -> Any:
    """Check every row, and draw those that `fit_chunks` of the same arguments learns from.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
    chunks : str, path, array, memory map, DataFrame, or iterable of arrays or DataFrames

    Returns
    -------
    array or DataFrame of shape (at most fit_rows, n_features)
        Of the kind of the chunks, in the order of the table.

    Raises
    ------
    TypeError, ValueError, OSError
        As `fit_chunks`.
    """
    codec = estimator
    while hasattr(codec, "steps"):
        codec = codec.steps[-1][1]
    if isinstance(chunks, str | Path):
        chunks = parquet_pieces(chunks)
    return sample_rows(_checked(_pieces(chunks)), codec.fit_rows, random_state=draw_seed(codec))


def _pieces(table: Any) -> Iterable[Any]:
    if hasattr(table, "__dask_graph__"):
        return dask_pieces(table)
    return row_chunks(table) if hasattr(table, "shape") else table


def _checked(chunks: Iterable[Any]) -> Iterator[Any]:
    """Chunks with any row, each checked as `fit` checks a table."""
    probe = BaseEstimator()
    for chunk in chunks:
        if chunk.shape[0]:
            check_table(probe, chunk, reset=not hasattr(probe, "n_features_in_"))
            yield chunk


def sample_rows(
    table: Any,
    n_rows: int | None = 100_000,
    *,
    random_state: int | np.random.RandomState | None = 0,
) -> Any:
    """Draw rows without replacement in one pass, holding no more than sample and chunk.

    Every row gets a random number, and those with the smallest stay (reservoir sampling with random
    keys; Efraimidis and Spirakis, 2006, "Weighted random sampling with a reservoir", with equal
    weights). The numbers are drawn row by row, so that the sample depends on neither the size of
    the chunks nor what they are kept in.

    Parameters
    ----------
    table : array, memory map, pandas, polars or Dask DataFrame, Dask array, or iterable
        The whole table, which is read chunk by chunk, or its chunks, such as
        ``pyarrow.parquet.ParquetFile(path).iter_batches()`` turned to pandas. All chunks must be of
        one kind and have the same columns.
    n_rows : int, default=100_000
        Rows to draw; all are returned where there are fewer. None: all.
    random_state : int, RandomState or None, default=0
        Seed of the draw.

    Returns
    -------
    array or DataFrame of shape (at most n_rows, n_features)
        Of the kind of the chunks, in the order of the table.

    Raises
    ------
    ValueError
        If there is no row, or chunks have different columns.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.streaming import sample_rows
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> few = sample_rows(X, 3)
    >>> few.shape
    (3, 2)
    >>> bool((sample_rows([X[:4], X[4:]], 3) == few).all())
    True
    """
    if n_rows is not None:
        check_scalar(n_rows, "n_rows", Integral, min_val=1)
    rng = check_random_state(random_state)
    kept, keys, columns = None, np.zeros(0), None
    for chunk in _pieces(table):
        if columns is not None and _columns(chunk) != columns:
            raise ValueError(
                f"A chunk has the columns {_columns(chunk)[:5]}, the first one {columns[:5]}; "
                "all must have the same."
            )
        columns = _columns(chunk)
        drawn = rng.random_sample(chunk.shape[0])
        both = np.concatenate([keys, drawn])
        chosen = np.arange(len(both))
        if n_rows is not None and len(both) > n_rows:
            chosen = np.sort(np.argpartition(both, n_rows - 1)[:n_rows])
        old, new = chosen[chosen < len(keys)], chosen[chosen >= len(keys)] - len(keys)
        kept = _rows(chunk, new) if kept is None else _stacked(_rows(kept, old), _rows(chunk, new))
        keys = both[chosen]
    if kept is None or len(keys) == 0:
        raise ValueError("The table has no row to draw.")
    return kept


def _columns(chunk: Any) -> list[str]:
    names = getattr(chunk, "columns", None)
    return [str(name) for name in (range(chunk.shape[1]) if names is None else names)]


def _rows(chunk: Any, places: Any) -> Any:
    if isinstance(chunk, pd.DataFrame):
        return chunk.iloc[places]
    part = chunk[places]
    # What is drawn from a memory map must not keep it open.
    return np.asarray(part) if isinstance(part, np.ndarray) else part


def _stacked(first: Any, second: Any) -> Any:
    if isinstance(first, pd.DataFrame):
        return pd.concat([first, second])
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return first.vstack(second)
