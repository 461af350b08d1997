"""Codebooks that a plan asks for: their sizes, by its bits or as the user gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adaptive_vq import quantize
from adaptive_vq._alerts import warn
from adaptive_vq.classical import CategorySpec
from adaptive_vq.plan import Plan
from adaptive_vq.sharing import latent_width

__all__ = ["MOST_CODEWORDS", "most_codewords", "specs_of"]

MOST_CODEWORDS = 2**quantize.MAX_CODEBOOK_BITS
"""Most codewords of a codebook whose size is not given."""


def most_codewords(
    estimator: Any, observed: NDArray[np.bool_], weight: NDArray[np.float64] | None = None
) -> int:
    """Most codewords of a codebook that the rows with any observed cell allow, by their weights."""
    least = estimator.min_rows_per_codeword
    if least is None:
        return MOST_CODEWORDS
    counted = observed.any(axis=1)
    n_rows = int(counted.sum() if weight is None else np.rint(weight @ counted))
    most = min(MOST_CODEWORDS, int(n_rows / least))
    if most < 2:
        raise ValueError(
            f"min_rows_per_codeword={least} leaves no codebook of two codewords with {n_rows} "
            f"training rows: give more rows, or at most {n_rows / 2:g}."
        )
    return most


def specs_of(
    plan: Plan, codebook_sizes: Any, most_codewords: int = MOST_CODEWORDS
) -> list[CategorySpec]:
    """What each category with any bits is to have; sizes given by the user must fit the budget."""
    specs, max_bits = [], quantize.most_bits(most_codewords)
    for name, columns in plan.categories.items():
        widths = [
            # All columns from a ratio of 1 on; of a larger one the width may be beyond any number.
            min(len(columns), latent_width(len(columns), min(ratio, 1.0)))
            for ratio in plan.ratios[name]
        ]
        if isinstance(codebook_sizes, str):
            largest = min(max_bits, plan.codebook_bits.get(name, max_bits))
            sizes = [[2**b for b in quantize.split_bits(bits, largest)] for bits in plan.bits[name]]
        else:
            sizes = [
                [size] if size > 1 else [] for size in _given_sizes(codebook_sizes, name, plan)
            ]
        specs.append(CategorySpec(name, torch.as_tensor(columns), sizes, _reaching(widths, sizes)))
    _require_rows(specs, codebook_sizes, most_codewords)
    asked = sum(math.log2(size) for spec in specs for level in spec.sizes for size in level)
    if asked > plan.budget + 1e-6:
        raise ValueError(
            f"codebook_sizes={codebook_sizes!r} take {asked:.1f} bits per row, the budget is "
            f"{plan.budget}. Raise bits to {math.ceil(asked - 1e-6)}, or give smaller sizes."
        )
    if not (isinstance(codebook_sizes, str) or asked):
        _warn_of_no_code(codebook_sizes)
    return specs


def _warn_of_no_code(codebook_sizes: Any) -> None:
    """Tell that sizes given by the user leave no code."""
    warn(
        f"codebook_sizes={codebook_sizes!r} leaves no code: a codebook of one codeword tells no "
        "rows apart, and every row decodes to the training mean. Give sizes of at least 2, or "
        "leave codebook_sizes at 'auto'."
    )


def _reaching(widths: list[int], sizes: Sequence[Sequence[int]]) -> list[int]:
    """Let the last level that has a codebook code what levels after it would have coded."""
    last = max((level for level, books in enumerate(sizes) if books), default=0)
    return [*widths[:last], *[max(widths)] * (len(widths) - last)]


def _require_rows(specs: Sequence[CategorySpec], codebook_sizes: Any, most: int) -> None:
    """Refuse sizes given by the user that the rows do not allow."""
    largest = max((size for spec in specs for level in spec.sizes for size in level), default=0)
    if most < MOST_CODEWORDS and largest > most:
        raise ValueError(
            f"codebook_sizes={codebook_sizes!r} asks for {largest} codewords, "
            f"min_rows_per_codeword allows {most} with these rows: change one of the two."
        )


def _given_sizes(codebook_sizes: Any, name: str, plan: Plan) -> list[int]:
    given = codebook_sizes
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in plan.categories]
        if unknown:
            raise ValueError(
                f"codebook_sizes names the unknown category {unknown[0]!r}; there are "
                f"{list(plan.categories)}."
            )
        if name not in given:
            raise ValueError(f"codebook_sizes has no entry for category {name!r}.")
        given = given[name]
    # Not np.ndim, which fails on a list of lists and numbers before it can be named.
    many = given.ndim == 1 if isinstance(given, np.ndarray) else isinstance(given, Sequence)
    many = many and not isinstance(given, str)
    levels = list(given) if many else [given] * plan.n_levels
    whole = all(isinstance(size, (int, np.integer)) and size >= 1 for size in levels)
    if len(levels) != plan.n_levels or not whole:
        raise ValueError(
            f"codebook_sizes={codebook_sizes!r} gives category {name!r} {given!r}: give one whole "
            f"number per level ({plan.n_levels}), at least 1."
        )
    return [int(size) for size in levels]
