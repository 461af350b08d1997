"""Columns that stand still on given rows and did not in training, and the other way round."""

from __future__ import annotations

import numpy as np

from adaptive_vq._arrays import Floats
from adaptive_vq.units import OWN_SCALES, CodecUnits


@np.errstate(all="ignore")
def equal_chance(units: CodecUnits, cells: Floats) -> Floats:
    """Largest chance that all cells of a column are as equal as they are, in rows like training's.

    Cells of one value leave the spread of training to all others, and these end at the caps: of a
    column with mean m, variance s² and caps a and b at least (s² + (v - m)²) / max((a - v)²,
    (b - v)²) of the rows differ from v.

    Parameters
    ----------
    units : CodecUnits
        Fitted on the training rows.
    cells : ndarray of shape (n, n_features)
        Rows in their own units; NaN is missing.

    Returns
    -------
    ndarray of shape (n_features,)
        NaN where cells differ, where fewer than two are observed, and where training has no spread
        or no caps to tell by.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._stuck import equal_chance
    >>> from adaptive_vq.units import CodecUnits
    >>> units = CodecUnits(clip=(0, 100)).fit(np.array([[-1.0], [1.0]]))
    >>> equal_chance(units, np.ones((3, 1))).tolist()  # half of the training rows are 1
    [0.125]
    """
    unknown = np.full(cells.shape[1], np.nan)
    if units.scaler not in (*OWN_SCALES, None):  # others need not keep the order of cells
        return unknown
    low, high = np.fmin.reduce(cells, axis=0), np.fmax.reduce(cells, axis=0)
    n_cells = (~np.isnan(cells)).sum(axis=0)
    known = np.isfinite(units.lower_) & np.isfinite(units.upper_) & (units.variance_ > 0)
    equal = known & (low == high) & (n_cells >= 2)
    edges = np.where(equal, [units.lower_, units.upper_, low], np.nan)
    lower, upper, value = units.to_codec(edges).astype(np.float64)
    reach = np.maximum((lower - value) ** 2, (upper - value) ** 2)
    others = (units.variance_ + (value - units.reference_) ** 2) / reach
    return np.where(equal, (1.0 - np.minimum(others, 1.0)) ** n_cells, unknown)


def off_constant(units: CodecUnits, target: Floats) -> Floats:
    """Share of observed cells that are not the only value of training.

    Parameters
    ----------
    units : CodecUnits
        Fitted on the training rows.
    target : ndarray of shape (n, n_features)
        Rows in codec units, not capped, without rounding; NaN is missing.

    Returns
    -------
    ndarray of shape (n_features,)
        NaN for columns that varied in training, and where no cell is observed.
    """
    seen = ~np.isnan(target)
    other = (seen & (target != units.reference_)).sum(axis=0)
    still = (units.variance_ == 0) & seen.any(axis=0)
    return np.where(still, other / np.maximum(seen.sum(axis=0), 1), np.nan)
