"""Explicit lists of columns: dictionaries, JSON files, labels and name prefixes.

Selection itself is :class:`~sklearn.compose.ColumnTransformer`'s, so a category takes whatever a
ColumnTransformer takes; what is added are errors that name the category and the column.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from adaptive_vq._arrays import Ints
from adaptive_vq._wording import counted

__all__ = ["SEPARATOR", "families", "labeled", "mapped", "read_mapping", "without_callables"]

#: Stands between family and feature in a column name, and between category and level in a code's.
SEPARATOR = "__"


def mapped(spec: Mapping[Any, Any], names: Sequence[str]) -> dict[str, Ints]:
    """Resolve a dictionary from category name to columns.

    Parameters
    ----------
    spec : mapping
        Values are names, integers, slices or masks as in
        :class:`~sklearn.compose.ColumnTransformer`. For callables see `without_callables`.
    names : sequence of str
        Column names.

    Returns
    -------
    dict of str to ndarray of int64
        Sorted column positions, in the order of `spec`. Columns may be left over.

    Raises
    ------
    ValueError
        If a category is empty, overlaps another, names an unknown column or has an unusable name.

    Examples
    --------
    >>> from adaptive_vq.column_specs import mapped
    >>> mapped({"ends": ["c", "a"]}, ["a", "b", "c"])
    {'ends': array([0, 2])}
    """
    if not spec:
        raise ValueError("categories is an empty dict; list at least one category.")
    categories: dict[str, Ints] = {}
    owner: dict[int, str] = {}
    for name, selection in spec.items():
        check_name(name)
        categories[name] = _select(name, selection, names)
        for position in categories[name].tolist():
            if owner.setdefault(position, name) != name:
                raise ValueError(
                    f"Column {names[position]!r} is in two categories, {owner[position]!r} and "
                    f"{name!r}; keep it in one."
                )
    return categories


def without_callables(spec: Any, frame: pd.DataFrame) -> Any:
    """Call the callables of a dictionary of categories on a table.

    Parameters
    ----------
    spec : object
        A specification of categories; anything but a dictionary is returned as it is.
    frame : pandas.DataFrame of shape (n_samples, n_features)
        What the callables see.

    Returns
    -------
    object
        The same specification with columns in place of callables.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_selector
    >>> from adaptive_vq.column_specs import without_callables
    >>> frame = pd.DataFrame({"a": [1.0], "flag": [True]})
    >>> without_callables({"flags": make_column_selector(dtype_include=bool)}, frame)
    {'flags': ['flag']}
    """
    if not isinstance(spec, Mapping):
        return spec
    called = {k: _called(k, v, frame) if callable(v) else v for k, v in spec.items()}
    if all(isinstance(name, str) for name in frame.columns):
        return called
    # A selector answers with the table's own column labels; numbers are positions everywhere else.
    positions = {label: i for i, label in enumerate(frame.columns)}
    return {
        k: [positions.get(c, c) for c in v]
        if callable(spec[k]) and isinstance(v, (list, tuple, pd.Index))
        else v
        for k, v in called.items()
    }


def _called(category: str, selector: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> Any:
    try:
        return selector(frame)
    except Exception as error:
        raise ValueError(
            f"Category {category!r}: {selector!r} does not select columns of X, which it gets as a "
            f"DataFrame: {error}"
        ) from error


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Read a dictionary of categories from a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        A file with one object from category name to a list of columns.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    ValueError
        If the file can not be read, is not JSON, holds no object, or names a category twice.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adaptive_vq.column_specs import read_mapping
    >>> read_mapping(Path("no_such_file.json"))
    Traceback (most recent call last):
        ...
    ValueError: categories='no_such_file.json' can not be read as JSON: ...
    """
    try:
        text = path.read_text(encoding="utf-8")
        mapping = json.loads(text, object_pairs_hook=_without_repeats)
    except (OSError, ValueError) as error:
        raise ValueError(f"categories={str(path)!r} can not be read as JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise ValueError(
            f"categories={str(path)!r} must hold an object from category name to a list of "
            f"columns; it holds a {type(mapping).__name__}."
        )
    return mapping


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; of equal keys json would drop all but the last."""
    keys = [key for key, _ in pairs]
    if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
        raise ValueError(f"the key {twice[0]!r} stands there twice")
    return dict(pairs)


def labeled(labels: Any, names: Sequence[str]) -> dict[str, Ints]:
    """Resolve one label per column.

    Parameters
    ----------
    labels : sequence of length n_features
        Strings or numbers; None or NaN leaves a column unlisted. A :class:`pandas.Series` is
        matched by its index: names of columns, or their positions.
    names : sequence of str
        Column names.

    Returns
    -------
    dict of str to ndarray of int64
        Column positions per label, labels sorted.

    Raises
    ------
    ValueError
        If there is not exactly one label per column, an index names no column or one twice, or a
        label can not name a category.

    Examples
    --------
    >>> from adaptive_vq.column_specs import labeled
    >>> labeled(["late", "early", "late"], ["a", "b", "c"])
    {'early': array([1]), 'late': array([0, 2])}
    """
    if isinstance(labels, pd.Series):
        labels = _by_name(labels, names)
    labels = list(labels)
    if len(labels) != len(names):
        raise ValueError(
            f"categories holds {counted(len(labels), 'label')} but X has "
            f"{counted(len(names), 'column')}; give one label per column, or a dict from name to "
            "columns."
        )
    if not all(label is None or label is pd.NA or np.isscalar(label) for label in labels):
        raise ValueError(
            "categories as a list holds one label (a string or a number) per column; for lists of "
            "columns use a dict from name to columns."
        )
    texts = np.asarray(["" if pd.isna(label) else str(label) for label in labels], dtype=object)
    for name in set(texts) - {""}:
        check_name(name)
    return {text: np.flatnonzero(texts == text) for text in sorted(set(texts)) if text}


def _by_name(labels: pd.Series, names: Sequence[str]) -> pd.Series:
    """Labels in the order of the columns that their index names."""
    places = range(len(names))
    if labels.index.is_unique and set(labels.index) == set(places):
        return labels.reindex(places)
    if len(labels) != len(names):
        return labels  # which is told of any labels
    known = set(names)
    if strangers := [name for name in labels.index if name not in known]:
        raise ValueError(
            f"categories labels {strangers[0]!r}, which is no column of X."
            f"{did_you_mean(str(strangers[0]), names)} The index of a Series has to name the "
            "columns; give a list for labels in the order of the columns."
        )
    if not labels.index.is_unique:
        twice = labels.index[labels.index.duplicated()][0]
        raise ValueError(f"categories labels column {twice!r} more than once.")
    return labels.reindex(list(names))


def families(names: Sequence[str]) -> dict[str, Ints]:
    """Group columns called ``family__feature`` by family.

    Parameters
    ----------
    names : sequence of str
        Column names. Those without a family are left out.

    Returns
    -------
    dict of str to ndarray of int64
        Column positions per family, families sorted by name.

    Examples
    --------
    >>> from adaptive_vq.column_specs import families
    >>> families(["time__lag", "size", "time__hour"])
    {'time': array([0, 2])}
    """
    parts = [str(name).partition(SEPARATOR) for name in names]
    found = np.asarray([family if sep else "" for family, sep, _ in parts], dtype=object)
    return {family: np.flatnonzero(found == family) for family in sorted(set(found)) if family}


def check_name(name: Any) -> None:
    """Raise unless `name` can name a category and, with a suffix, its codes."""
    if not isinstance(name, str) or not name or SEPARATOR in name:
        raise ValueError(
            f"A category's name must be a string that is not empty and has no {SEPARATOR!r} in it "
            f"(codes are named '<category>{SEPARATOR}L0'); got {name!r}."
        )


def did_you_mean(name: str, known: Iterable[Any]) -> str:
    """Return a sentence that suggests the known name nearest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(map(str, known)), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _select(category: str, selection: Any, names: Sequence[str]) -> Ints:
    """Let a ColumnTransformer pick from one row that holds the column positions."""
    if not isinstance(selection, slice):
        selection = list(selection) if isinstance(selection, (set, range)) else selection
        selection = np.atleast_1d(np.asarray(selection, dtype=object)).tolist()
    _check_known(category, selection, names)
    positions = pd.DataFrame([np.arange(len(names))], columns=list(names))
    picker = ColumnTransformer([("columns", "passthrough", selection)])
    try:
        picked = np.asarray(picker.fit_transform(positions), dtype=np.int64).ravel()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"Category {category!r}: {selection!r} does not select columns of X: {error}"
        ) from error
    if not len(picked):
        raise ValueError(f"Category {category!r} lists no column; give it columns or drop it.")
    return np.sort(picked)


def _check_known(category: str, selection: Any, names: Sequence[str]) -> None:
    """Name the first column that X does not have or that is listed twice."""
    is_slice = isinstance(selection, slice)
    wanted: list[Any] = [selection.start, selection.stop] if is_slice else selection
    known = set(names)
    seen = set()
    masked = not is_slice and any(isinstance(column, (bool, np.bool_)) for column in wanted)
    if masked and len(wanted) != len(names):
        raise ValueError(
            f"Category {category!r} is a mask of {len(wanted)} values, but X has {len(names)} "
            "columns; give one per column."
        )
    for column in wanted:
        if isinstance(column, str) and column not in known:
            raise ValueError(
                f"Category {category!r} names column {column!r}, which X does not have."
                f"{did_you_mean(column, names)} If an earlier step has dropped it, as "
                "FeatureCleaner does with near-duplicates (see its report_), leave it out."
            )
        if is_slice or isinstance(column, bool) or not isinstance(column, (str, Integral)):
            continue
        if isinstance(column, Integral) and not -len(names) <= int(column) < len(names):
            raise ValueError(
                f"Category {category!r} names column number {column}, but X has "
                f"{counted(len(names), 'column')}."
            )
        name = column if isinstance(column, str) else names[int(column)]
        if name in seen:
            raise ValueError(f"Category {category!r} lists column {name!r} more than once.")
        seen.add(name)
