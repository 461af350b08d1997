"""Measured distortion-rate curves of categories; the choice of bits and of a cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq.allocation import allocate_minimax, allocate_total, lower_envelope
from adaptive_vq.classical import (
    CategorySpec,
    StartOptions,
    category_error,
    fit_category,
    principal_axes,
    seed_of,
)
from adaptive_vq.gaussian import gaussian_curve

Floats = NDArray[np.float64]
Categories = Mapping[str, NDArray[np.int64]]

MEASURING_ROWS = 10_000
CURVE_ROWS = 5_000
VALIDATION_SHARE = 0.1
ENOUGH_VALIDATION_ROWS = 600
MOST_DIRECTIONS = 128
ROWS_PER_DIRECTION = 24
"""Directions seen by fewer rows than this are left out: codebooks would only memorize them."""
MERGE_TOLERANCE = 1.02
"""A finer cut is kept while its predicted error is at most this many times that of the best cut:
categories that mean something are worth 2 % of the error, not more."""

_QUICK_ITERATIONS = 5
_EXACT = 1e-7
_BEYOND = 0.02
_MOST_BITS_PER_COLUMN = 10
_HOPELESS = 1.2


@dataclass(frozen=True)
class Measured:
    """What measuring decided.

    Attributes
    ----------
    categories : dict of str to ndarray of int64
        The chosen cut.
    bits : dict of str to list of int
        Whole bits per level.
    ratios : dict of str to list of float
        Share of the category's principal directions worth coding up to each level.
    curves : dict of str to ndarray
        NMSE of each category on rows kept aside, per number of bits.
    predicted : dict of str to float
        NMSE of each category at its bits.
    """

    categories: dict[str, NDArray[np.int64]]
    bits: dict[str, list[int]]
    ratios: dict[str, list[float]]
    curves: dict[str, Floats]
    predicted: dict[str, float]


def measure(
    Z: NDArray[np.float32],
    cuts: Sequence[Categories],
    budget: int,
    objective: str,
    n_levels: int,
    random_state: int,
) -> Measured:
    """Measure every category of every cut, divide the budget, choose the cut with the least error.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Training rows in codec units, nothing missing.
    cuts : list of dict
        Candidate categories; of two cuts with nearly equal error the finer one is taken.
    budget : int
        Bits per row.
    objective : {"total", "minimax"}
        What the division minimizes: the summed error, or the largest category NMSE. The cut is
        always chosen on the summed error, since a single category would trivially be its own worst.
    n_levels : int
        Levels over which a category's bits are split.
    random_state : int
        Seed of the rows kept aside and of the codebooks.

    Returns
    -------
    Measured

    Notes
    -----
    A curve is the error, on rows kept aside, of residual codebooks fitted on the others; one
    chain of codebooks serves all numbers of bits, only its last stage is refitted for each. What
    beam search and joint refit gain over that greedy chain is measured once per category, at the
    bits it would get, and carried over to the whole curve.
    """
    bench = _Bench(Z, random_state)
    best = _choose(_trials(bench, cuts, budget))
    bits = best.divide(objective)
    return best.result(bits, n_levels)


def level_bits(bits: int, n_levels: int) -> list[int]:
    """Split a category's bits over levels at codebook boundaries, coarse levels smaller.

    Examples
    --------
    >>> from adaptive_vq.curves import level_bits
    >>> level_bits(64, 3), level_bits(12, 3), level_bits(5, 3)
    ([16, 16, 32], [8, 4, 0], [5, 0, 0])
    """
    books = quantize.split_bits(bits)
    parts = n_levels * (n_levels + 1) // 2
    ends = [
        max(
            math.ceil(len(books) * (level + 1) * (level + 2) / 2 / parts),
            min(level + 1, len(books)),
        )
        for level in range(n_levels)
    ]
    return [sum(books[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class _Bench:
    """Rows to fit on, rows kept aside, and a store of what has been measured on them."""

    def __init__(self, Z: NDArray[np.float32], seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(Z))[: MEASURING_ROWS * 2]
        enough = min(ENOUGH_VALIDATION_ROWS, len(order) // 5)
        n_valid = max(1, enough, int(VALIDATION_SHARE * len(order)))
        rows = torch.from_numpy(np.ascontiguousarray(Z[order]))
        self.valid, self.train = rows[:n_valid], rows[n_valid:][:MEASURING_ROWS]
        supported = max(32, len(self.train) // ROWS_PER_DIRECTION)
        self.most_directions = min(MOST_DIRECTIONS, supported)
        self.few = self.train[:CURVE_ROWS]
        self.seed = seed
        self._nodes: dict[tuple[tuple[int, ...], int], _Node] = {}

    def node(self, columns: NDArray[np.int64], max_bits: int) -> _Node:
        """Measure a set of columns, once."""
        key = (tuple(sorted(int(c) for c in columns)), max_bits)
        if key not in self._nodes:
            self._nodes[key] = _Node(self, torch.as_tensor(key[0]), max_bits)
        return self._nodes[key]


class _Node:
    """Curve of one set of columns: summed squared error per row kept aside, per number of bits."""

    def __init__(self, bench: _Bench, columns: Tensor, max_bits: int) -> None:
        self.bench, self.columns = bench, columns
        self.greedy = _greedy_curve(bench, columns, max_bits)
        self.spectrum = _spectrum(bench.train[:, columns])
        self._gain: dict[tuple[int, bool], float] = {}

    def curve(self, bits: int, thorough: bool) -> Floats:
        """Return the curve, corrected by what search and refit gain at `bits`."""
        stages = np.array([len(quantize.split_bits(b)) for b in range(len(self.greedy))])
        here = len(quantize.split_bits(bits))
        if here < 2 or self.greedy[bits] <= _EXACT * self.greedy[0]:
            return self.greedy
        key = (here, thorough)
        if key not in self._gain:
            self._gain[key] = self._refitted(bits, thorough) / self.greedy[bits]
        exponent = np.clip(stages - 1, 0, None) / (here - 1)
        corrected: Floats = self.greedy * min(1.0, self._gain[key]) ** np.minimum(exponent, 1.5)
        return np.minimum.accumulate(corrected)

    def _refitted(self, bits: int, thorough: bool) -> float:
        width = min(len(self.columns), self.bench.most_directions)
        sizes = [[2**b for b in quantize.split_bits(bits)]]
        spec = CategorySpec("refitted", self.columns, sizes, [width])
        options = StartOptions(self.bench.seed)
        if not thorough:
            options = StartOptions(
                self.bench.seed, train_beam=2, n_iter=_QUICK_ITERATIONS, n_refits=1, beam=4
            )
        weight = torch.ones(len(self.bench.train))
        part = fit_category(self.bench.train, spec, weight, options, 0.0)
        return category_error(part, self.bench.valid, 16) / len(self.bench.valid)


def _greedy_curve(bench: _Bench, columns: Tensor, max_bits: int) -> Floats:
    """Fit stage after stage; within a stage, every number of bits up to a full codebook."""
    train, valid = bench.few[:, columns], bench.valid[:, columns]
    width = min(len(columns), bench.most_directions)
    mean, basis = principal_axes(train, width, torch.ones(len(train)))
    beyond = float((((valid - mean) - (valid - mean) @ basis @ basis.T) ** 2).sum()) / len(valid)
    left, held = (train - mean) @ basis, (valid - mean) @ basis
    curve = np.full(max_bits + 1, np.inf)
    curve[0] = float((held**2).sum()) / len(valid) + beyond
    generator = seed_of(bench.seed, "curve")
    done = 0
    while done < max_bits:
        most = min(quantize.MAX_CODEBOOK_BITS, max_bits - done)
        for b in _steps(most, done):
            codebook = quantize.kmeans(left, 2**b, generator, n_iter=_QUICK_ITERATIONS)
            curve[done + b] = float(quantize.nearest(held, codebook)[0].sum()) / len(valid) + beyond
        left = left - codebook[quantize.nearest(left, codebook)[1]]
        held = held - codebook[quantize.nearest(held, codebook)[1]]
        _interpolate(curve, done, done + most)
        done += most
        exact = float((left**2).sum()) <= _EXACT * curve[0] * len(train)
        if exact or curve[done] <= _EXACT * curve[0]:
            curve[done + 1 :] = curve[done]
            break
    return np.asarray(lower_envelope(curve), dtype=np.float64)


def _steps(most: int, done: int) -> list[int]:
    """Bits tried within a stage: all in the first, which settles columns of few values."""
    return list(range(1, most + 1)) if done == 0 else sorted(range(most, 0, -2))


def _interpolate(curve: Floats, start: int, end: int) -> None:
    """Fill what was not tried: error falls geometrically between two tried numbers of bits."""
    inside = np.arange(start, end + 1)
    known = inside[np.isfinite(curve[inside])]
    logs = np.log(np.maximum(curve[known], 1e-300))
    gaps = inside[~np.isfinite(curve[inside])]
    curve[gaps] = np.exp(np.interp(gaps, known, logs))


def _spectrum(rows: Tensor) -> Floats:
    centered = (rows - rows.mean(0)).double()
    values = torch.linalg.eigvalsh(centered.T @ centered / len(rows)).clamp_min(0.0).flip(0)
    return np.asarray(values.numpy(), dtype=np.float64)


class _Trial:
    """One cut with its measured curves and its division of the budget."""

    def __init__(self, bench: _Bench, cut: Categories, budget: int) -> None:
        self.names = sorted(cut)
        self.columns = [np.asarray(cut[name], dtype=np.int64) for name in self.names]
        self.order = list(cut)
        self.budget = budget
        self.nodes = [
            bench.node(columns, min(budget, _MOST_BITS_PER_COLUMN * len(columns)))
            for columns in self.columns
        ]
        self.curves = [node.greedy for node in self.nodes]
        self.error = math.inf
        self.correct(thorough=False)

    def correct(self, thorough: bool) -> None:
        """Correct the curves at the bits they would get, twice, since that moves the bits."""
        for _ in range(2):
            bits = self.divide("total")
            self.curves = [
                node.curve(int(b), thorough) for node, b in zip(self.nodes, bits, strict=True)
            ]
        bits = self.divide("total")
        self.error = sum(float(c[b]) for c, b in zip(self.curves, bits, strict=True))

    def divide(self, objective: str) -> NDArray[np.int64]:
        """Bits per category under an objective."""
        if objective == "total":
            return allocate_total(self.curves, self.budget, keys=self.names)
        relative = [c / max(float(c[0]), 1e-30) for c in self.curves]
        return allocate_minimax(relative, self.budget, keys=self.names)

    def _ratios(self, place: int, bits: Sequence[int]) -> list[float]:
        node = self.nodes[place]
        return _ratios(node.spectrum, bits, node.bench.most_directions)

    def result(self, bits: Iterable[int], n_levels: int) -> Measured:
        """Write down a division, categories in the order of the cut."""
        parts = dict(zip(self.names, (int(b) for b in bits), strict=True))
        at = {name: i for i, name in enumerate(self.names)}
        curves = {
            name: self.curves[at[name]] / max(float(self.curves[at[name]][0]), 1e-30)
            for name in self.order
        }
        levels = {name: level_bits(parts[name], n_levels) for name in self.order}
        return Measured(
            {name: self.columns[at[name]] for name in self.order},
            levels,
            {name: self._ratios(at[name], levels[name]) for name in self.order},
            curves,
            {name: float(curves[name][parts[name]]) for name in self.order},
        )


def _ratios(spectrum: Floats, bits: Sequence[int], most: int) -> list[float]:
    """Share of principal directions worth coding up to each level.

    Directions are worth coding until those beyond carry less than 2 % of the error that a
    Gaussian code of the same bits would leave: what is not coded is lost, what is costs only time.
    """
    errors = gaussian_curve(spectrum, int(sum(bits)))[np.cumsum(bits)]
    beyond = spectrum.sum() - np.cumsum(spectrum)
    counts = [int(np.searchsorted(-beyond, -_BEYOND * error)) + 1 for error in errors]
    return [min(count, len(spectrum), most) / len(spectrum) for count in counts]


def _trials(bench: _Bench, cuts: Sequence[Categories], budget: int) -> list[_Trial]:
    """Try cuts from coarse to fine; stop when two in a row are far above the best."""
    trials: list[_Trial] = []
    for cut in sorted(cuts, key=len):
        trials.append(_Trial(bench, cut, budget))
        least = min(trial.error for trial in trials)
        if len(trials) > 2 and min(t.error for t in trials[-2:]) > _HOPELESS * least:
            break
    return trials


def _choose(trials: Sequence[_Trial]) -> _Trial:
    """Measure the promising cuts as they will be fitted; take the finest of the best ones."""
    least = min(trial.error for trial in trials)
    close = [trial for trial in trials if trial.error <= _HOPELESS * least]
    for trial in close:
        trial.correct(thorough=True)
    least = min(trial.error for trial in close)
    close = [trial for trial in close if trial.error <= MERGE_TOLERANCE * least]
    return max(close, key=lambda trial: (len(trial.names), -trial.error))
