"""Cells to normal quantiles of their ranks, and back."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from adaptive_vq._statistics import FloatArray

__all__ = ["from_normal", "to_normal"]


def to_normal(X: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Map cells to normal quantiles of their rank; a tie gets the middle of its ranks."""
    levels = _levels(quantiles)
    Z = np.empty(X.shape)
    for j, column in enumerate(quantiles.T):
        first = np.interp(X[:, j], column, levels)
        last = -np.interp(-X[:, j], -column[::-1], -levels[::-1])
        Z[:, j] = ndtri((first + last) / 2)
    return Z


def from_normal(Z: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Map normal quantiles back to cells, none beyond the training range."""
    ranks, levels = ndtr(Z), _levels(quantiles)
    columns = [np.interp(ranks[:, j], levels, column) for j, column in enumerate(quantiles.T)]
    return np.column_stack(columns)


def _levels(quantiles: FloatArray) -> FloatArray:
    """Return ranks strictly inside 0 and 1, so that the ends stay finite and invertible."""
    return (np.arange(len(quantiles)) + 0.5) / len(quantiles)
