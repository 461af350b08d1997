"""Arguments of pure functions that have to be numbers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_vq._wording import shown

__all__ = ["as_numbers", "distinct_names", "number_row", "whole_number"]


def as_numbers(values: Any) -> NDArray[np.float64] | None:
    """Array of float64, or None for what holds no real numbers: numpy would read text and dates.

    Examples
    --------
    >>> from adaptive_vq._number_checks import as_numbers
    >>> as_numbers([1, 2.5]), as_numbers(["a"]), as_numbers([[1], [1, 2]])
    (array([1. , 2.5]), None, None)
    """
    try:
        array = np.asarray(values)
        return array.astype(np.float64) if array.dtype.kind in "biufO" else None
    except (TypeError, ValueError):
        return None


def number_row(values: Any, name: str, *, infinite: bool = False) -> NDArray[np.float64]:
    """One-dimensional array of float64 without NaN; `infinite` allows infinity.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    row = as_numbers(values)
    if row is not None and row.ndim == 1:
        fine = ~np.isnan(row) if infinite else np.isfinite(row)
        if fine.all():
            return row
    kind = "numbers without NaN" if infinite else "finite numbers"
    raise ValueError(f"{name} must be a list of {kind}; got {shown(values, 60)}.")


def whole_number(value: Any, name: str, unit: str) -> int:
    """Whole number that is not negative.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    if not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number of {unit}, got {shown(value, 60)}.")
    if value < 0:
        raise ValueError(f"{name} must be at least 0 {unit}, got {value}.")
    return int(value)


def distinct_names(keys: Any, n: int) -> Sequence[Any]:
    """Names of n categories, which can be sorted.

    Raises
    ------
    ValueError
        If they are not n distinct names, or can not be compared with each other.
    """
    told = f"keys must be {n} distinct names, one per category"
    try:
        names = list(keys)
        wrong = len(names) != n or len(set(names)) != n
        sorted(names)
    except TypeError as error:
        raise ValueError(f"{told}, all of them text or all numbers, got {shown(keys, 60)}.") from (
            error
        )
    if wrong:
        raise ValueError(f"{told}, got {names}.")
    return names
