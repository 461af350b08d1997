"""Cells to normal quantiles of their ranks, and back."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from adaptive_vq._arrays import Floats

__all__ = ["from_normal", "to_normal"]


def to_normal(X: Floats, quantiles: Floats) -> Floats:
    """Map cells to normal quantiles of their rank; a tie gets the middle of its ranks."""
    levels = _levels(quantiles)
    Z = np.empty(X.shape)
    for j, column in enumerate(quantiles.T):
        first = _ranks(X[:, j], column, levels)
        last = -_ranks(-X[:, j], -column[::-1], -levels[::-1])
        Z[:, j] = ndtri((first + last) / 2)
    return Z


def from_normal(Z: Floats, quantiles: Floats) -> Floats:
    """Map normal quantiles back to cells, none beyond the training range."""
    ranks, levels = ndtr(Z), _levels(quantiles)
    columns = [np.interp(ranks[:, j], levels, column) for j, column in enumerate(quantiles.T)]
    return np.column_stack(columns)


def _ranks(cells: Floats, column: Floats, levels: Floats) -> Floats:
    """Interpolate the levels; of equal quantiles the last one counts."""
    ranks: Floats = np.interp(cells, column, levels)
    # The slope between quantiles less than about 1e-308 apart is beyond float64.
    steep = ~(np.isfinite(ranks) | np.isnan(cells))
    ranks[steep] = levels[np.searchsorted(column, cells[steep], side="right") - 1]
    return ranks


def _levels(quantiles: Floats) -> Floats:
    """Return ranks strictly inside 0 and 1, so that the ends stay finite and invertible."""
    return (np.arange(len(quantiles)) + 0.5) / len(quantiles)
