"""Samples of rows that may have weights: once they have, weights are the last column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from adaptive_vq.sampling import RowSample
from adaptive_vq.weights import learning_rows, positive_rows

__all__ = ["Weighted", "rows_and_weights", "with_weights"]

Weighted = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]


def with_weights(
    sample: RowSample, array: npt.NDArray[np.float64], sample_weight: npt.ArrayLike | None
) -> RowSample:
    """Sample after rows of shape (n, n_features), and perhaps their weights, arrived."""
    n_features = array.shape[1]
    if sample_weight is not None:
        array = np.column_stack(positive_rows(array, sample_weight))
        if sample.rows.shape[1] == n_features:
            sample = replace(sample, rows=_with_ones(sample.rows))
    elif sample.rows.shape[1] > n_features:
        array = _with_ones(array)
    return sample.add(array)


def _with_ones(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.column_stack([rows, np.ones(len(rows))])


def rows_and_weights(rows: npt.NDArray[np.float64], n_features: int) -> Weighted:
    """Rows (n, n_features) of a sample, and their weights if there are any."""
    if rows.shape[1] == n_features:
        return learning_rows(rows, None)
    return learning_rows(rows[:, :n_features], rows[:, n_features])
