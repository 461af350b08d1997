"""Measured distortion-rate curves of categories; the choice of bits and of a cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._cut_search import search_cuts
from adaptive_vq._folds import ENOUGH_JUDGED, MOST_FOLDS, folds
from adaptive_vq._parallel import each
from adaptive_vq._small_tables import largest_codebook, too_few
from adaptive_vq.allocation import allocate_minimax, allocate_total
from adaptive_vq.classical import (
    CategorySpec,
    StartOptions,
    category_error,
    fit_category,
    seed_of,
)
from adaptive_vq.gaussian import gaussian_curve
from adaptive_vq.greedy import EXACT, AveragedCurve, GreedyCurve

Floats = NDArray[np.float64]
Categories = Mapping[str, NDArray[np.int64]]

MEASURING_ROWS = 10_000
CURVE_ROWS = 5_000
VALIDATION_SHARE = 0.1
MOST_DIRECTIONS = 128
ROWS_PER_DIRECTION = 24
"""Directions seen by fewer rows than this are left out: codebooks would only memorize them."""
CUT_TOLERANCE = 0.02
"""A finer cut is kept while its predicted error exceeds that of the best cut by at most this share:
categories that mean something are worth 2 % of the error, not more, unless a user says so."""

_BEYOND = 0.02
_MOST_BITS_PER_COLUMN = 10
_MOST_CARRIED = 1.5
"""Log gain carried beyond the last measured bits, at most so many times that measured there."""
_HOPELESS = 1.05
"""The walk over cuts of few rows ends after two in a row with so many times the least error."""
_MOST_CORRECTIONS = 3
_MOST_LONGER = 2.5
"""Log gain expected of chains longer than any measured, at most so many times that of the longest:
too much has it measured for nothing, too little not at all."""
_FIRST_GUESS = -0.3
"""Log gain of two codebooks over one while none has been measured; too little, and no chain is."""
_NEAR = 0.1
"""A gain measured within this share of the bits, with as many codebooks, serves for them too."""


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
        NMSE of each category on rows kept aside, per number of bits; further than one codebook
        beyond its bits it is extrapolated.
    predicted : dict of str to float
        NMSE of each category at its bits.
    cuts : dict of int to float
        Predicted NMSE of all columns for each number of categories that was measured.
    """

    categories: dict[str, NDArray[np.int64]]
    bits: dict[str, list[int]]
    ratios: dict[str, list[float]]
    curves: dict[str, Floats]
    predicted: dict[str, float]
    cuts: dict[int, float] = field(default_factory=dict)


def measure(
    Z: NDArray[np.float32],
    cuts: Sequence[Categories],
    budget: int,
    objective: str,
    n_levels: int,
    random_state: int,
    weight: Floats | None = None,
    cut_tolerance: float = CUT_TOLERANCE,
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
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.
    cut_tolerance : float, default=0.02
        How much more error than the best cut, as a share, a finer one may cost.

    Returns
    -------
    Measured

    Notes
    -----
    A curve is the error, on rows kept aside, of residual codebooks fitted on the others; one
    chain of codebooks serves all numbers of bits. It is measured one codebook further than the
    division of the budget goes; beyond that it falls as in its last stage, which flatters it. What
    beam search and joint refit gain over the greedy chain is measured at the bits a category would
    get, and interpolated between these. Of few rows several parts are kept aside in turn, and
    smaller codebooks are tried as well.
    """
    bench = _Bench(Z, random_state, weight)
    bench.settle_max_bits(budget)
    trials = _try_cuts(bench, cuts, budget, cut_tolerance)
    best = _finest(trials, cut_tolerance)
    bits = best.settle(objective)
    best.look_ahead(bits)
    total = max(sum(float(curve[0]) for curve in best.curves), 1e-30)
    # Of several cuts into as many categories the best one, which comes last, stays.
    tried = sorted(trials, key=lambda trial: (len(trial.names), -trial.error))
    cuts_tried = {len(trial.names): trial.error / total for trial in tried}
    return replace(best.result(bits, n_levels), cuts=cuts_tried)


def level_bits(bits: int, n_levels: int, max_bits: int = quantize.MAX_CODEBOOK_BITS) -> list[int]:
    """Split a category's bits over levels at codebook boundaries, coarse levels smaller.

    `max_bits` are the bits of the largest codebook.

    Examples
    --------
    >>> from adaptive_vq.curves import level_bits
    >>> level_bits(64, 3), level_bits(12, 3), level_bits(5, 3)
    ([16, 16, 32], [8, 4, 0], [5, 0, 0])
    """
    books = quantize.split_bits(bits, max_bits)
    parts = n_levels * (n_levels + 1) // 2
    ends = [
        max(
            math.ceil(len(books) * (level + 1) * (level + 2) / 2 / parts),
            min(level + 1, len(books)),
        )
        for level in range(n_levels)
    ]
    return [sum(books[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class _Fold:
    """Rows to fit on and rows kept aside, with their weights."""

    def __init__(self, Z: NDArray[np.float32], weight: Floats | None, fit: Any, valid: Any) -> None:
        self.train, self.valid = (torch.from_numpy(Z[rows]) for rows in (fit, valid))
        mass = np.ones(len(Z)) if weight is None else weight
        self.weight, self.valid_weight = (
            torch.from_numpy(mass[rows].astype(np.float32)) for rows in (fit, valid)
        )


class _Bench:
    """Rows to fit on, rows kept aside, and a store of what has been measured on them."""

    def __init__(self, Z: NDArray[np.float32], seed: int, weight: Floats | None = None) -> None:
        order = np.random.default_rng(seed).permutation(len(Z))[: MEASURING_ROWS * 2]
        enough = min(ENOUGH_JUDGED, len(order) // 5)
        n_valid = max(1, enough, int(VALIDATION_SHARE * len(order)))
        few = too_few(len(order) - n_valid, quantize.MAX_CODEBOOK_BITS)
        self.rows_are_few = few
        self.folds = [
            _Fold(Z, weight, fit[:MEASURING_ROWS], valid)
            for fit, valid in folds(order, n_valid, MOST_FOLDS if few else 1)
        ]
        self.n_rows = len(self.folds[0].train)
        supported = max(32, self.n_rows // ROWS_PER_DIRECTION)
        self.most_directions = min(MOST_DIRECTIONS, supported)
        self.seed = seed
        self._nodes: dict[tuple[int, ...], _Node] = {}
        self.max_bits = quantize.MAX_CODEBOOK_BITS
        self._gains: list[tuple[float, float]] = []

    def usual_gain(self, books: Floats) -> Floats:
        """Log of what search and refit do to the error of chains of so many codebooks.

        Interpolated between the chains measured so far, over the root of the number of codebooks
        after the first: the gain of a chain grows ever less with its length.
        """
        gains: dict[float, list[float]] = {0.0: [0.0]}
        for further, gain in self._gains or [(1.0, _FIRST_GUESS)]:
            gains.setdefault(math.sqrt(further), []).append(gain)
        places = sorted(gains)
        usual = [float(np.mean(gains[place])) for place in places]
        reach = np.sqrt(np.maximum(books - 1.0, 0.0))
        beyond = usual[-1] * np.minimum(reach / places[-1], _MOST_LONGER)
        return np.where(reach > places[-1], beyond, np.interp(reach, places, usual))

    def note_gain(self, gain: float, books: float) -> None:
        """Remember the gain of a chain of so many codebooks."""
        self._gains.append((books - 1.0, math.log(max(gain, 1e-12))))

    def settle_max_bits(self, budget: int) -> None:
        """Choose the largest codebook that pays off, by a chain of the budget for all columns."""
        bits = min(budget, quantize.MAX_CODEBOOK_BITS)
        if not too_few(self.n_rows, bits):
            return
        (every,) = self.nodes([np.arange(self.folds[0].train.shape[1])])
        self.max_bits = largest_codebook(
            lambda most: every.refitted(budget, most), self.n_rows, bits
        )

    def nodes(self, sets: Iterable[NDArray[np.int64]]) -> list[_Node]:
        """Measure sets of columns, each once."""
        keys = [tuple(sorted(int(c) for c in columns)) for columns in sets]
        new = [key for key in dict.fromkeys(keys) if key not in self._nodes]
        measured = each(lambda key: _Node(self, torch.as_tensor(key)), new, split=True)
        self._nodes.update(zip(new, measured, strict=True))
        return [self._nodes[key] for key in keys]


class _Node:
    """One set of columns: its greedy curve, and what search and refit gain over it."""

    def __init__(self, bench: _Bench, columns: Tensor) -> None:
        self.bench, self.columns = bench, columns
        self.greedy = AveragedCurve(each(self._greedy, bench.folds, split=True))
        first = bench.folds[0]
        self.spectrum = _spectrum(first.train[:, columns], first.weight)
        self._gains: dict[int, float] = {}
        self._refitted: dict[tuple[int, int], float] = {}

    @property
    def max_bits(self) -> int:
        """Bits of the largest codebook; one that tells every row apart may be a full one."""
        full = quantize.MAX_CODEBOOK_BITS
        curve = self.greedy.up_to(full)
        return full if curve[-1] <= EXACT * curve[0] else self.bench.max_bits

    def _greedy(self, fold: _Fold) -> GreedyCurve:
        return GreedyCurve(
            fold.train[:CURVE_ROWS, self.columns],
            fold.valid[:, self.columns],
            min(len(self.columns), self.bench.most_directions),
            _MOST_BITS_PER_COLUMN * len(self.columns),
            seed_of(self.bench.seed, "curve"),
            (fold.weight[:CURVE_ROWS], fold.valid_weight),
        )

    def may_gain(self, bits: int) -> bool:
        """Whether search and refit may gain at `bits` what is not known, there or nearby."""
        greedy = self.greedy.up_to(bits)
        # A single codebook has nothing to gain.
        inexact = bool(greedy[-1] > EXACT * greedy[0])
        return bits > self.max_bits and inexact and not self._known(bits)

    def gain(self, bits: int) -> float:
        """Error with search and refit over that of the greedy chain."""
        return min(1.0, self.refitted(bits, self.max_bits) / self.greedy.up_to(bits)[-1])

    def note_gain(self, bits: int, gain: float) -> None:
        """Remember a gain."""
        self._gains[bits] = gain
        self.bench.note_gain(gain, bits / self.max_bits)

    def ratios(self, bits: Sequence[int]) -> list[float]:
        """Share of principal directions worth coding up to each level.

        Directions are worth coding until those beyond carry less than 2 % of the error that a
        Gaussian code of the same bits would leave: what is not coded is lost, what is costs only
        time.
        """
        spectrum, most = self.spectrum, self.bench.most_directions
        errors = gaussian_curve(spectrum, int(sum(bits)))[np.cumsum(bits)]
        beyond = spectrum.sum() - np.cumsum(spectrum)
        counts = [int(np.searchsorted(-beyond, -_BEYOND * error)) + 1 for error in errors]
        return [min(count, len(spectrum), most) / len(spectrum) for count in counts]

    def _known(self, bits: int) -> bool:
        books = len(quantize.split_bits(bits))
        same = [b for b in self._gains if len(quantize.split_bits(b)) == books]
        return any(abs(b - bits) <= _NEAR * bits for b in same)

    def curve(self, budget: int) -> Floats:
        """Return the curve up to the budget, corrected by the gains measured so far."""
        greedy = self.greedy.up_to(budget)
        if not self._gains:
            usual = self.bench.usual_gain(np.arange(len(greedy)) / self.max_bits)
            return np.minimum.accumulate(greedy * np.exp(usual))
        # A single codebook gains nothing; from there on the gain grows geometrically.
        places = [self.max_bits, *sorted(self._gains)]
        logs = np.log([1.0] + [max(self._gains[b], 1e-12) for b in places[1:]])
        bits = np.arange(len(greedy))
        gains = np.interp(bits, places, logs)
        reach = (bits - places[0]) / (places[-1] - places[0])
        gains = np.where(bits > places[-1], logs[-1] * np.minimum(reach, _MOST_CARRIED), gains)
        return np.minimum.accumulate(greedy * np.exp(gains))

    def refitted(self, bits: int, max_bits: int) -> float:
        """Error per row kept aside of a chain with codebooks of at most `max_bits` bits."""
        if (bits, max_bits) not in self._refitted:
            self._refitted[bits, max_bits] = self._refit(bits, max_bits)
        return self._refitted[bits, max_bits]

    def _refit(self, bits: int, max_bits: int) -> float:
        width = min(len(self.columns), self.bench.most_directions)
        sizes = [[2**b for b in quantize.split_bits(bits, max_bits)]]
        spec = CategorySpec("refitted", self.columns, sizes, [width])
        options = StartOptions(self.bench.seed, n_iter=5, n_refits=3)

        def error(fold: _Fold) -> float:
            part = fit_category(fold.train, spec, fold.weight, options, 0.0)
            return category_error(part, fold.valid, 16, fold.valid_weight)

        errors = each(error, self.bench.folds, split=True)
        return sum(errors) / sum(float(fold.valid_weight.sum()) for fold in self.bench.folds)


def _spectrum(rows: Tensor, weight: Tensor) -> Floats:
    share = (weight / weight.sum()).double()
    centered = rows.double() - share @ rows.double()
    values = torch.linalg.eigvalsh((centered.T * share) @ centered).clamp_min(0.0).flip(0)
    return np.asarray(values.numpy(), dtype=np.float64)


class _Trial:
    """One cut with its measured curves and its division of the budget."""

    def __init__(self, bench: _Bench, cut: Categories, budget: int) -> None:
        self.names = sorted(cut)
        self.columns = [np.asarray(cut[name], dtype=np.int64) for name in self.names]
        self.order = list(cut)
        self.budget = budget
        self.nodes = bench.nodes(self.columns)
        self.corrected = False
        self.estimate()

    def estimate(self) -> None:
        """Predict the error from what has been measured so far, here and in other cuts."""
        self._draw_curves()
        self.error = self._predicted()

    def _draw_curves(self) -> None:
        self.curves = [node.curve(self.budget) for node in self.nodes]

    def _predicted(self) -> float:
        bits = self.settle("total")
        return sum(float(c[b]) for c, b in zip(self.curves, bits, strict=True))

    def settle(self, objective: str) -> NDArray[np.int64]:
        """Divide, measuring the curves wherever the division goes."""
        while True:
            bits = self.divide(objective)
            short = [n for n, b in zip(self.nodes, bits, strict=True) if not n.greedy.covers(b)]
            if not short:
                return bits
            self._measure_to(bits)

    def look_ahead(self, bits: Iterable[int]) -> None:
        """Measure every curve one codebook beyond its bits: what a larger budget would buy."""
        self._measure_to(int(b) + quantize.MAX_CODEBOOK_BITS for b in bits)

    def _measure_to(self, bits: Iterable[int]) -> None:
        each(lambda node, b: node.greedy.measure_to(int(b)), self.nodes, bits, split=True)
        self._draw_curves()

    def correct(self) -> None:
        """Correct the curves at the bits they would get; again, while that moves the bits."""
        for _ in range(_MOST_CORRECTIONS):
            bits = self.settle("total")
            pairs = zip(self.nodes, bits, strict=True)
            open_ = [(node, int(b)) for node, b in pairs if node.may_gain(int(b))]
            if not open_:
                break
            gains = each(_Node.gain, *zip(*open_, strict=True), split=True)
            for (node, b), gain in zip(open_, gains, strict=True):
                node.note_gain(b, gain)
            self._draw_curves()
        self.estimate()
        self.corrected = True

    def divide(self, objective: str) -> NDArray[np.int64]:
        """Bits per category under an objective."""
        if objective == "total":
            return allocate_total(self.curves, self.budget, keys=self.names)
        relative = [c / max(float(c[0]), 1e-30) for c in self.curves]
        return allocate_minimax(relative, self.budget, keys=self.names)

    def result(self, bits: Iterable[int], n_levels: int) -> Measured:
        """Write down a division, categories in the order of the cut."""
        parts = dict(zip(self.names, (int(b) for b in bits), strict=True))
        at = {name: i for i, name in enumerate(self.names)}
        curves = {
            name: self.curves[at[name]] / max(float(self.curves[at[name]][0]), 1e-30)
            for name in self.order
        }
        levels = {
            name: level_bits(parts[name], n_levels, self.nodes[at[name]].max_bits)
            for name in self.order
        }
        return Measured(
            {name: self.columns[at[name]] for name in self.order},
            levels,
            {name: self.nodes[at[name]].ratios(levels[name]) for name in self.order},
            curves,
            {name: float(curves[name][parts[name]]) for name in self.order},
        )


def _trials(bench: _Bench, cuts: Sequence[Categories], budget: int) -> list[_Trial]:
    """Estimate cuts, all of their categories measured side by side."""
    bench.nodes(columns for cut in cuts for columns in cut.values())
    return [_Trial(bench, cut, budget) for cut in cuts]


def _try_cuts(
    bench: _Bench, cuts: Sequence[Categories], budget: int, tolerance: float
) -> list[_Trial]:
    """Measure the candidates and, where there are rows to judge them by, cuts derived from them.

    With few rows the candidates are measured one by one, coarse to fine, until two in a row are
    clearly worse than the best: estimates are poor, and of many cuts one would look good by chance.
    """
    if not bench.rows_are_few:
        return search_cuts(lambda tried: _trials(bench, tried, budget), cuts, tolerance)
    trials: list[_Trial] = []
    hopeless = max(_HOPELESS, 1 + tolerance)
    for cut in sorted(cuts, key=len):
        trials.append(_Trial(bench, cut, budget))
        trials[-1].correct()
        least = min(trial.error for trial in trials)
        if min(trial.error for trial in trials[-2:]) > hopeless * least:
            break
    return trials


def _finest(trials: Sequence[_Trial], tolerance: float) -> _Trial:
    """Of the cuts nearly as good as the best one the finest."""
    least = min(trial.error for trial in trials)
    close = [trial for trial in trials if trial.error <= (1 + tolerance) * least]
    return max(close, key=lambda trial: (len(trial.names), -trial.error))
