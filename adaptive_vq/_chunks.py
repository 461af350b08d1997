"""Chunks of one table: of one kind and with the same columns, else refused by their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from adaptive_vq._foreign_cells import is_polars, refuse_bfloat16, unmasked

__all__ = ["alike", "named_in_errors"]


def alike(chunks: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Chunks with any row as arrays, pandas or polars DataFrames, checked against earlier ones.

    Parameters
    ----------
    chunks : iterable of arrays, DataFrames, or what turns into these (pyarrow, torch)

    Yields
    ------
    where : str
        Which chunk it is, for errors.
    chunk : ndarray, pandas or polars DataFrame of shape (n_rows, n_features)
        All of one kind, with the same columns, whose types can be joined.

    Raises
    ------
    TypeError
        If a chunk is no table, or of another kind than the first.
    ValueError
        If it has not two dimensions, or other columns; if a column holds numbers here and
        something else before.
    """
    first, start, cells = None, 0, dict[Any, str]()
    for place, given in enumerate(chunks):
        chunk = _as_array_or_frame(given, place)
        if chunk.shape[:1] == (0,):
            continue
        _refuse_other_shape(chunk, given, place)
        end = start + chunk.shape[0]
        where, start = f"Chunk {place} (rows {start} to {end - 1}, counted from 0)", end
        kind, columns = first = first or (_kind(chunk), _columns(chunk))
        if _kind(chunk) != kind:
            raise TypeError(
                f"{where} is a {_kind(chunk)}, the first one a {kind}: give all as the same kind "
                "of table."
            )
        _refuse_other_columns(_columns(chunk), columns, where)
        _refuse_other_cells(chunk, cells, where)
        yield where, unmasked(chunk)


@contextmanager
def named_in_errors(where: str) -> Iterator[None]:
    """Add to an error about a chunk, raised in the block, which one it is."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from error


def _as_array_or_frame(chunk: Any, place: int) -> Any:
    if sp.issparse(chunk):
        raise TypeError(f"Chunk {place} is sparse: give chunk.toarray().")
    if hasattr(chunk, "__dask_graph__"):
        raise TypeError(f"Chunk {place} is a Dask {type(chunk).__name__}: give chunk.compute().")
    if not isinstance(chunk, np.ndarray | pd.DataFrame) and not is_polars(chunk):
        if hasattr(chunk, "to_pandas"):  # pyarrow and the like
            return chunk.to_pandas()
        if hasattr(chunk, "__array__"):
            refuse_bfloat16(chunk, f"Chunk {place}")
            return np.asarray(chunk)
    if not hasattr(chunk, "shape"):
        raise TypeError(f"Chunk {place} is {_what_and_how(chunk)}")
    return chunk


def _what_and_how(chunk: Any) -> str:
    """Say what a chunk is that is no table, and what to give instead."""
    kind = type(chunk).__name__
    if isinstance(chunk, str | PathLike):
        return (
            f"{chunk!r}: give what it names, such as pandas.read_parquet({chunk!r}). A file, or a "
            "folder of Parquet files, is given as it is, in no list; a dict of columns as "
            "pandas.DataFrame."
        )
    if hasattr(chunk, "collect"):
        return f"a {kind}: give chunk.collect()."
    if isinstance(chunk, list | tuple) and len(chunk) and not np.ndim(chunk[0]):
        return (
            f"a {kind} of cells, so that the rows of one table may have been given for chunks: "
            "give np.asarray(table)."
        )
    if isinstance(chunk, list | tuple):
        return f"a {kind} of rows: give np.asarray(chunk)."
    return f"a {kind}: give arrays or DataFrames."


def _refuse_other_shape(chunk: Any, given: Any, place: int) -> None:
    if len(chunk.shape) != 2:
        raise ValueError(
            f"Chunk {place} is a {type(given).__name__} of shape {tuple(chunk.shape)}, not of rows "
            "and columns: a single row is chunk.reshape(1, -1). A list of rows that is the table "
            "itself has to be one array."
        )


def _kind(chunk: Any) -> str:
    if isinstance(chunk, pd.DataFrame):
        return "pandas DataFrame"
    return "polars DataFrame" if is_polars(chunk) else "NumPy array"


def _columns(chunk: Any) -> list[Any]:
    return list(getattr(chunk, "columns", range(chunk.shape[1])))


def _refuse_other_columns(names: list[Any], first: list[Any], where: str) -> None:
    if names == first:
        return
    absent = [name for name in first if name not in names]
    new = [name for name in names if name not in first]
    if absent or new:
        what = f"{absent[0]!r} is missing" if absent else f"{new[0]!r} is new"
    elif len(names) != len(first):
        what = f"{len(names)} instead of {len(first)}, some of one name"
    else:
        place = next(j for j in range(len(first)) if names[j : j + 1] != first[j : j + 1])
        what = f"{first[place]!r} is at another place"
    raise ValueError(
        f"{where} has other columns than the first one: {what}. All must have the same, in the "
        "same order."
    )


def _refuse_other_cells(chunk: Any, cells: dict[Any, str], where: str) -> None:
    """Refuse text where there have been numbers: it would make text of them, or fail unnamed."""
    for name, dtype in _types(chunk).items():
        here = _sort_of(dtype)
        if here is not None and cells.setdefault(name, here) != here:
            raise ValueError(
                f"{where} holds {here} in {name}, where earlier ones hold {cells[name]}: turn them "
                "into the same first."
            )


def _types(chunk: Any) -> dict[str, Any]:
    if isinstance(chunk, np.ndarray):
        return {"its cells": chunk.dtype}
    if is_polars(chunk):
        return {f"column {name!r}": dtype for name, dtype in chunk.schema.items()}
    return {}  # pandas joins columns of any types, to objects


def _sort_of(dtype: Any) -> str | None:
    """What cells of a type are; None where there are none."""
    if isinstance(dtype, np.dtype):
        sorts = {"S": "text", "U": "text", "M": "dates", "m": "time differences"}
        return sorts.get(dtype.kind, "numbers")
    if str(dtype) == "Null":
        return None
    return "numbers" if dtype.is_numeric() or str(dtype) == "Boolean" else str(dtype)
