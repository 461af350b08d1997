"""Tables from and to files: CSV, Parquet, Feather, NPY, NPZ; ``-`` is CSV on stdin or stdout."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adaptive_vq._files import replacing, require_file
from adaptive_vq._json import plain
from adaptive_vq._wording import counted, listed

__all__ = [
    "STREAM",
    "check_suffix",
    "codes_frame",
    "has_pyarrow",
    "read_table",
    "rows_frame",
    "write_report",
    "write_table",
]

STREAM = "-"
_MANY_DIGITS = re.compile(r"[-+]?\d*\.\d{3,}([eE][-+]?\d+)?")
_MISSING = {"", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"}
"""What pandas, which has a few more, reads as a missing cell."""
Table = pd.DataFrame | NDArray[Any]


def has_pyarrow() -> bool:
    """Tell whether Parquet and Feather files can be read and written.

    Returns
    -------
    bool
    """
    return find_spec("pyarrow") is not None


def read_table(path: str | Path) -> Table:
    r"""Read a table.

    Parameters
    ----------
    path : str or path
        Ends in .csv, .tsv, .parquet, .feather, .npz or .npy; ``-`` reads CSV from stdin. An NPZ
        file holds a 2-D array ``X`` (or only one array) and may hold ``feature_names`` beside it.

    Returns
    -------
    pandas.DataFrame or ndarray of shape (n_samples, n_features)
        An array where the file has no column names.

    Raises
    ------
    OSError
        If the file can not be read.
    ValueError
        If it is no such table, naming the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from adaptive_vq._tables_io import read_table
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("a,b\n1,2\n")
    >>> read_table(path).shape
    (1, 2)
    """
    if str(path) == STREAM:
        return _parsed(path, lambda: _parse_csv(io.StringIO(_open(sys.stdin, "stdin").read())))
    reader = _by_suffix(path, _READERS)
    require_file(path)
    return _parsed(path, lambda: reader(path))


def write_table(table: Table, path: str | Path) -> None:
    """Write a table; a file that is already there is replaced at the end or not at all.

    Parameters
    ----------
    table : pandas.DataFrame or ndarray of shape (n_samples, n_features)
        An array gets the names x0, x1, ... where the form of the file has names.
    path : str or path
        As for `read_table`; ``-`` writes CSV to stdout.

    Raises
    ------
    OSError
        If the file can not be written.
    ValueError
        For an unknown suffix.
    """
    frame = rows_frame(table)
    if str(path) == STREAM:
        frame.to_csv(_open(sys.stdout, "stdout"), index=False)
        return
    writer = _by_suffix(path, _WRITERS)
    with replacing(path) as place:
        writer(frame, place)


def check_suffix(path: str | Path) -> None:
    """Raise for a file whose form is not known, before any work is done.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    ValueError
        Naming the suffixes that are known.
    """
    if str(path) != STREAM:
        _by_suffix(path, _WRITERS)


def write_report(report: Any, figures: Any, path: Path) -> None:
    """Write a report as a page or as JSON, by the suffix.

    Parameters
    ----------
    report : Diagnosis or Comparison
    figures : object
        What a JSON file gets.
    path : pathlib.Path
        Ends in .html or .json.
    """
    with replacing(path) as place:
        if path.suffix.lower() == ".html":
            report.to_html(place)
        else:
            place.write_text(json.dumps(plain(figures), indent=2), encoding="utf-8")


def codes_frame(estimator: Any, codes: Any) -> pd.DataFrame:
    """Give codes the names of their categories and levels.

    Parameters
    ----------
    estimator : codec, or Pipeline ending in one
        Fitted.
    codes : array-like, sparse matrix or DataFrame of shape (n_samples, n_columns)
        What its ``transform`` returned.

    Returns
    -------
    pandas.DataFrame of shape (n_samples, n_columns)
        Columns such as ``cluster_1__L0``, without an index of its own.
    """
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    cells = codes.toarray() if hasattr(codes, "toarray") else np.asarray(codes)
    return pd.DataFrame(cells, columns=pd.Index(last.get_feature_names_out(), dtype=str))


def rows_frame(table: Table) -> pd.DataFrame:
    """Give an array the names x0, x1, ...; a data frame stays as it is.

    Parameters
    ----------
    table : pandas.DataFrame or ndarray of shape (n_samples, n_features)

    Returns
    -------
    pandas.DataFrame of shape (n_samples, n_features)
    """
    return table if isinstance(table, pd.DataFrame) else _named(table)


# ------------------------------------------------------------------------------ inside
def _parsed(path: str | Path, read: Callable[[], Table]) -> Table:
    try:
        table = read()
    except ImportError:
        raise
    except Exception as error:  # every reader has errors of its own
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the system; those of pyarrow on damaged files name none
        reason = _reason(error)
        raise ValueError(f"{_shown(path)} can not be read as a table: {reason}") from error
    if table.ndim != 2:
        raise ValueError(f"{_shown(path)} holds an array of shape {table.shape}; 2-D is needed.")
    for n, what in zip(table.shape, ("row", "column"), strict=True):
        if n == 0:
            raise ValueError(f"{_shown(path)} has no {what}.")
    if getattr(table, "dtype", None) is not None and np.iscomplexobj(table):
        raise ValueError(f"{_shown(path)} holds complex numbers; give real ones.")
    return table


def _reason(error: Exception) -> str:
    """Say in one line what is wrong with a file, in the words of its user."""
    text = " ".join(str(error).split())
    if isinstance(error, UnicodeError):
        wide = b"\0" in getattr(error, "object", b"\0")  # every second byte of plain letters
        perhaps = "UTF-16" if wide else "Latin-1 or Windows-1252"
        return f"it is not UTF-8, but perhaps {perhaps}: write it again as UTF-8."
    if "Object arrays" in text:  # which may run code, and are not to be had here
        return (
            "it holds Python objects, which are not loaded. Save numbers: X.astype(float), and "
            "names as text: np.array(names, dtype=str)."
        )
    if "allow_pickle" in text:  # what numpy asks for whatever it does not know
        return "its content is that of no NPY or NPZ file."
    return text or type(error).__name__


def _shown(path: str | Path) -> str:
    return "stdin" if str(path) == STREAM else str(path)


def _open(stream: TextIO | None, name: str) -> TextIO:
    """Return a stream, which Python lacks where a program is started without."""
    if stream is None:  # pandas would give back what it is to write
        raise OSError(errno.EBADF, "it is closed; give the name of a file", name)
    return stream


def _by_suffix(path: str | Path, table: dict[str, Any]) -> Any:
    suffix = Path(path).suffix.lower()
    if suffix not in table:
        raise ValueError(
            f"{path}: the form of a table follows from its suffix; use one of "
            f"{', '.join(table)}, or - for CSV."
        )
    if suffix in (".parquet", ".feather") and not has_pyarrow():
        raise ImportError(f"{path}: {suffix} files need pyarrow; use .csv, or pip install pyarrow.")
    return table[suffix]


def _named(cells: NDArray[Any]) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=pd.Index([f"x{j}" for j in range(cells.shape[1])]))


def _read_csv(path: Any, sep: str = ",") -> pd.DataFrame:
    with Path(path).open(encoding="utf-8-sig", newline="") as text:
        return _parse_csv(text, sep)


def _parse_csv(text: TextIO, sep: str = ",") -> pd.DataFrame:
    """Read CSV, but refuse what pandas would guess at: names, an index, another separator."""
    lines = filter(None, csv.reader(text, delimiter=sep))
    names, cells = next(lines, []), next(lines, [])
    _check_names(names, sep)
    if len(cells) > len(names):
        raise ValueError(
            f"its rows have {counted(len(cells), 'cell')}, its first line "
            f"{counted(len(names), 'name')}."
        )
    text.seek(0)
    # An empty line of a single column is a missing cell.
    options = {"skip_blank_lines": len(names) > 1, **_exact_numbers()}
    with warnings.catch_warnings():
        # Of text among numbers. What takes the table says which cell it is, and what to do.
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        table = pd.read_csv(text, sep=sep, **options)
    if bool(table.iloc[:, -1:].isna().any(axis=None)):
        _refuse_short_lines(text, sep, len(names))
    return table


def _refuse_short_lines(text: TextIO, sep: str, n_columns: int) -> None:
    """Refuse lines with too few cells, which pandas fills up."""
    text.seek(0)
    reader = csv.reader(text, delimiter=sep)
    for cells in reader:
        if cells and len(cells) < n_columns:
            raise ValueError(
                f"line {reader.line_num} has {counted(len(cells), 'cell')}, its first line "
                f"{n_columns} names. Leave missing cells empty between separators."
            )


def _are_data(names: list[str]) -> bool:
    """Whether a first line is likely a row: numbers, not in order as years or wavelengths are.

    Beside numbers no name looks like a missing cell, unless these are whole, as years are. A single
    number is a name where it has few digits after the point.
    """
    known = [name.strip() for name in names if name.strip() not in _MISSING]
    try:
        numbers = [float(name) for name in known]
    except ValueError:
        return False
    if len(names) == 1:
        return bool(known) and _MANY_DIGITS.fullmatch(known[0]) is not None
    if len(known) < len(names) and not all(map(float.is_integer, numbers)):
        return True
    return any(not before < after for before, after in pairwise(numbers))


def _check_names(names: list[str], sep: str) -> None:
    if any("\0" in name for name in names):  # what UTF-16 without a mark at its beginning holds
        raise UnicodeError("zero bytes")
    if len(names) > 1 and "" in map(str.strip, names):
        raise ValueError(
            "a column has no name in the first line. If it is a row index, write the file without."
        )
    if _are_data(names):  # where cells may be equal, as names may not
        raise ValueError(
            f"its first line holds numbers only ({', '.join(map(repr, names[:2]))}, ...), which "
            "would be lost as names of columns. Write names into the first line."
        )
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"the column name {twice[0]!r} stands twice in the first line.")
    others = [other for other in ";\t,|" if other != sep and other in "".join(names)]
    if len(names) == 1 and others:
        raise ValueError(
            f"the first line is not cut by {sep!r}, but holds {others[0]!r}. Separate cells by "
            "commas (by tabs in .tsv), with points in numbers."
        )


def _exact_numbers() -> dict[str, Any]:
    """Return the option that reads every digit; newer versions of pandas need none."""
    major, minor = (int(part) for part in pd.__version__.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _read_parquet(path: Any) -> pd.DataFrame:
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        # pyarrow would not let it come to the check that says so of other tables.
        raise ValueError(
            f"it has duplicate column names: {listed(twice, 5)}. Rename or drop the repeated "
            "columns."
        )
    return pd.read_parquet(path)


def _read_npz(path: Any) -> Table:
    try:
        with Path(path).open("rb") as file:  # of a damaged one, numpy would leave it open
            cells, names = _cells_and_names(np.load(file, allow_pickle=False))
    except (zipfile.BadZipFile, zlib.error) as error:
        # It begins as one: of other files numpy says something else.
        raise ValueError(f"the NPZ file is damaged ({error}). Write or copy it again.") from error
    if names is None or cells.ndim != 2:
        return np.asarray(cells)
    if len(names) != cells.shape[1]:
        raise ValueError(
            f"it has {len(names)} feature_names for {counted(cells.shape[1], 'column')}."
        )
    return pd.DataFrame(cells, columns=pd.Index(names))


def _cells_and_names(loaded: Any) -> tuple[NDArray[Any], list[str] | None]:
    if isinstance(loaded, np.ndarray):
        raise ValueError("its content is that of an NPY file; let its name end in .npy.")
    named = "feature_names" in loaded
    tables = [key for key in loaded.files if key != "feature_names"]
    key = "X" if "X" in tables else tables[0] if len(tables) == 1 else None
    if key is None:
        raise ValueError(f"it holds {loaded.files}; name the table 'X'.")
    return loaded[key], _texts(loaded["feature_names"]) if named else None


def _texts(names: NDArray[Any]) -> list[str]:
    """Names of columns, also of bytes, whose text is not that of Python's display of them."""
    if names.ndim != 1:
        raise ValueError(f"its feature_names have the shape {names.shape}; give one per column.")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _read_npy(path: Any) -> Table:
    with Path(path).open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise ValueError("its content is that of an NPZ file; let its name end in .npz.")
    return loaded


_READERS: dict[str, Callable[[Any], Table]] = {
    ".csv": _read_csv,
    ".tsv": lambda path: _read_csv(path, "\t"),
    ".parquet": _read_parquet,
    ".feather": pd.read_feather,
    ".npz": _read_npz,
    ".npy": _read_npy,
}


def _write_npz(frame: pd.DataFrame, path: Path) -> None:
    with path.open("wb") as file:  # to a path numpy adds a suffix, also to .NPZ
        np.savez(file, X=frame.to_numpy(), feature_names=np.array(frame.columns, dtype=str))


def _write_npy(frame: pd.DataFrame, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, frame.to_numpy())


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".feather": lambda frame, path: frame.to_feather(path),
    ".npz": _write_npz,
    ".npy": _write_npy,
}
