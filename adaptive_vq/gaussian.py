"""Gaussian sources: the closed-form relative of a measured distortion curve.

Source of the formulas: reverse water-filling, Cover and Thomas, *Elements of Information Theory*,
theorem 10.3.3.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._number_checks import as_numbers, number_row, whole_number
from adaptive_vq._wording import shown

__all__ = ["active_directions", "gaussian_curve"]

# Eigenvalues below this part of the largest one are rounding noise of a rank-deficient matrix.
_RANK_TOLERANCE = 1e-12


def gaussian_curve(spectrum: ArrayLike, max_bits: int, *, exact_at: int | None = None) -> Floats:
    """Return the distortion-rate curve of a Gaussian source by reverse water-filling.

    Parameters
    ----------
    spectrum : array-like of shape (k,)
        Eigenvalues of the covariance, none negative (rounding noise below is cut off).
    max_bits : int
        The curve covers 0 to `max_bits` bits per row.
    exact_at : int, optional
        Bits that describe the source without error because it takes few distinct values; the
        curve ends there, at 0, if it reaches that far.

    Returns
    -------
    ndarray of shape (n_bits + 1,)
        Sum of squared errors per row, in the units of the spectrum; never increasing.

    Raises
    ------
    TypeError, ValueError
        If the spectrum is no list of finite numbers, or bits are not whole or negative.

    References
    ----------
    Cover and Thomas, *Elements of Information Theory*, theorem 10.3.3.

    Examples
    --------
    >>> from adaptive_vq.gaussian import gaussian_curve
    >>> gaussian_curve([4.0, 1.0], 3)
    array([5. , 2. , 1. , 0.5])
    """
    values = _sorted_spectrum(spectrum)
    bits = np.arange(whole_number(max_bits, "max_bits", "bits") + 1)
    if values.size == 0:
        curve = np.zeros(bits.size)
    else:
        active = _active_counts(values, bits)
        logs = np.cumsum(np.log2(values))
        water = np.exp2((logs[active - 1] - 2.0 * bits) / active)
        tail = np.append(np.cumsum(values[::-1])[::-1], 0.0)
        curve = np.minimum.accumulate(active * water + tail[active])
    if exact_at is not None and whole_number(exact_at, "exact_at", "bits") <= max_bits:
        curve = curve[: exact_at + 1]
        curve[-1] = 0.0
    return curve


def active_directions(spectrum: ArrayLike, bits: ArrayLike) -> Ints:
    """Count the principal directions that reverse water-filling codes at each number of bits.

    Parameters
    ----------
    spectrum : array-like of shape (k,)
        Eigenvalues of the covariance.
    bits : array-like of shape (m,)
        Numbers of bits per row.

    Returns
    -------
    ndarray of shape (m,), int64
        Directions whose variance is above the water level; 0 where no bit is spent.

    Raises
    ------
    ValueError
        If the spectrum is no list of finite numbers, or bits are not whole.

    Examples
    --------
    >>> from adaptive_vq.gaussian import active_directions
    >>> active_directions([4.0, 1.0], [0, 1, 3])
    array([0, 1, 2])
    """
    values = _sorted_spectrum(spectrum)
    given = as_numbers(bits)
    if given is None or not np.isfinite(given).all() or (given != np.floor(given)).any():
        raise ValueError(f"bits must be whole numbers, got {shown(bits, 60)}.")
    rates = given.astype(np.int64)
    if values.size == 0:
        return np.zeros(rates.shape, dtype=np.int64)
    # At its own threshold a direction sits exactly at the water level: not coded yet.
    counts = _active_counts(values, rates, side="left")
    return np.where(rates > 0, counts, 0)


def _sorted_spectrum(spectrum: ArrayLike) -> Floats:
    values = np.sort(number_row(spectrum, "spectrum"))[::-1]
    return values[values > _RANK_TOLERANCE * max(values[0], 0.0)] if values.size else values


def _active_counts(values: Floats, bits: Ints, side: Literal["left", "right"] = "right") -> Ints:
    """Count directions above the water; the m-th joins at the rate that lowers the water to it."""
    logs = np.log2(values)
    joins = 0.5 * (np.cumsum(logs)[:-1] - np.arange(1, values.size) * logs[1:])
    joins = np.maximum.accumulate(joins)
    return 1 + np.searchsorted(joins, bits, side=side)
