"""What a codec remembers of its training rows, so that other rows can be compared with them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT_DIGITS = 6
_ROWS_AT_ONCE = 65_536
_COLUMNS_AT_ONCE = 16


def remember(
    estimator: Any,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    codes: NDArray[np.int64],
    weight: NDArray[np.float64] | None = None,
) -> None:
    """Add training rows to the record `training_` of a fitted codec.

    Parameters
    ----------
    estimator : HierarchicalVQVAE
        With network, units and `n_capped_` in place.
    Z : ndarray of shape (n, n_features)
        Training rows in codec units, capped, missing cells filled.
    observed : ndarray of bool of shape (n, n_features)
        Cells that were not missing.
    codes : ndarray of shape (n, n_codebooks)
        Their codes.
    weight : ndarray of shape (n,), default=None
        Weights of the rows, in everything that is counted or summed.

    Notes
    -----
    The record holds ``n_rows``; per column ``observed`` (cells), ``error`` and ``energy`` (sums of
    squared errors, and of squared deviations from the training mean, over observed capped cells in
    codec units) and ``capped`` (share of cells, of the rows that fixed the units); and ``codes``:
    hits per codeword of each codebook. Cells and hits are sums of weights, whole numbers where
    these are. NMSE of any set of columns: sum of error / sum of energy.
    Rows of later chunks count with the codec as it was after them.
    """
    mass = np.ones(len(Z)) if weight is None else weight
    if weight is None:  # summed as they are: as numbers they would be a table of float64
        cells, n_rows = observed.sum(axis=0), len(Z)
    else:
        cells = _counted(np.round(mass @ observed, _EXACT_DIGITS), mass)
        n_rows = math.ceil(round(float(mass.sum()), _EXACT_DIGITS))
    record = getattr(estimator, "training_", None) or _empty(estimator, cells)
    error, energy = _sums(estimator, Z, observed, codes, mass)
    hits = {
        name: record["codes"].get(name, 0) + _hits(codes[:, j], mass, len(book))
        for j, (name, book) in enumerate(estimator.codebooks_.items())
    }
    estimator.training_ = {
        "n_rows": record["n_rows"] + n_rows,
        "observed": record["observed"] + cells,
        "error": record["error"] + error,
        "energy": record["energy"] + energy,
        "capped": record["capped"],
        "codes": hits,
    }


def _hits(codes: NDArray[np.int64], mass: NDArray[np.float64], size: int) -> NDArray[Any]:
    """Hits per codeword."""
    return _counted(np.bincount(codes, mass, size), mass)


def _counted(sums: NDArray[Any], mass: NDArray[np.float64]) -> NDArray[Any]:
    """Sums of weights, as whole numbers where all weights are."""
    return sums.astype(np.int64) if (mass == np.rint(mass)).all() else sums


def _empty(estimator: Any, cells: NDArray[Any]) -> dict[str, Any]:
    d = len(cells)
    return {
        "n_rows": 0,
        "observed": np.zeros(d, dtype=np.int64),
        "error": np.zeros(d),
        "energy": np.zeros(d),
        "capped": estimator.n_capped_ / np.maximum(cells, 1),
        "codes": {},
    }


def _sums(
    estimator: Any,
    Z: NDArray[np.float32],
    observed: NDArray[np.bool_],
    codes: NDArray[np.int64],
    mass: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared error and energy per column, in blocks: copies of a table would be as large."""
    d, n_levels = Z.shape[1], estimator._layout["n_levels"]
    error, energy = np.zeros(d), np.zeros(d)
    # No block of a single column: numpy would add that up in another order.
    edges = np.linspace(0, d, math.ceil(d / _COLUMNS_AT_ONCE) + 1).astype(int)
    blocks = [slice(low, high) for low, high in pairwise(edges)]
    for start in range(0, len(Z), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        output = estimator._decode(codes[part], n_levels)
        for columns in blocks:
            target = Z[part, columns].astype(np.float64)
            seen = observed[part, columns] * mass[part, None]
            error[columns] += (seen * (target - output[:, columns]) ** 2).sum(axis=0)
            away = target - estimator.units_.reference_[columns]
            energy[columns] += (seen * away**2).sum(axis=0)
    return error, energy
