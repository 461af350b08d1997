"""Dask collections: fits by reductions, lazy encoding and decoding (extra ``scale``).

Characterizer and cleaner learn from a sample that is a function of row numbers, of which every
partition picks its part. A fitted codec treats every row on its own, so partitions need nothing
from each other: codes are the same for any partitioning, and lazy. All is computed by whatever
scheduler Dask is set to: threads, processes, or the machines of ``distributed``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted, validate_data

from adaptive_vq._diagnostic_tables import last_step
from adaptive_vq._partitions import Partitions, is_dask_frame, refuse_no_table
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.cleaning import FeatureCleaner

__all__ = ["characterize", "fit_cleaner", "inverse_transform", "transform"]


def characterize(characterizer: FeatureCharacterizer, X: Any) -> FeatureCharacterizer:
    """Fit a FeatureCharacterizer on a Dask collection, without holding the table in memory.

    Which rows its sample keeps follows from their numbers and its seed: every partition picks its
    part, and no more than the sample travels. The result is that of ``fit`` on the same rows in
    memory, for any partitioning. The collection is computed once, by the scheduler that Dask is
    set to; where the lengths of partitions are not known, a column of it is computed before.

    Parameters
    ----------
    characterizer : FeatureCharacterizer
        Fitted in place. Callables in its ``categories`` see the rows of the sample.
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)
        NaN marks a missing cell; partitions may be without rows, an index has no meaning.

    Returns
    -------
    FeatureCharacterizer
        The fitted estimator.

    Raises
    ------
    TypeError
        If `X` is no Dask DataFrame or array, or holds cells that are no numbers at all, or
        `characterizer` is another estimator.
    ValueError
        As ``fit``, for any partition; if a partition has other rows when it is computed again.

    See Also
    --------
    adaptive_vq.streaming.fit_chunks : Fits a codec on rows drawn from a collection.

    Notes
    -----
    There are no weights of rows here: they need rows in memory.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from adaptive_vq import FeatureCharacterizer
    >>> from adaptive_vq.scale import characterize
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.normal(size=(500, 2)), 3, axis=1) + 0.1 * rng.normal(size=(500, 6))
    >>> found = characterize(FeatureCharacterizer(), da.from_array(X, chunks=(80, 6)))
    >>> {name: columns.tolist() for name, columns in sorted(found.categories_.items())}
    {'cluster_1': [0, 1, 2], 'cluster_2': [3, 4, 5]}
    >>> found.characteristics_.equals(FeatureCharacterizer().fit(X).characteristics_)
    True
    """
    _refuse_other(characterizer, FeatureCharacterizer, "characterize")
    return characterizer._fit_drawn(Partitions(X))


def fit_cleaner(cleaner: FeatureCleaner, X: Any) -> FeatureCleaner:
    """Fit a FeatureCleaner on a Dask collection, without holding the table in memory.

    Ranges and missing cells are counted in all rows, partition by partition, everything else is
    learned from a sample of rows as in `characterize`. The result is that of ``fit``.

    Parameters
    ----------
    cleaner : FeatureCleaner
        Fitted in place.
    X : dask.dataframe.DataFrame or dask.array.Array of shape (n_samples, n_features)
        As in `characterize`.

    Returns
    -------
    FeatureCleaner
        The fitted estimator.

    Raises
    ------
    TypeError, ValueError
        As `characterize`.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from adaptive_vq import FeatureCleaner
    >>> from adaptive_vq.scale import fit_cleaner
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> X[:, 1] = 7.0
    >>> fit_cleaner(FeatureCleaner(), da.from_array(X, chunks=(80, 3))).kept_
    array([0, 2])
    """
    _refuse_other(cleaner, FeatureCleaner, "fit_cleaner")
    return cleaner._fit_drawn(Partitions(X))


def _refuse_other(estimator: Any, wanted: type, function: str) -> None:
    if not isinstance(estimator, wanted):
        raise TypeError(
            f"{function} fits a {wanted.__name__}, got {type(estimator).__name__}: a codec is "
            "fitted by adaptive_vq.streaming.fit_chunks."
        )


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
        If `X` is no Dask DataFrame or array, such as a Series.
    ValueError
        If the codec's output is sparse, `X` has other columns than the training rows, an array has
        not two dimensions, or its columns are in several chunks.

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
    codec = _codec(estimator, "scale.transform")
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
        If `codes` is no Dask DataFrame or array, such as a Series.
    ValueError
        If `codes` are none of this codec's, an array has not two dimensions, or its columns are in
        several chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.scale import inverse_transform, transform
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> vq = HierarchicalVQVAE(bits=8, max_epochs=0).fit(X)
    >>> rows = inverse_transform(vq, transform(vq, da.from_array(X, chunks=(30, 4))))
    >>> bool((rows.compute() == vq.reconstruct(X)).all())
    True
    """
    _codec(estimator, "scale.inverse_transform")
    first = _steps(estimator)[0]
    names = getattr(first, "feature_names_in_", None)
    columns = (
        [f"x{j}" for j in range(first.n_features_in_)] if names is None else [str(n) for n in names]
    )
    return _mapped(_Decode(estimator), codes, columns, np.dtype(np.float64))


def _codec(estimator: Any, function: str) -> Any:
    """Return the fitted codec that an estimator ends in."""
    codec = last_step(estimator, function)
    check_is_fitted(codec, "codebooks_")
    return codec


def _steps(estimator: Any) -> list[Any]:
    """Steps of a pipeline, and of pipelines in it, that do anything; another estimator is one."""
    if not hasattr(estimator, "steps"):
        return [estimator]
    own = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    return [inner for step in own for inner in _steps(step)]


class _Encode:
    """Encodes a partition; a class, so that it pickles."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, rows: Any) -> Any:
        return self.estimator.transform(rows)

    def check_columns(self, X: Any) -> None:
        """Refuse a table of other columns at once; else the first partition would, some day."""
        first = _steps(self.estimator)[0]
        if hasattr(first, "feature_names_in_") and hasattr(X, "_meta") and is_dask_frame(X):
            validate_data(first, X._meta, reset=False, skip_check_array=True)
        elif getattr(first, "n_features_in_", X.shape[1]) != X.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(first).__name__} is expecting "
                f"{first.n_features_in_} features as input."
            )


class _Decode(_Encode):
    """Decodes a partition."""

    def __call__(self, rows: Any) -> Any:
        return self.estimator.inverse_transform(rows)

    def check_columns(self, X: Any) -> None:
        """Refuse a table that holds no codes."""
        none = X._meta if is_dask_frame(X) and hasattr(X, "_meta") else np.zeros((0, X.shape[1]))
        last_step(self.estimator, "scale.inverse_transform").inverse_transform(none)


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
    refuse_no_table(X)
    if is_dask_frame(X):
        function.check_columns(X)
        meta = pd.DataFrame(np.zeros((0, len(columns)), dtype), columns=pd.Index(columns))
        empty_index = X._meta.index[:0] if hasattr(X, "_meta") else meta.index
        meta.index = empty_index
        return X.map_partitions(_OfPartition(function, meta), meta=meta)
    if X.numblocks[1] > 1:
        raise ValueError(
            f"An array with all columns in one chunk is needed, got chunks {X.chunks}: "
            "X.rechunk({1: -1})."
        )
    function.check_columns(X)
    return X.map_blocks(
        _OfBlock(function, len(columns), dtype),
        chunks=(X.chunks[0], (len(columns),)),
        meta=np.zeros((0, len(columns)), dtype),
    )
