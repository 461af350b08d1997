"""Distortion-rate curve of a set of columns under greedy residual coding (torch and numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._arrays import Floats
from adaptive_vq._parallel import each
from adaptive_vq.allocation import lower_envelope
from adaptive_vq.classical import principal_axes
from adaptive_vq.kmeans import kmeans_path, kmeans_sizes, nearest
from adaptive_vq.spectra import n_distinct, row_items

__all__ = ["AveragedCurve", "GreedyCurve"]

EXACT = 1e-7
"""Share of the variance below which nothing counts as left to code."""
_ITERATIONS = 2
_NARROW = 4
"""Up to so many columns k-means is cheap and prone to poor minima: sizes do not grow from one
another, but start each from well-chosen rows."""
_PROBED, _DIFFERENT = 400, 0.7
"""Rows are merged where no more than this share of the first few differ; of all even less do."""


class _Stage(NamedTuple):
    """Errors at ever more bits, and whether nothing is left to code after them."""

    errors: list[float]
    exact: bool


class GreedyCurve:
    """Summed squared error per row kept aside, per number of bits; measured as far as asked.

    A stage is a codebook of up to `MAX_CODEBOOK_BITS` bits on what the earlier stages leave, and
    every smaller codebook on the way to it is measured too. Beyond what has been measured the
    curve goes on falling as fast as in its last stage, which flatters it: whoever buys bits there
    should have them measured first.

    Parameters
    ----------
    train, valid : Tensor of shape (n, k)
        Rows to fit on, and rows that the error is measured on.
    width : int
        Principal directions coded; the others count as lost.
    limit : int
        Bits beyond which the curve does not go.
    generator : torch.Generator
        Source of all random choices.
    weights : (Tensor of shape (n_train,), Tensor of shape (n_valid,)), default=None
        Weights of the rows.
    axes : (Tensor of shape (k,), Tensor of shape (k, width)), default=None
        What `principal_axes` gives for the rows to fit on, where it is known.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq.greedy import GreedyCurve
    >>> rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> curve = GreedyCurve(rows[:300], rows[300:], 2, 20, torch.Generator().manual_seed(0))
    >>> curve.measure_to(6)
    >>> curve.measured, len(curve.up_to(12)), len(curve.up_to(99))
    (8, 13, 21)
    """

    def __init__(
        self,
        train: Tensor,
        valid: Tensor,
        width: int,
        limit: int,
        generator: torch.Generator,
        weights: tuple[Tensor, Tensor] | None = None,
        axes: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        train_weight, valid_weight = weights or (torch.ones(len(train)), torch.ones(len(valid)))
        train, train_weight = _merged(train, train_weight)
        valid, valid_weight = _merged(valid, valid_weight)
        self._weights = train_weight, valid_weight
        mean, basis = axes or principal_axes(train, width, train_weight)
        self._left, self._held = (train - mean) @ basis, (valid - mean) @ basis
        self._beyond = 0.0
        away = ((valid - mean) ** 2).sum(1) - (self._held**2).sum(1)
        self._beyond = max(self._mean(away), 0.0)
        self._stages = [_Stage([self._mean(self._held.square().sum(1))], False)]
        self._limit, self._generator = limit, generator
        self._n_known, self._one_at_a_time = 1, RLock()
        self.measure_to(min(quantize.MAX_CODEBOOK_BITS, limit))

    @property
    def measured(self) -> int:
        """Bits up to which the curve has been measured."""
        return self._reach(self._n_known)

    def _reach(self, n_stages: int) -> int:
        return sum(len(stage.errors) for stage in self._stages[:n_stages]) - 1

    def covers(self, bits: int, ahead: bool = False) -> bool:
        """Whether nothing would be gained by measuring up to `bits`."""
        n_stages = len(self._stages) if ahead else self._n_known
        exact = self._stages[n_stages - 1].exact
        return exact or self._reach(n_stages) >= min(bits, self._limit)

    def measure_to(self, bits: int) -> None:
        """Fit further stages until the curve is measured at `bits`, or nothing is left to code."""
        while not self.covers(bits):
            if self._n_known == len(self._stages):
                self.look_ahead_to(self.measured + 1)
            self._n_known += 1

    def look_ahead_to(self, bits: int) -> None:
        """Fit the stages that `measure_to` would, without a word: the curve stays as it is.

        So that threads may work ahead on what will probably be asked for.
        """
        with self._one_at_a_time:
            while not self.covers(bits, ahead=True):
                left = self._limit - self._reach(len(self._stages))
                self._stages.append(self._next_stage(min(quantize.MAX_CODEBOOK_BITS, left)))

    def up_to(self, bits: int, ahead: bool = False) -> Floats:
        """Lower envelope of the curve at 0 to `bits` bits (to its limit, if that comes first).

        By what has been measured, or with `ahead` by all that has been worked ahead on.
        """
        stages = self._stages[: None if ahead else self._n_known]
        known = np.array([error for stage in stages for error in stage.errors][: bits + 1])
        beyond = np.arange(1, min(bits, self._limit) + 2 - len(known))
        last = min(quantize.MAX_CODEBOOK_BITS, len(known) - 1)
        fall = 1.0
        if not stages[-1].exact and last:
            fall = min(1.0, known[-1] / max(known[-1 - last], 1e-300)) ** (1.0 / last)
        return np.asarray(lower_envelope(np.append(known, known[-1] * fall**beyond)))

    def _next_stage(self, bits: int) -> _Stage:
        first, weight = len(self._stages) == 1, self._weights[0]
        codebooks_of = kmeans_path
        if first and self._left.shape[1] <= _NARROW:
            codebooks_of = kmeans_sizes
        codebooks = codebooks_of(self._left, bits, self._generator, weight, _ITERATIONS)
        errors = []
        for codebook in codebooks:
            distance, index = nearest(self._held, codebook)
            errors.append(self._mean(distance))
        self._left = self._left - codebook[nearest(self._left, codebook)[1]]
        self._held = self._held - codebook[index]
        floor = EXACT * self._stages[0].errors[0]
        left = float((self._left.square().sum(1) * weight).sum() / weight.sum()) + self._beyond
        return _Stage(errors, left <= floor or errors[-1] <= floor)

    def _mean(self, per_row: Tensor) -> float:
        weight = self._weights[1]
        return float((per_row * weight).sum()) / float(weight.sum()) + self._beyond


class AveragedCurve:
    """Mean of the curves of one set of columns on several parts of the rows kept aside.

    Parameters
    ----------
    curves : list of GreedyCurve
        Curves of the same limit.
    """

    def __init__(self, curves: Sequence[GreedyCurve]) -> None:
        self._curves = curves

    def covers(self, bits: int, ahead: bool = False) -> bool:
        """Whether nothing would be gained by measuring up to `bits`."""
        return all(curve.covers(bits, ahead) for curve in self._curves)

    def measure_to(self, bits: int) -> None:
        """Measure every curve at `bits`."""
        each(lambda curve: curve.measure_to(bits), self._curves, split=True)

    def look_ahead_to(self, bits: int) -> None:
        """Fit what that would take; the curves stay as they are."""
        each(lambda curve: curve.look_ahead_to(bits), self._curves, split=True)

    def up_to(self, bits: int, ahead: bool = False) -> Floats:
        """Mean of the lower envelopes at 0 to `bits` bits."""
        return np.asarray(np.mean([curve.up_to(bits, ahead) for curve in self._curves], axis=0))


def _merged(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which none equals another, with the weights of all that do: errors stay the same.

    Columns that take few values need only these, which takes a fraction of the time.
    """
    probe = rows[:_PROBED].numpy()
    if n_distinct(probe) > _DIFFERENT * len(probe):
        return rows, weight
    _, first, index = np.unique(row_items(rows.numpy()), return_index=True, return_inverse=True)
    mass = np.bincount(index.ravel(), weight.double().numpy())
    return rows[torch.from_numpy(first)], torch.from_numpy(mass).float()
