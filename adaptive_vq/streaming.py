"""Training rows for a codec out of a table that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state, check_scalar

from adaptive_vq.tables import row_chunks

__all__ = ["sample_rows"]


def sample_rows(
    table: Any, n_rows: int = 100_000, *, random_state: int | np.random.RandomState | None = 0
) -> Any:
    """Draw rows without replacement in one pass, holding no more than sample and chunk.

    Every row gets a random number, and those with the smallest stay (reservoir sampling with random
    keys; Efraimidis and Spirakis, 2006, "Weighted random sampling with a reservoir", with equal
    weights). The numbers are drawn row by row, so that the sample depends on neither the size of
    the chunks nor what they are kept in.

    Parameters
    ----------
    table : array, memory map, pandas or polars DataFrame, or iterable of these
        The whole table, which is read chunk by chunk, or its chunks, such as
        ``pyarrow.parquet.ParquetFile(path).iter_batches()`` turned to pandas. All chunks must be of
        one kind and have the same columns.
    n_rows : int, default=100_000
        Rows to draw; all are returned where there are fewer.
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
    check_scalar(n_rows, "n_rows", Integral, min_val=1)
    rng = check_random_state(random_state)
    chunks: Iterable[Any] = row_chunks(table) if hasattr(table, "shape") else table
    kept, keys, columns = None, np.zeros(0), None
    for chunk in chunks:
        if columns is not None and _columns(chunk) != columns:
            raise ValueError(
                f"A chunk has the columns {_columns(chunk)[:5]}, the first one {columns[:5]}; "
                "all must have the same."
            )
        columns = _columns(chunk)
        drawn = rng.random_sample(chunk.shape[0])
        both = np.concatenate([keys, drawn])
        chosen = np.arange(len(both))
        if len(both) > n_rows:
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
