"""What other budgets would give, by the measured curves of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adaptive_vq._diagnostic_tables import Judged
from adaptive_vq.allocation import allocate_total

MORE, LESS = 8, 16
"""Bits by which the recommendations raise the budget, or lower what is spent of it."""

_STEPS = 10
_EXACT = 1e-6
"""NMSE at the end of a curve from which more bits would buy nothing."""


def frontier(judged: Judged) -> pd.DataFrame | None:
    """Least total NMSE predicted at budgets from 0 to `MORE` bits above the plan's, among others.

    Returns
    -------
    pandas.DataFrame or None
        Index ``bits``, column ``predicted_nmse``, NaN where the curves do not reach; None where no
        curves were measured, or sizes of codebooks were given instead.
    """
    curves = getattr(judged.codec, "curves_", None)
    if curves is None or not isinstance(judged.codec.codebook_sizes, str):
        return None
    weights = weights_of(judged.codec)
    budget = int(judged.codec.budget_)
    budgets = {*np.linspace(0, budget, _STEPS + 1).astype(int).tolist()}
    budgets |= {budget + MORE, max(in_use(budget, judged.codec.n_bits_) - LESS, 0)}
    rows = [(bits, least(curves, weights, bits)) for bits in sorted(budgets)]
    return pd.DataFrame(rows, columns=["bits", "predicted_nmse"]).set_index("bits")


def in_use(budget: int, spent: float) -> int:
    """Smallest budget that would spend as much, of which less need not change anything.

    Examples
    --------
    >>> from adaptive_vq._knee import in_use
    >>> in_use(64, 63.2), in_use(64, 20.0)
    (64, 20)
    """
    return min(budget, math.ceil(spent))


def weights_of(codec: Any) -> dict[str, float]:
    """Energy of every category per training row: its part of the total error at no bits.

    Of observed cells, in codec units; of all cells where the codec does not hold how many were.
    """
    energy, record = codec.units_.variance_, getattr(codec, "training_", None)
    if record is not None:
        energy = energy * (record["observed"] / record["n_rows"])
    return {name: float(energy[columns].sum()) for name, columns in codec.categories_.items()}


def least(
    curves: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float], budget: int
) -> float:
    """Least total NMSE within a budget, NaN where it takes more bits than the curves have.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._knee import least
    >>> least({"a": np.array([1, 0.5]), "b": np.array([1, 0.1])}, {"a": 1.0, "b": 1.0}, 1)
    0.55
    """
    names = sorted(curves)
    ends = [(len(curve) - 1, float(curve[-1])) for curve in curves.values()]
    if budget > sum(bits for bits, _ in ends) and max(left for _, left in ends) > _EXACT:
        return math.nan
    factors = [weights[name] for name in names]
    bits = allocate_total([curves[name] for name in names], budget, weights=factors, keys=names)
    parts = [w * curves[name][b] for name, w, b in zip(names, factors, bits, strict=True)]
    return float(sum(parts) / sum(factors)) if sum(factors) > 0 else 0.0
