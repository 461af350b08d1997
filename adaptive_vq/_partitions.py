"""Statistics of Dask collections by reductions: what every partition adds, and what that comes to.

Which rows a sample keeps follows from their numbers and a seed alone. So the numbers of rows are
counted first; then every partition picks its part of the sample, and no more than that travels.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from adaptive_vq._cleaning_rules import Extent
from adaptive_vq._foreign_cells import unmasked
from adaptive_vq.sampling import RowSample, rank_limit, row_ranks
from adaptive_vq.tables import check_table

__all__ = ["Drawn", "Partitions", "is_dask_array", "is_dask_frame", "refuse_no_table"]


def refuse_no_table(X: Any) -> None:
    """Refuse what is no Dask DataFrame, nor a Dask array of rows and columns.

    Raises
    ------
    TypeError
        If it is another collection, a column, or in memory.
    ValueError
        If an array has not two dimensions.
    """
    ndim, kind = getattr(X, "ndim", None), type(X).__name__
    ndim = ndim if isinstance(ndim, int) else None  # a Delayed has an attribute of any name
    if ndim == 2 and (is_dask_frame(X) or is_dask_array(X)):
        return
    if ndim is not None and is_dask_array(X) and hasattr(X, "chunks"):
        raise ValueError(f"An array of 2 dimensions is needed, got shape {X.shape}.")
    if ndim == 1 and hasattr(X, "to_frame") and hasattr(X, "map_partitions"):
        how = ", which is one column: as a table it is X.to_frame()."
    elif hasattr(X, "__dask_graph__"):
        how = ", which is another collection: make a DataFrame of it (dask.dataframe.from_delayed)."
    else:
        how = "; what is in memory goes to the estimator itself."
    raise TypeError(f"A Dask DataFrame or array is needed, got {kind}{how}")


def is_dask_frame(X: Any) -> bool:
    """Tell whether a table is a Dask DataFrame."""
    return hasattr(X, "map_partitions") and hasattr(X, "columns")


def is_dask_array(X: Any) -> bool:
    """Tell whether a table is a Dask array."""
    return hasattr(X, "map_blocks") and not is_dask_frame(X)


@dataclass(frozen=True)
class Drawn:
    """Rows drawn from a table, and what all of its rows have said.

    Attributes
    ----------
    rows : DataFrame or ndarray of shape (n_kept, n_features)
        Of the kind of the partitions, in the order of the table.
    ranks : ndarray of uint64 of shape (n_kept,)
        See `RowSample`.
    n_seen : int
        Rows of the table.
    extent : Extent
        Range and number of observed cells of all rows.
    """

    rows: Any
    ranks: NDArray[np.uint64]
    n_seen: int
    extent: Extent

    def sample(self, empty: RowSample, array: NDArray[np.float64]) -> RowSample:
        """Return the sample that `empty` had become, had it seen all rows one after the other."""
        return RowSample(empty.seed, empty.capacity, array, self.ranks, self.n_seen)


class Partitions:
    """A Dask collection of rows, partition by partition.

    Parameters
    ----------
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)

    Raises
    ------
    TypeError
        If `X` is no Dask DataFrame or array.
    ValueError
        If an array has not two dimensions.
    """

    def __init__(self, X: Any) -> None:
        refuse_no_table(X)
        self.X = X if is_dask_frame(X) else X.rechunk({1: -1})
        self.n_features = int(X.shape[1])

    def lengths(self) -> list[int]:
        """Count the rows of every partition; only a column is read where more is not needed."""
        if is_dask_frame(self.X):
            parts = _parts_of_frame(self.X[list(self.X.columns[:1])])
        else:
            known = self.X.chunks[0]
            if not np.isnan(known).any():
                return list(known)
            parts = self._parts()
        dask: Any = import_module("dask")  # an optional dependency, without types
        return [int(n) for n in dask.compute(*map(dask.delayed(len), parts))]

    def draw(self, empty: RowSample) -> Drawn:
        """Check every row, and draw the rows that a sample keeps.

        Parameters
        ----------
        empty : RowSample
            Sample of no rows, which says what to keep.

        Returns
        -------
        Drawn

        Raises
        ------
        TypeError, ValueError
            As `check_table`, for any partition; if a partition gives another number of rows when it
            is computed again.
        """
        dask: Any = import_module("dask")  # an optional dependency, without types
        lengths = self.lengths()
        n_rows = sum(lengths)
        pick = dask.delayed(_Pick(empty.seed, rank_limit(n_rows, empty)), pure=False)
        starts = accumulate(lengths[:-1], initial=0)
        picked = [
            pick(part, start, length)
            for part, start, length in zip(self._parts(), starts, lengths, strict=True)
            if length
        ]
        parts: tuple[Drawn, ...] = dask.compute(*picked)
        nothing = self._none(), np.empty(0, dtype=np.uint64)
        rows = [part.rows for part in parts if len(part.rows)] or [nothing[0]]
        ranks = np.concatenate([nothing[1], *(part.ranks for part in parts)])
        extents = (part.extent for part in parts)
        extent = reduce(operator.add, extents, Extent.empty(self.n_features))
        return Drawn(_joined(rows), ranks, n_rows, extent)

    def _parts(self) -> list[Any]:
        if is_dask_frame(self.X):
            return _parts_of_frame(self.X)
        return list(np.ravel(self.X.to_delayed()))

    def _none(self) -> Any:
        if is_dask_frame(self.X):
            return self.X._meta.iloc[:0]
        return np.empty((0, self.n_features), self.X.dtype)


def _parts_of_frame(X: Any) -> list[Any]:
    """Partitions of a data frame, one by one.

    Of Parquet files Dask reads several as one where few columns of them are wanted. Numbers of rows
    that were counted in one column would then be those of other parts.
    """
    parts = X.to_delayed()
    if len(parts) == X.npartitions:
        return list(parts)
    return [X.partitions[i].to_delayed()[0] for i in range(X.npartitions)]


class _Pick:
    """Picks a partition's part of a sample; a class, so that it pickles."""

    def __init__(self, seed: int, limit: np.uint64) -> None:
        self.seed, self.limit = seed, limit

    def __call__(self, part: Any, start: int, length: int) -> Drawn:
        if len(part) != length:
            raise ValueError(
                f"A partition had {length} rows when they were counted, and {len(part)} when they "
                "were read: the collection gives other rows every time. Persist it first."
            )
        part = unmasked(part)
        array = check_table(BaseEstimator(), part, reset=True)
        ranks = row_ranks(start, length, self.seed)
        kept = np.flatnonzero(ranks <= self.limit)
        rows = part.iloc[kept] if isinstance(part, pd.DataFrame) else part[kept]
        extent = Extent.empty(array.shape[1]).add(array)
        return Drawn(rows, ranks[kept], length, extent)


def _joined(rows: list[Any]) -> Any:
    if isinstance(rows[0], pd.DataFrame):
        return pd.concat(rows, ignore_index=True)
    return np.concatenate(rows)
