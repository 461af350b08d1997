"""Cells that are no numbers: found, and refused by the name of their column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import IOBase
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from adaptive_vq._wording import shown

__all__ = [
    "is_arrow",
    "is_polars",
    "name_unreadable_column",
    "refuse_bfloat16",
    "refuse_no_table",
    "refuse_text",
    "unmasked",
    "without_index",
    "without_na",
]

_ARROW_NUMBERS = ("int", "uint", "half", "float", "double", "decimal", "bool", "null")
_SHOWN = 60
"""Most characters of a cell in a message."""


def refuse_no_table(X: Any) -> None:
    """Refuse what holds or names a table but is none, which numpy takes for a single cell."""
    if isinstance(X, str | PathLike):
        raise TypeError(
            f"X is {_shown(X)}, not a table: read the file first, for example with pandas.read_csv."
        )
    records = isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], Mapping)
    # Sparse matrices of one kind are dicts as well; they are refused as sparse.
    if (isinstance(X, Mapping) and not hasattr(X, "shape")) or records:
        kind = type(X[0]).__name__ + "s" if records else type(X).__name__
        raise TypeError(f"X holds cells in {kind}, not as a table: give pandas.DataFrame(X).")
    if X is None:
        raise TypeError("X is None: give a table of rows and columns.")
    _refuse_chunks(X)
    refuse_bfloat16(X)


def _refuse_chunks(X: Any) -> None:
    """Refuse what gives one table after the other, such as a reader of a long file."""
    if isinstance(X, IOBase):
        raise TypeError(
            f"X is a {type(X).__name__}, a file and not a table: read it first, for example with "
            "pandas.read_csv."
        )
    tables = isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], pd.DataFrame)
    if tables or (isinstance(X, Iterator) and not hasattr(X, "shape")):
        raise TypeError(
            f"X is a {type(X).__name__}{' of tables' if tables else ''}, not a table: fit with "
            "adaptive_vq.streaming.fit_chunks, which takes chunks, or with pandas.concat(X); give "
            "other methods one chunk at a time."
        )


def refuse_bfloat16(X: Any, name: str = "X") -> None:
    """Refuse a tensor in the precision that many networks give, and numpy does not have."""
    if str(getattr(X, "dtype", None)) == "torch.bfloat16":
        raise TypeError(
            f"{name} is a tensor of bfloat16, a type that numpy does not have: give "
            "tensor.float(), which holds the same numbers."
        )


def refuse_text(X: Any) -> None:
    """Refuse text and dates among objects: numpy would make a number of a code such as 02139."""
    if isinstance(X, (list, tuple)):
        X = _as_array(X)
    for name, cells in _object_columns(X):
        if _are_numbers(cells):
            continue
        foreign = (str, bytes, np.datetime64, np.timedelta64)
        texts = [cell for cell in cells if isinstance(cell, foreign)]
        if texts:
            # One "?" makes text of a column of numbers: it is the cell to look for.
            cell = next((text for text in texts if not _is_real(text)), texts[0])
            raise ValueError(
                f"Column {name!r} of X is not numeric: it holds {_shown(cell)}. Encode or drop it; "
                "turn text that means numbers into numbers first (pandas.to_numeric), and what "
                "stands for a missing cell into NaN."
            )


def _shown(cell: Any) -> str:
    """Write a cell as it is shown in a message."""
    return shown(cell.item() if isinstance(cell, np.generic) else cell, _SHOWN)


def _as_array(rows: Any) -> Any:
    """Array of rows in lists; as they are where they make none, which is told later."""
    try:
        array = np.asarray(rows)
        # One text makes texts of all cells: the column at fault is the one that holds it.
        return np.asarray(rows, dtype=object) if array.dtype.kind in "SU" else array
    except (TypeError, ValueError):
        return rows


def _are_numbers(cells: Any) -> bool:
    """Whether cells of a type that promises nothing are numbers, all of them at once."""
    if isinstance(cells, pd.Series) and isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.cat.categories
    kinds = {"floating", "integer", "mixed-integer-float", "decimal", "boolean", "empty"}
    return not is_polars(cells) and pd.api.types.infer_dtype(cells, skipna=True) in kinds


def name_unreadable_column(X: Any, error: Exception) -> None:
    """Raise `error` again with the column that holds a cell which is no real number, if any."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    if isinstance(X, (list, tuple)):
        X = _as_array(X)
    for name, cells in _object_columns(X):
        for cell in cells:
            if not _is_real(cell):
                why = str(error).partition("\n")[0]  # numpy and scikit-learn may print the table
                raise kind(
                    f"Column {name!r} of X is not numeric: it holds {_shown(cell)} ({why}). "
                    "Encode or drop it."
                ) from error


def _object_columns(X: Any) -> list[tuple[Any, Any]]:
    """Return name and cells of the columns whose type does not promise numbers."""
    if isinstance(X, pd.DataFrame):
        types = zip(X.columns, X.dtypes, strict=True)  # taking columns out costs more than a row
        return [(name, X[name]) for name, dtype in types if dtype.kind not in "biuf"]
    if is_polars(X) and hasattr(X, "columns"):
        kinds = {name: X[name].dtype for name in X.columns}
        numbers = [n for n, kind in kinds.items() if kind.is_numeric() or str(kind) == "Boolean"]
        return [(name, X[name]) for name in X.columns if name not in numbers]
    if is_arrow(X):
        others = [f.name for f in X.schema if not str(f.type).startswith(_ARROW_NUMBERS)]
        return [(name, X[name].to_pylist()) for name in others]
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OSU":
        return [(f"x{j}", X[:, j]) for j in range(X.shape[1])]
    return []


def _is_real(cell: Any) -> bool:
    """Tell whether float64 can hold a cell; None and NA are missing cells, thus fine."""
    if cell is None or cell is pd.NA:
        return True
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_polars(X: Any) -> bool:
    """Whether a table or column is one of polars, which need not be installed."""
    return type(X).__module__.partition(".")[0] == "polars" and hasattr(X, "to_numpy")


def is_arrow(X: Any) -> bool:
    """Whether a table is one of pyarrow, which need not be installed."""
    # A Dask Delayed has whatever attribute is asked for, as a Delayed.
    return isinstance(getattr(X, "column_names", None), list) and hasattr(X, "schema")


def without_index(X: Any) -> Any:
    """Leave out what was the index of a pandas table, which pyarrow keeps as columns of its own."""
    if not is_arrow(X):
        return X
    noted = (getattr(X.schema, "pandas_metadata", None) or {}).get("index_columns", [])
    # An index that only counts the rows is noted as a dict, and is no column.
    index = [name for name in noted if name in X.column_names]
    kept = [name for name in X.column_names if name not in index]
    return X.select(kept) if index and kept else X


def unmasked(X: Any) -> Any:
    """NaN in place of what a masked array masks: it is missing, whatever is under the mask."""
    if not isinstance(X, np.ma.MaskedArray) or X.dtype.kind not in "biufO":
        return X
    return np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)


def without_na(X: Any) -> Any:
    """NaN in place of NA, which numpy cannot convert, among Python objects.

    Complex columns are refused: beside booleans or nullable types scikit-learn converts a frame
    before it looks for them, and takes their real parts.
    """
    X = unmasked(X)
    if isinstance(X, pd.DataFrame):
        if any(dtype.kind == "c" for dtype in X.dtypes):
            raise ValueError("Complex data not supported")
        thin = {c: t.subtype for c, t in X.dtypes.items() if isinstance(t, pd.SparseDtype)}
        X = X.astype(thin) if thin else X
        objects = X.columns[[dtype.kind == "O" for dtype in X.dtypes]]
        if bool(X[objects].isna().to_numpy().any()):
            X = X.copy()
            X[objects] = X[objects].where(X[objects].notna(), np.nan)
    elif is_polars(X) and hasattr(X, "columns"):
        # numpy has no integers of 128 bits.
        wide = [name for name in X.columns if str(X[name].dtype).endswith("Int128")]
        X = X.cast(dict.fromkeys(wide, float)) if wide else X
    elif is_arrow(X):
        if not hasattr(X, "to_batches"):  # one batch, of which scikit-learn sees no names
            from pyarrow import Table

            X = Table.from_batches([X])
        for j, field in enumerate(X.schema):
            # Their missing cells would become the ones before, on the way to numpy.
            if str(field.type).startswith("dictionary"):
                X = X.set_column(j, field.name, X.column(j).cast(field.type.value_type))
    elif isinstance(X, np.ndarray) and X.dtype == object:
        X = np.where(pd.isna(X), np.nan, X)
    return X
