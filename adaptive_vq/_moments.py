"""Means and variances of columns of a float32 table in float64 (torch only)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_COLUMNS_AT_ONCE = 16


def column_means(table: Tensor, weight: Tensor) -> Tensor:
    """Mean of every column over its cells, weighted; 0 where all weights are.

    Parameters
    ----------
    table, weight : Tensor of shape (n, n_features)
        Cells and their weights.

    Returns
    -------
    Tensor of shape (n_features,), float64
    """
    return torch.cat(
        [(mass * cells).sum(0) / _total(mass) for cells, mass in _blocks(table, weight)]
    )


def column_variances(table: Tensor, weight: Tensor) -> Tensor:
    """Variance of every column over its cells, weighted; 0 where all weights are.

    Parameters
    ----------
    table, weight : Tensor of shape (n, n_features)

    Returns
    -------
    Tensor of shape (n_features,), float64
    """
    means = column_means(table, weight).split(_COLUMNS_AT_ONCE)
    return torch.cat(
        [
            (mass * (cells - mean) ** 2).sum(0) / _total(mass)
            for (cells, mass), mean in zip(_blocks(table, weight), means, strict=True)
        ]
    )


def _blocks(table: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Some columns at a time, since the whole table in float64 would be twice as large as it is."""
    parts = zip(table.split(_COLUMNS_AT_ONCE, 1), weight.split(_COLUMNS_AT_ONCE, 1), strict=True)
    # In one order in memory, whatever it was, since sums follow it.
    row_wise = {"memory_format": torch.contiguous_format}
    return ((cells.double(**row_wise), mass.double(**row_wise)) for cells, mass in parts)


def _total(mass: Tensor) -> Tensor:
    return mass.sum(0).clamp_min(1e-30)
