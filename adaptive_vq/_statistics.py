"""Statistics per column over observed cells: in float64, free of units, with weights.

A weight of 2 means the same as the row twice, so weighted and repeated rows agree exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptive_vq._arrays import Bools, Floats
from adaptive_vq._foreign_cells import unmasked

SMALLEST = 1e-290  # a range or spread below this cannot be divided by without loss
_CONSTANT = 1e-10  # relative spread that rounding alone can cause
_MOST_ROWS = 2.0**31
_LEAST_SHARE = 1e-9  # of the largest weight: sums of so many would lose smaller ones
MAD_TO_STD = 1.4826  # of a normal variable
_ROUNDED_REACH = 1e-3  # of the distance between limits: more than that is no rounding
_MAD_FLOOR = 1e-3  # of the standard deviation: a smaller one describes a column of mostly one value


def weighted_rows(X: Floats, sample_weight: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """Check weights and drop rows of weight 0; None stands for equal weights."""
    if sample_weight is None:
        return X, None
    weight = checked_weights(sample_weight, len(X))
    X, weight = X[weight > 0], weight[weight > 0]
    if (weight == 1.0).all():
        return X, None
    # All large numbers are whole: those that cannot be numbers of rows are no counts.
    counts = (weight == np.rint(weight)).all() and weight.sum() <= _MOST_ROWS
    if not counts and (weight == weight[0]).all():
        return X, None  # which their quotient by the mean may miss by a rounding
    return X, weight if counts else weight / weight.mean()


def checked_weights(sample_weight: ArrayLike, n_rows: int) -> Floats:
    """Weights of rows as they are given, in float64; what are none are refused."""
    told = f"sample_weight must be {n_rows} finite numbers >= 0, one per row"
    try:
        given = np.asarray(unmasked(sample_weight))
        strange = _no_numbers(given)
        weight = np.empty(0) if strange else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{told}; numpy says: {' '.join(str(error).split())}.") from error
    if strange:
        raise ValueError(f"{told}; it holds {strange}.")
    if weight.shape != (n_rows,):
        raise ValueError(f"{told}; it has the shape {weight.shape}.")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise ValueError(f"{told}; row {wrong[0]} has {weight[wrong[0]]:g}.")
    if not weight.any():
        raise ValueError("sample_weight is zero in every row; give at least one row a weight.")
    return weight


def _no_numbers(given: NDArray[Any]) -> str:
    """Tell what numpy would make weights of in silence: it drops imaginary parts, reads text."""
    if given.dtype.kind in "OSU":
        text = next((cell for cell in given.flat if isinstance(cell, str | bytes)), None)
        return "" if text is None else f"the text {str(text)!r}"
    return {"c": "complex numbers", "m": "durations", "M": "dates"}.get(given.dtype.kind, "")


@np.errstate(under="ignore")
def column_quantiles(X: Floats, weight: Floats | None, levels: Floats) -> Floats:
    """Return quantiles of shape (n_levels, n_features); NaN for a column without cells."""
    quantiles = np.full((len(levels), X.shape[1]), np.nan)
    for j, (values, cells) in enumerate(_observed(X, weight)):
        if values.size:
            quantiles[:, j] = _quantile(values, cells, levels)
    return quantiles


def median_and_mad(X: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Return median and median absolute deviation; NaN for a column without cells."""
    half = np.array([0.5])
    median = column_quantiles(X, weight, half)[0]
    return median, column_quantiles(np.abs(X - median), weight, half)[0]


def flattened(X: Floats, weight: Floats | None, low: Floats, high: Floats) -> Bools:
    """Tell the columns of which several cells are within caps (n_features,), and all alike.

    Between the common value of a rare flag and the flag a percentile may be any number: a cap there
    would not take away an extreme cell, but change what the flag says.
    """
    flat = np.zeros(X.shape[1], dtype=bool)
    for j, (values, cells) in enumerate(_observed(X, weight)):
        within = (values >= low[j]) & (values <= high[j])
        several = (within if cells is None else cells[within]).sum() > 1
        flat[j] = several and _moments(values[within], None)[2]
    return flat


@np.errstate(under="ignore")
def column_moments(X: Floats, weight: Floats | None) -> tuple[Floats, Floats, Bools]:
    """Return mean, standard deviation and whether a column is constant up to rounding.

    A constant column has the standard deviation 0; one without cells is constant with mean 0.
    """
    rows = [_moments(values, cells) for values, cells in _observed(X, weight)]
    mean, spread, constant = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return mean, spread, constant.astype(bool)


@np.errstate(under="ignore")
def center_and_scale(kind: str, X: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Return what a column is shifted and divided by ("standard" or "robust").

    A constant column is divided by its level where that is above 1, so that what rounding leaves of
    a large level (100 at 1e13) does not count as spread.
    """
    center, spread, constant = column_moments(X, weight)
    if kind == "robust":
        median, mad = map(np.nan_to_num, median_and_mad(X, weight))
        mad *= MAD_TO_STD
        center, spread = median, np.where(mad > _MAD_FLOOR * spread, mad, spread)
    return center, np.where(constant, np.maximum(np.abs(center), 1.0), spread)


def roots_of(column_weights: Floats) -> Floats:
    """Return what columns are multiplied by, for their squared errors to count by their weights.

    Relative to their mean: training takes steps of a fixed size, whatever the units.
    """
    # In units of a power of two, which rounds nothing, no sum overflows.
    near_one = np.ldexp(column_weights, -np.frexp(column_weights.max())[1])
    return np.asarray(np.sqrt(near_one / near_one.mean()))


def _observed(X: Floats, weight: Floats | None) -> Iterator[tuple[Floats, Floats | None]]:
    """Yield the observed cells and their weights, column by column."""
    for column in X.T:
        seen = ~np.isnan(column)
        yield column[seen], None if weight is None else weight[seen]


def _quantile(values: Floats, weight: Floats | None, levels: Floats) -> Floats:
    """Interpolate linearly between order statistics of the repeated cells.

    A cell of weight w takes a stretch of length w - 1, and from one to the next it is 1 further;
    where weights are smaller the least of them counts as 1. So the ends are the extreme cells.
    """
    if weight is None:
        return np.quantile(values, levels)
    order = np.argsort(values)
    mass = np.maximum(weight[order], weight.max() * _LEAST_SHARE)
    mass /= min(1.0, float(mass.min()))
    heights = np.cumsum(mass)
    stretches = np.column_stack([heights - mass, heights - 1.0]).ravel()
    at = levels * (heights[-1] - 1.0)
    return np.asarray(np.interp(at, stretches, np.repeat(values[order], 2)), dtype=np.float64)


def _moments(values: Floats, weight: Floats | None) -> tuple[float, float, bool]:
    """Work on values divided by the largest magnitude, so no square under- or overflows."""
    peak = float(np.max(np.abs(values), initial=0.0))
    if peak <= SMALLEST:
        return 0.0, 0.0, True
    unit = values / peak
    mean = float(np.average(unit, weights=weight))
    spread = float(np.sqrt(np.average((unit - mean) ** 2, weights=weight)))
    constant = spread <= _CONSTANT * abs(mean)
    return mean * peak, 0.0 if constant else spread * peak, constant


def outside_limits(X: Floats, lower: Floats, upper: Floats) -> Bools:
    """Tell which cells lie outside limits by more than rounding to float32 does.

    A cell at a limit, such as the only value of a column, may come back in a narrower type.
    """
    # Of subnormal limits no rounding is left, and the largest are infinitely far from one another.
    with np.errstate(under="ignore", over="ignore"):
        reach = upper - lower
        # A level far beyond the reach, as of times in seconds, is no such cell in float32.
        most = np.where(reach > 0, _ROUNDED_REACH * reach, np.inf)
        below = lower - np.minimum(np.finfo(np.float32).eps * np.abs(lower), most)
        above = upper + np.minimum(np.finfo(np.float32).eps * np.abs(upper), most)
    return np.asarray((below > X) | (above < X))
