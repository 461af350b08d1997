"""Rows that arrive in chunks of any size: held in few pieces, and drawn from as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adaptive_vq.tables import row_chunks

__all__ = ["Gathered", "Reservoir", "blocks_of", "rows_at"]

_MOST_SMALL = 256  # parts that are joined at a time
_SMALL = 4_096  # rows of a part that is not worth holding on its own


class Gathered:
    """Parts of a table, the small ones joined now and then: the cost of each is its own."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._parts: list[Any] = []
        self._small: list[Any] = []

    def add(self, part: Any) -> None:
        """Hold a part, which must not change any more."""
        self.n_rows += part.shape[0]
        self._small.append(part)
        if len(self._small) >= _MOST_SMALL or part.shape[0] >= _SMALL:
            self._parts.append(_joined(self._small))
            self._small = []

    def parts(self) -> list[Any]:
        """All parts, in the order in which they came."""
        return self._parts + self._small

    def joined(self) -> Any:
        """All rows as one table."""
        return _joined(self.parts())


class Reservoir:
    """The rows with the smallest numbers, in the order of the table.

    Parameters
    ----------
    capacity : int or None
        Most rows kept; None: all.

    Notes
    -----
    Rows that can not stay are dropped as they come, and half as many again as are kept wait to be
    sorted out together, so that a chunk of few rows does not cost a copy of all that is kept.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity, self._types = capacity, set[Any]()
        self._begin(np.inf)

    def _begin(self, largest: float) -> None:
        self._rows, self._numbers = Gathered(), Gathered()
        self._largest = largest

    def add(self, chunk: Any, numbers: NDArray[np.float64]) -> None:
        """Take rows, shape (n, n_features), and their numbers, shape (n,), into account."""
        near = np.flatnonzero(numbers <= self._largest)
        types = _types(chunk)
        # A part without rows still has its say in the types of the columns.
        if len(near) or types not in self._types:
            self._types.add(types)
            self._rows.add(rows_at(chunk, near))
            self._numbers.add(numbers[near])
        if self._capacity is not None and len(self) > self._capacity + self._capacity // 2:
            self._sort_out(self._capacity)

    def __len__(self) -> int:
        return self._rows.n_rows

    def rows(self) -> Any:
        """Return the rows kept, of any chunk."""
        if self._capacity is not None and len(self) > self._capacity:
            self._sort_out(self._capacity)
        return self._rows.joined()

    def _sort_out(self, capacity: int) -> None:
        numbers, parts = self._numbers.joined(), self._rows.parts()
        stay = np.zeros(len(numbers), dtype=bool)
        stay[np.argpartition(numbers, capacity - 1)[:capacity]] = True
        start, numbers = 0, numbers[stay]
        self._begin(float(numbers.max()))
        for place, part in enumerate(parts):
            own = stay[start : start + part.shape[0]]
            start += part.shape[0]
            parts[place] = rows_at(part, np.flatnonzero(own))  # frees the part
        self._rows.add(_joined(parts))
        self._numbers.add(numbers)


def blocks_of(chunks: Iterable[Any], n_rows: int) -> Iterator[Any]:
    """Blocks of equally many rows, so that how the table is cut makes no difference.

    Parameters
    ----------
    chunks : iterable of arrays or DataFrames
        With the same columns. May fill the same buffer again and again.
    n_rows : int

    Yields
    ------
    array or DataFrame of shape (n_rows, n_features)
        The last one may have fewer rows.
    """
    held = Gathered()
    for piece in (piece for chunk in chunks for piece in row_chunks(chunk, n_rows)):
        first = min(piece.shape[0], n_rows - held.n_rows)
        held.add(rows_at(piece, np.arange(first)))
        if held.n_rows == n_rows:
            yield held.joined()
            held = Gathered()
            held.add(rows_at(piece, np.arange(first, piece.shape[0])))
    if held.n_rows:
        yield held.joined()


def rows_at(chunk: Any, places: NDArray[np.intp]) -> Any:
    """Copy rows of a table: what is taken from a memory map must not keep it open."""
    if isinstance(chunk, pd.DataFrame):
        return chunk.iloc[places]
    part = chunk[places]
    return np.asarray(part) if isinstance(part, np.ndarray) else part


def _types(chunk: Any) -> Any:
    types = getattr(chunk, "dtypes", None)
    return getattr(chunk, "dtype", None) if types is None else tuple(types)


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    polars: Any = import_module("polars")  # an optional dependency
    return polars.concat(parts, how="vertical_relaxed")  # integers beside floats are floats
