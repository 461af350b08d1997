"""What a codec remembers of its training rows, so that other rows can be compared with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 65_536


def remember(
    estimator: Any, Z: NDArray[np.float32], observed: NDArray[np.bool_], codes: NDArray[np.int64]
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

    Notes
    -----
    The record holds ``n_rows``; per column ``observed`` (cells), ``error`` and ``energy`` (sums of
    squared errors, and of squared deviations from the training mean, over observed capped cells in
    codec units) and ``capped`` (share of cells, of the rows that fixed the units); and ``codes``:
    hits per codeword of each codebook. NMSE of any set of columns: sum of error / sum of energy.
    Rows of later chunks count with the codec as it was after them.
    """
    record = getattr(estimator, "training_", None) or _empty(estimator, observed)
    error, energy = _sums(estimator, Z, observed, codes)
    hits = {
        name: record["codes"].get(name, 0) + np.bincount(codes[:, j], minlength=len(book))
        for j, (name, book) in enumerate(estimator.codebooks_.items())
    }
    estimator.training_ = {
        "n_rows": record["n_rows"] + len(Z),
        "observed": record["observed"] + observed.sum(axis=0),
        "error": record["error"] + error,
        "energy": record["energy"] + energy,
        "capped": record["capped"],
        "codes": hits,
    }


def _empty(estimator: Any, observed: NDArray[np.bool_]) -> dict[str, Any]:
    d = observed.shape[1]
    cells = np.maximum(observed.sum(axis=0), 1)
    return {
        "n_rows": 0,
        "observed": np.zeros(d, dtype=np.int64),
        "error": np.zeros(d),
        "energy": np.zeros(d),
        "capped": estimator.n_capped_ / cells,
        "codes": {},
    }


def _sums(
    estimator: Any, Z: NDArray[np.float32], observed: NDArray[np.bool_], codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared error and energy per column, in slices: a long table is not decoded at once."""
    d, n_levels = Z.shape[1], estimator._layout["n_levels"]
    error, energy = np.zeros(d), np.zeros(d)
    for start in range(0, len(Z), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        target = Z[part].astype(np.float64)
        seen = observed[part]
        output = estimator._decode(codes[part], n_levels)
        error += np.where(seen, (target - output) ** 2, 0.0).sum(axis=0)
        energy += np.where(seen, (target - estimator.units_.reference_) ** 2, 0.0).sum(axis=0)
    return error, energy
