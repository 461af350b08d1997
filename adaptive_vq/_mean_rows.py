"""Rows that never leave the training mean, which no error can be a share of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adaptive_vq.units import CodecUnits

__all__ = ["at_mean", "with_exact_means"]

_ROUNDING = 1e-6  # of a standard deviation: float32, and means added up in another order


def at_mean(target: NDArray[np.float64], units: CodecUnits) -> NDArray[np.bool_]:
    """Tell the columns of which every observed cell is the training mean up to rounding.

    Parameters
    ----------
    target : ndarray of shape (n_samples, n_features)
        Rows in codec units, NaN where a cell is missing.
    units : CodecUnits

    Returns
    -------
    ndarray of bool of shape (n_features,)

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._mean_rows import at_mean
    >>> from adaptive_vq.units import CodecUnits
    >>> X = np.array([[0.1, 1.0], [0.2, 2.0], [0.6, 3.0]])
    >>> units = CodecUnits(clip=None).fit(X)
    >>> at_mean(units.targets(np.array([[0.3, 1.0]])), units)
    array([ True, False])
    """
    near = _ROUNDING * np.sqrt(units.variance_)
    away = np.abs(np.nan_to_num(target - units.reference_)) > near
    return np.asarray(~away.any(axis=0))


def with_exact_means(target: NDArray[np.float64], units: CodecUnits) -> NDArray[np.float64]:
    """Rows in codec units with the columns that never leave the training mean exactly there.

    Else an error would be divided by the square of a rounding.

    Parameters
    ----------
    target : ndarray of shape (n_samples, n_features)
        Is written to.
    units : CodecUnits

    Returns
    -------
    ndarray of shape (n_samples, n_features)
    """
    for j in np.flatnonzero(at_mean(target, units)):
        target[~np.isnan(target[:, j]), j] = units.reference_[j]
    return target
