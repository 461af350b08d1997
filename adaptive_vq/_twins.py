"""Near-duplicate columns: which ones to drop, and how to compute them back from their twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._statistics import MAD_TO_STD, center_and_scale
from adaptive_vq.association import correlation_matrix

MIN_ROWS = 10  # fewer rows in common prove nothing: any two cells lie on a line
_BINS = 64
_OUTLIER = 3.0  # robust standard deviations
_UNCOVERED = 0.05
"""Share of a column's cells that may be missing in the one that it is dropped for."""
_DIGITS = 6  # equal scores up to rounding: the first column wins, in whatever unit it is


@dataclass(frozen=True)
class Twin:
    """A dropped column as an affine function of a kept one.

    ``x = center + slope * (x_partner - partner_center)``; `correlation` is theirs.
    """

    partner: int
    correlation: float
    center: float
    slope: float
    partner_center: float

    def restore(self, partner: Floats) -> Floats:
        """Return the dropped column's cells from its partner's."""
        return self.center + self.slope * (partner - self.partner_center)


def find_twins(X: Floats, candidates: Ints, limit: float, keep: str) -> dict[int, Twin]:
    """Return the columns to drop among `candidates`, each with the kept column it repeats.

    Columns are visited in their order (``keep="first"``; those with more cells by a hundredth of
    the rows before others) or the most informative first; one is
    dropped if it correlates beyond `limit` with one already kept, which has to be observed where it
    is itself: its other cells would be lost.
    """
    center, scale = center_and_scale("standard", X[:, candidates], None)
    Z = (X[:, candidates] - center) / scale
    strength = _strength(Z)
    order = np.argsort(-np.round((~np.isnan(Z)).mean(axis=0), 2), kind="stable")
    if keep == "informative":
        order = np.argsort([-informativeness(column) for column in Z.T], kind="stable")
    kept: list[int] = []
    twins: dict[int, Twin] = {}
    for j in order.tolist():
        best = kept[int(np.argmax(strength[j, kept]))] if kept else -1
        if best < 0 or strength[j, best] <= limit:
            kept.append(j)
        else:
            column, partner = int(candidates[j]), int(candidates[best])
            pair = np.array([j, best])
            twins[column] = _fit_twin(Z[:, pair], center[pair], scale[pair], partner)
    return twins


def pooled(values: Any, kept: Ints, twins: Mapping[int, Twin]) -> Any:
    """Sum one value per column over each kept column and those dropped for it."""
    total = np.array(values)
    for column, twin in twins.items():
        total[twin.partner] += total[column]
    return total[kept]


def informativeness(z: Floats) -> float:
    """Score a standardized column: entropy x interquartile range x observed x inlying share.

    All four are free of units, so the score of a column does not change with its scale.
    """
    values = z[~np.isnan(z)]
    if not values.size:
        return 0.0
    counts = np.histogram(values, bins=_BINS)[0]
    share = counts[counts > 0] / values.size
    entropy = -np.sum(share * np.log2(share))
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = MAD_TO_STD * np.median(np.abs(values - median))
    inlying = np.mean(np.abs(values - median) <= _OUTLIER * spread)
    score = entropy * (high - low) * inlying * values.size / z.size
    return float(np.round(score, _DIGITS))


def _strength(Z: Floats) -> Floats:
    """Correlation of the column of each row with those that may stand for it."""
    seen = (~np.isnan(Z)).astype(np.float64)
    common = seen.T @ seen
    covered = common >= (1.0 - _UNCOVERED) * seen.sum(axis=0)[:, None]
    return np.where((common >= MIN_ROWS) & covered, np.abs(correlation_matrix(Z)), 0.0)


def _fit_twin(Z: Floats, center: Floats, scale: Floats, partner: int) -> Twin:
    """Regress the first column on the second over the rows where both are observed."""
    both = Z[~np.isnan(Z).any(axis=1)]
    mean = both.mean(axis=0)
    column, other = (both - mean).T
    slope = float(column @ other / (other @ other))
    correlation = slope * float(np.sqrt((other @ other) / (column @ column)))
    at = center + scale * mean
    return Twin(
        partner, correlation, float(at[0]), slope * float(scale[0] / scale[1]), float(at[1])
    )
