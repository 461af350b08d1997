"""Lazy encoding and decoding of Dask collections (extra ``scale``).

A fitted codec treats every row on its own, so partitions need nothing from each other: codes are
the same for any partitioning. What is returned is lazy and computes on whatever scheduler Dask is
set to: threads, processes, or the machines of ``distributed``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

__all__ = ["inverse_transform", "transform"]


def transform(estimator: Any, X: Any) -> Any:
    """Encode a Dask collection lazily.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        Fitted, on rows in memory. Sent to the workers once per partition.
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)
        An array has to be whole in its columns: ``X.rechunk({1: -1})``.

    Returns
    -------
    dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_columns)
        Codes in the form of the codec's ``encode``, of the kind and partitioning of `X`; a data
        frame has the names of the code columns and the index of `X`.

    Raises
    ------
    TypeError
        If `X` is no Dask collection.
    ValueError
        If the codec's output is sparse, or the columns of an array are in several chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.scale import transform
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> vq = HierarchicalVQVAE(bits=8, max_epochs=0).fit(X)
    >>> codes = transform(vq, da.from_array(X, chunks=(30, 4)))
    >>> codes.numblocks
    (4, 1)
    >>> bool((codes.compute() == vq.transform(X)).all())
    True
    """
    codec = _codec(estimator)
    if codec.encode == "onehot" and codec.sparse_output:
        raise ValueError("Dask collections hold no sparse codes: set sparse_output=False.")
    columns = [str(name) for name in codec.get_feature_names_out()]
    none = np.zeros((0, len(codec.codebooks_)), dtype=np.int64)
    dtype = codec._code_table().encode(none, codec.encode, False).dtype
    return _mapped(_Encode(estimator), X, columns, dtype)


def inverse_transform(estimator: Any, codes: Any) -> Any:
    """Decode a Dask collection of codes lazily.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        Fitted.
    codes : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_columns)
        What `transform` returned, or the columns of the first levels.

    Returns
    -------
    dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)
        Rows in original units, float64, of the kind and partitioning of `codes`; a data frame has
        the names of the training columns and the index of `codes`.

    Raises
    ------
    TypeError
        If `codes` is no Dask collection.
    ValueError
        If the columns of an array are in several chunks.
    """
    _codec(estimator)
    first = estimator[0] if hasattr(estimator, "steps") else estimator
    names = getattr(first, "feature_names_in_", None)
    columns = (
        [f"x{j}" for j in range(first.n_features_in_)] if names is None else [str(n) for n in names]
    )
    return _mapped(_Decode(estimator), codes, columns, np.dtype(np.float64))


def _codec(estimator: Any) -> Any:
    """Return the fitted codec that an estimator ends in."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    check_is_fitted(estimator, "codebooks_")
    return estimator


class _Encode:
    """Encodes a partition; a class, so that it pickles."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, rows: Any) -> Any:
        return self.estimator.transform(rows)


class _Decode(_Encode):
    """Decodes a partition."""

    def __call__(self, rows: Any) -> Any:
        return self.estimator.inverse_transform(rows)


class _OfPartition:
    """Applies a function to a partition of a data frame, which may have no row."""

    def __init__(self, function: _Encode, meta: pd.DataFrame) -> None:
        self.function, self.meta = function, meta

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        if len(part) == 0:
            return self.meta.set_index(part.index)
        return pd.DataFrame(
            np.asarray(self.function(part)), index=part.index, columns=self.meta.columns
        )


class _OfBlock:
    """Applies a function to a block of an array, which may have no row."""

    def __init__(self, function: _Encode, n_columns: int, dtype: np.dtype[Any]) -> None:
        self.function, self.n_columns, self.dtype = function, n_columns, dtype

    def __call__(self, block: Any) -> Any:
        if len(block) == 0:
            return np.zeros((0, self.n_columns), self.dtype)
        return np.asarray(self.function(block))


def _mapped(function: _Encode, X: Any, columns: list[str], dtype: np.dtype[Any]) -> Any:
    if hasattr(X, "map_partitions") and hasattr(X, "columns"):
        meta = pd.DataFrame(np.zeros((0, len(columns)), dtype), columns=pd.Index(columns))
        empty_index = X._meta.index[:0] if hasattr(X, "_meta") else meta.index
        meta.index = empty_index
        return X.map_partitions(_OfPartition(function, meta), meta=meta)
    if not hasattr(X, "map_blocks"):
        raise TypeError(
            f"A Dask DataFrame or array is needed, got {type(X).__name__}; what is in memory goes "
            "to the estimator itself."
        )
    if X.ndim != 2 or X.numblocks[1] > 1:
        raise ValueError(
            f"An array of 2 dimensions with all columns in one chunk is needed, got chunks "
            f"{X.chunks}: X.rechunk({{1: -1}})."
        )
    return X.map_blocks(
        _OfBlock(function, len(columns), dtype),
        chunks=(X.chunks[0], (len(columns),)),
        meta=np.zeros((0, len(columns)), dtype),
    )
