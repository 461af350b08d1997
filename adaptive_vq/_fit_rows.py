"""The rows that a codec learns from: all of a small table, a fixed draw from a large one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from adaptive_vq._foreign_cells import is_arrow, without_index
from adaptive_vq._twins import pooled
from adaptive_vq.annotations import note_repeats
from adaptive_vq.tables import check_table, column_names, row_chunks
from adaptive_vq.weights import refuse_single_row

__all__ = ["clean_rows", "draw_seed", "kept_weights", "rows_to_learn_from"]


def rows_to_learn_from(
    estimator: Any, X: Any, sample_weight: Any, most: int | None
) -> tuple[Any, NDArray[np.float64], Any]:
    """Check every row of a table; draw `most` of them where there are more.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
        Gets ``n_features_in_`` and ``feature_names_in_``; its ``random_state`` seeds the draw.
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        A large one is read in chunks, so that no second table of its size comes about.
    sample_weight : array-like of shape (n_samples,) or None
        Rows of weight 0 are not drawn; those that are drawn keep their weights.
    most : int or None
        None means all rows.

    Returns
    -------
    X : array-like or DataFrame of shape (n_rows, n_features)
        Of the kind given, in the order of the table; what an earlier step has noted on it stays.
    table : ndarray of shape (n_rows, n_features), float64
        The same cells.
    sample_weight : array-like of shape (n_rows,) or None

    Raises
    ------
    TypeError, ValueError
        As `check_table`, for any row of the table, and for bad weights, among them such as leave a
        single row.

    Notes
    -----
    The draw is that of `streaming.sample_rows`: it depends on the numbers of the rows and the seed
    alone.
    """
    if most is None or not _can_be_cut(X) or X.shape[0] <= most:
        table = check_table(estimator, X, reset=True, ensure_min_samples=2)
        refuse_single_row(len(table), sample_weight)
        if most is None or len(table) <= most:
            return X, table, sample_weight
        X = table
    else:
        _check_in_chunks(estimator, X)
    n_samples = X.shape[0]
    refuse_single_row(n_samples, sample_weight)
    places = _drawn(n_samples, sample_weight, most, draw_seed(estimator))
    few = _taken(X, places)
    if isinstance(few, np.memmap):
        few = np.asarray(few)
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)[places]
    return few, check_table(estimator, few, reset=False), weight


def draw_seed(estimator: Any) -> Any:
    """Return what seeds the draw of a codec's training rows."""
    return 0 if estimator.random_state is None else estimator.random_state


def _can_be_cut(X: Any) -> bool:
    known = isinstance(X, np.ndarray | pd.DataFrame) or hasattr(X, "to_numpy") or is_arrow(X)
    return known and len(X.shape) == 2


def _taken(X: Any, places: NDArray[np.int64]) -> Any:
    """Rows of a table, with its names."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[places]
    return X.take(places) if is_arrow(X) else X[places]


def _check_in_chunks(estimator: Any, X: Any) -> None:
    for place, chunk in enumerate(row_chunks(X)):
        check_table(estimator, chunk, reset=place == 0)


def _drawn(n_samples: int, sample_weight: Any, most: int, seed: Any) -> NDArray[np.int64]:
    keys = check_random_state(seed).random_sample(n_samples)
    places = np.arange(n_samples)
    if sample_weight is not None:
        places = places[np.asarray(sample_weight) > 0]
    if len(places) <= most:
        return places
    return np.sort(places[np.argpartition(keys[places], most - 1)[:most]])


def clean_rows(
    estimator: Any, X: Any, table: NDArray[np.float64], note: Any, sample_weight: Any
) -> tuple[Any, NDArray[np.float64]]:
    """Table that the codec works on: cleaned where a cleaner is given.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
        Gets ``cleaner_``.
    X : array-like or DataFrame of shape (n_samples, n_features)
    table : ndarray of shape (n_samples, n_features)
        The same cells.
    note : dict or None
        What an earlier step has decided.
    sample_weight : array-like of shape (n_samples,) or None

    Returns
    -------
    X : array-like or DataFrame of shape (n_samples, n_kept)
    table : ndarray of shape (n_samples, n_kept)

    Raises
    ------
    ValueError
        If an earlier step has planned for the columns that the cleaner would drop, or what it does
        can not be undone.
    """
    estimator.__dict__.pop("cleaner_", None)
    if estimator.cleaner is None:
        # An array has no note: what follows need not check, and copy, it again.
        return (table if isinstance(X, np.ndarray) else X), table
    if note is not None:
        raise ValueError(
            "HierarchicalVQVAE(cleaner=...) drops columns after an earlier step has planned "
            "for them: put the FeatureCleaner in front of FeatureCharacterizer instead."
        )
    X = without_index(X)  # of which a transformer of another library knows nothing
    seen = _rows_of_weight(estimator, X, table, sample_weight)
    estimator.cleaner_ = clone(estimator.cleaner).fit(seen)
    inner = estimator.cleaner_.transform(X)
    if sp.issparse(inner):
        raise ValueError(
            f"HierarchicalVQVAE(cleaner={estimator.cleaner!r}) returns a sparse matrix: set "
            "sparse_output=False there, or give a transformer that returns a table."
        )
    cells = np.ascontiguousarray(np.asarray(inner, dtype=np.float64))
    _refuse_one_way(estimator, cells, np.asarray(~np.isnan(table).all(axis=0)))
    return _named(estimator, inner, cells), cells


def _rows_of_weight(estimator: Any, X: Any, table: NDArray[np.float64], sample_weight: Any) -> Any:
    """Rows for a cleaner to be fitted on: those of weight 0 are none."""
    # Of a polars Series, or a tensor, np.all would call a method with other arguments.
    if sample_weight is None or (counts := np.asarray(sample_weight) > 0).all():
        return X
    names = getattr(estimator, "feature_names_in_", None)
    return table[counts] if names is None else pd.DataFrame(table[counts], columns=names)


def _named(estimator: Any, inner: Any, cells: NDArray[np.float64]) -> Any:
    """Cleaned table with names where the one given had any, and with a note of its repeats."""
    repeats = getattr(estimator.cleaner_, "repeats_", None)  # other transformers drop no twins
    if repeats is not None and not (repeats > 1).any():
        repeats = None
    bare = isinstance(inner, np.ndarray) and hasattr(estimator, "feature_names_in_")
    if bare or (repeats is not None and not isinstance(inner, pd.DataFrame)):
        inner = pd.DataFrame(cells, columns=estimator._inner_names())
        inner = inner if repeats is None else note_repeats(inner, repeats)
    return inner


def _refuse_one_way(estimator: Any, cells: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    """Refuse a cleaner that has an inverse in name only: no row could be decoded after the fit."""
    # Decoded rows have no missing cell, which not every inverse takes, and are as the mean row: to
    # an inverse that asks for 0, a flag that is almost 0 says what a 1 says.
    observed = np.maximum((~np.isnan(cells)).sum(axis=0), 1)
    mean = np.nan_to_num(cells).sum(axis=0, keepdims=True) / observed
    reason = _not_undone(estimator, np.nan_to_num(cells[:1]), np.zeros_like(known))
    if reason := reason or _not_undone(estimator, mean, known):
        raise ValueError(
            f"HierarchicalVQVAE(cleaner={estimator.cleaner!r}) could decode no row, since its "
            f"inverse_transform fails ({reason}). Give a transformer that gives all columns of any "
            "row back, or make it a step before the codec, which then decodes to what it returns."
        )


def _not_undone(estimator: Any, row: NDArray[np.float64], known: NDArray[np.bool_]) -> str:
    """Tell why a row can not be decoded; `known` are columns that must not be missing then."""
    width = estimator.n_features_in_
    try:
        undone = np.asarray(estimator.cleaner_.inverse_transform(row), dtype=np.float64)
        if undone.shape != (1, width):
            return f"of a row it gives {undone.shape}, not (1, {width})"
        return (
            "of a row without missing cells it gives NaN"
            if np.isnan(undone[0, known]).any()
            else ""
        )
    except Exception as error:  # whatever a foreign object raises
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def kept_weights(
    estimator: Any, importance: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Column weights of what the cleaner keeps, from those of the table.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
        With ``cleaner_``, where it cleans.
    importance : ndarray of shape (n_features,) or None

    Returns
    -------
    ndarray of shape (n_kept,) or None
        A near-duplicate that is dropped leaves its weight to the column that it repeats.

    Raises
    ------
    ValueError
        If another transformer makes columns that the table does not have.
    """
    cleaner = getattr(estimator, "cleaner_", None)
    if importance is None or cleaner is None:
        return importance
    if hasattr(cleaner, "twins_"):
        return pooled(importance, cleaner.kept_, cleaner.twins_)
    places = {name: j for j, name in enumerate(column_names(estimator))}
    kept = estimator._inner_names()
    new = [name for name in kept if name not in places]
    if new:
        raise ValueError(
            f"column_weights says nothing of {new[0]!r}, which {type(cleaner).__name__} makes: "
            "apply it before, and give weights of its columns."
        )
    return importance[[places[name] for name in kept]]
