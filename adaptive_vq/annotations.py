"""How decisions travel from step to step of a pipeline: a note on the table.

A scikit-learn :class:`~sklearn.pipeline.Pipeline` hands nothing but ``X`` to the next step. The
first two estimators pass ``X`` through as a :class:`pandas.DataFrame` and write what they decided
into ``DataFrame.attrs``; later steps read it there. This is the only module that knows what stands
in ``attrs``; :mod:`adaptive_vq.tables` hands it on.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adaptive_vq._alerts import warn
from adaptive_vq._foreign_cells import is_arrow
from adaptive_vq._wording import counted

__all__ = [
    "ROLES",
    "annotate",
    "annotation",
    "attributes",
    "note_repeats",
    "play_same_role",
    "repeat_weights",
    "warn_of_lost_repeats",
]

ROLES = {
    "FeatureCharacterizer": "characterizer",
    "AdaptiveRatioSelector": "selector",
    "HierarchicalVQVAE": "codec",
}
"""What classes do with notes, by name; their subclasses add themselves (`play_same_role`)."""

_KEY = "adaptive_vq"
_REPEATS = "adaptive_vq.repeats"


def play_same_role(cls: type) -> None:
    """Let a subclass count as what its base class is wherever notes are looked for.

    A callback context knows classes by their names only.

    Examples
    --------
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.annotations import ROLES
    >>> class Mine(HierarchicalVQVAE):
    ...     pass
    >>> ROLES["Mine"]
    'codec'
    """
    role = next((ROLES[base.__name__] for base in cls.__mro__ if base.__name__ in ROLES), None)
    if role is not None:
        ROLES.setdefault(cls.__name__, role)


def annotate(frame: pd.DataFrame, note: dict[str, Any]) -> pd.DataFrame:
    """Return a shallow copy of a table that carries a note.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n_samples, n_features)
        The table. Neither it nor its note is changed.
    note : dict
        JSON values only (pandas deep-copies them on every operation). Its keys replace those of
        a note already there; the other keys stay.

    Returns
    -------
    pandas.DataFrame of shape (n_samples, n_features)
        The same cells, with the merged note and a fingerprint of the column names.

    See Also
    --------
    annotation : Read the note.

    Examples
    --------
    >>> import pandas as pd
    >>> from adaptive_vq.annotations import annotate, annotation
    >>> table = annotate(pd.DataFrame({"a": [1.0], "b": [2.0]}), {"by": ["Someone"]})
    >>> annotation(table)["by"]
    ['Someone']
    """
    annotated = frame.copy(deep=False)
    merged = {**frame.attrs.get(_KEY, {}), **note, "columns": _fingerprint(frame)}
    annotated.attrs = {**frame.attrs, _KEY: merged}
    return annotated


def attributes(X: Any) -> dict[Any, Any]:
    """Return what stands beside the cells of a table, notes of steps among it.

    Parameters
    ----------
    X : object
        Anything; only a :class:`pandas.DataFrame`, and a pyarrow table made of one, have such.

    Returns
    -------
    dict

    Examples
    --------
    >>> import pandas as pd
    >>> from adaptive_vq.annotations import attributes
    >>> attributes(pd.DataFrame({"a": [1.0]}))
    {}
    """
    if isinstance(X, pd.DataFrame):
        return dict(X.attrs)
    # Parquet files and their pyarrow tables keep what pandas had, among what they know of it.
    of_pandas = getattr(X.schema, "pandas_metadata", None) if is_arrow(X) else None
    return dict((of_pandas or {}).get("attributes") or {})


def annotation(X: Any) -> dict[str, Any] | None:
    """Read the note of a table.

    Parameters
    ----------
    X : object
        Anything; only a :class:`pandas.DataFrame`, and a pyarrow table made of one, can carry a
        note.

    Returns
    -------
    dict or None
        The note, or None where there is none.

    Raises
    ------
    ValueError
        If columns were added, dropped, renamed or reordered since the note was written: its column
        numbers would then mean other columns. If something else stands in its place, or what it
        says does not hold together, as in a file that was altered.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.annotations import annotation
    >>> annotation(np.zeros((2, 2))) is None
    True
    """
    found = attributes(X)
    if _KEY not in found:
        return None
    note = found[_KEY]
    if not isinstance(note, dict) or "columns" not in note:
        raise ValueError(
            f"X.attrs[{_KEY!r}], where steps of this package leave notes, holds {note!r}, which is "
            "none. Delete it."
        )
    if not _holds_together(note):
        raise ValueError(
            f"X.attrs[{_KEY!r}] holds a note that no step of this package has written like this. "
            "Delete it, and let the steps write theirs anew."
        )
    if note["columns"] != _fingerprint(X):
        _refuse_changed_columns(X, note)
    return dict(note)


def note_repeats(frame: pd.DataFrame, repeats: NDArray[np.int64]) -> pd.DataFrame:
    """Return a shallow copy of a table that says how many columns each of its own stands for.

    Unlike a plan, this holds for a column wherever it goes: it is kept by name, and columns may be
    added, dropped or reordered afterwards.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n_samples, n_features)
        The table. Neither it nor its note is changed.
    repeats : ndarray of int of shape (n_features,)
        1 for a column that stands for itself alone.

    Returns
    -------
    pandas.DataFrame of shape (n_samples, n_features)

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from adaptive_vq.annotations import note_repeats, repeat_weights
    >>> table = note_repeats(pd.DataFrame({"a": [1.0], "b": [2.0]}), np.array([3, 1]))
    >>> repeat_weights(table[["b", "a"]])
    array([1., 3.])
    """
    noted = frame.copy(deep=False)
    more = {name: int(n) for name, n in zip(frame.columns, repeats, strict=True) if n > 1}
    others = {key: value for key, value in frame.attrs.items() if key != _REPEATS}
    noted.attrs = {**others, _REPEATS: more} if more else others
    return noted


def warn_of_lost_repeats(output: Any, repeats: NDArray[np.int64]) -> Any:
    """Warn where a polars table can not say what its columns stand for.

    Parameters
    ----------
    output : object
        What a step gives on.
    repeats : ndarray of int of shape (n_features,)

    Returns
    -------
    object
        `output` as it is.
    """
    if hasattr(output, "get_columns") and (repeats > 1).any():
        warn(
            "A polars table can carry no note: to later steps each column counts once, though some "
            "stand for near-duplicates that were dropped (repeats_). Give pandas tables, or "
            "column_weights=cleaner.repeats_."
        )
    return output


def repeat_weights(X: Any) -> NDArray[np.float64] | None:
    """Read how many columns each column stands for.

    Parameters
    ----------
    X : object
        Anything; only a :class:`pandas.DataFrame`, and a pyarrow table made of one, can say so.

    Returns
    -------
    ndarray of shape (n_features,) or None
        None where each stands for itself.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq.annotations import repeat_weights
    >>> repeat_weights(np.zeros((2, 2))) is None
    True
    """
    more = attributes(X).get(_REPEATS)
    if not more:
        return None
    weights = np.array([float(more.get(name, 1)) for name in _names(X)])
    return weights if (weights > 1).any() else None


def _names(X: Any) -> list[Any]:
    return list(X.column_names if is_arrow(X) else X.columns)


def _fingerprint(X: Any) -> list[Any]:
    """Return the number of columns and a digest of their names, in order."""
    text = "\x1f".join(map(str, _names(X)))
    return [X.shape[1], hashlib.blake2b(text.encode(), digest_size=16).hexdigest()]


def _holds_together(note: dict[str, Any]) -> bool:
    """Whether a note has the form that steps give it: attrs come along in Parquet files."""
    kinds = {"by": list, "columns": list, "units": dict, "cuts": list, "scores": dict}
    if not all(isinstance(note.get(key, kind()), kind) for key, kind in kinds.items()):
        return False
    plan, columns = note.get("plan") or {}, note["columns"]
    if not isinstance(plan, dict) or len(columns) != 2 or type(columns[0]) is not int:
        return False
    found = [*note.get("cuts", []), *([plan.get("categories")] if plan else [])]
    if "categories" in note:
        found.append(note["categories"])
    return all(_is_partition(each, columns[0]) for each in found)


def _is_partition(categories: Any, n_columns: int) -> bool:
    """Whether each column is in one category, and no other number."""
    if not isinstance(categories, dict):
        return False
    if not all(isinstance(columns, list) for columns in categories.values()):
        return False
    numbers = list(chain(*categories.values()))
    whole = all(type(number) is int for number in numbers)
    return whole and sorted(numbers) == list(range(n_columns))


def _refuse_changed_columns(X: Any, note: dict[str, Any]) -> None:
    writer, before = (note.get("by") or ["the annotating step"])[-1], note["columns"][0]
    same = before == X.shape[1]
    now = "these under other names or in another order" if same else str(X.shape[1])
    # A table that was kept with its note is in no pipeline that could be put in order.
    drop = (
        ", or drop what it has noted on the table: X.attrs.clear()" if hasattr(X, "attrs") else ""
    )
    raise ValueError(
        f"The columns of X were changed after {writer}: it saw {counted(before, 'column')}, X "
        f"now has {now}. Put every step that adds, drops, renames or reorders columns before "
        f"{writer}{drop}."
    )
