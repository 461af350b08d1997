"""Measured distortion-rate curves of categories; the choice of bits and of a cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adaptive_vq import quantize
from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._bench import Bench, Node
from adaptive_vq._cut_search import DOUBTED, each_alone, kept_whole, move_columns, search_cuts
from adaptive_vq._device import ordinary_torch
from adaptive_vq._indicators import one_hot_codes
from adaptive_vq._parallel import each, n_workers, one_thread_each
from adaptive_vq.allocation import allocate_minimax, allocate_total
from adaptive_vq.greedy import EXACT, AveragedCurve

Categories = Mapping[str, Ints]

CUT_TOLERANCE = 0.02
"""A finer cut is kept while its predicted error exceeds that of the best cut by at most this share:
categories that mean something are worth 2 % of the error, not more, unless a user says so."""

_HOPELESS = 1.05
"""The walk over cuts of few rows ends after two in a row with so many times the least error."""
_DRAWS_GAIN, _GROWTH_GAINS = 1.15, 1.06
"""Draws, and codebooks that are grown, lower the error of few categories more than that of many,
but hardly by more than this."""
_MOST_MOVED, _MOST_MOVED_BY_FEW = 50, 25
"""Columns up to which those move one by one that take few values."""
_ALL_MOVED, _ALL_MOVED_BY_FEW = 12, 8
"""Columns up to which all move: of more there are so many cuts that to estimate them
takes longer than all else, and some look good by chance, the sooner the fewer rows judge."""
_MOST_CORRECTIONS = 3
_CLEARLY = 0.98


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
    codebook_bits : dict of str to int
        Bits of the largest codebook of categories in which larger ones memorize, where rows are
        enough for a plan to settle that.
    """

    categories: dict[str, Ints]
    bits: dict[str, list[int]]
    ratios: dict[str, list[float]]
    curves: dict[str, Floats]
    predicted: dict[str, float]
    cuts: dict[int, float] = field(default_factory=dict)
    codebook_bits: dict[str, int] = field(default_factory=dict)


@ordinary_torch()
@one_thread_each()
@np.errstate(under="ignore")
def measure(
    Z: NDArray[np.float32],
    cuts: Sequence[Categories],
    budget: int,
    objective: str,
    n_levels: int,
    random_state: int,
    weight: Floats | None = None,
    cut_tolerance: float = CUT_TOLERANCE,
    most_alone: int = 0,
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
    most_alone : int, default=0
        Most categories there may be if every column becomes one, which is tried where columns take
        few values and no cut codes all rows; if any, up to 50 columns also move one by one, into no
        more categories than that.

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
    smaller codebooks are tried as well, as they are in categories whose rows large ones memorize.
    Where a cut into fewer categories is hardly worse, draws beside sparse rows and codebooks that
    are grown decide. Where columns take few values, rows like none before are left out of what is
    measured, and count by what those that came once would have cost; sets of rows that mostly
    repeat others are given no less than what a new one that is lost would cost.
    """
    bench = Bench(Z, random_state, weight)
    bench.settle_directions(budget)
    bench.settle_for_few_rows(budget)
    with_codes = kept_whole(cuts, one_hot_codes(Z, weight)) if len(cuts) > 1 else []
    alone = each_alone(cuts, np.flatnonzero(np.ptp(Z, axis=0) == 0.0) if most_alone else ())
    trials = _try_cuts(bench, cuts, budget, cut_tolerance, with_codes, alone, most_alone)
    behind = _coarser_are_behind(trials, cut_tolerance)
    if behind < _DRAWS_GAIN and bench.settle_close_calls(budget, behind < _GROWTH_GAINS):
        trials = _as_they_start(trials, cut_tolerance)
    if len(alone) <= most_alone and bench.tells_apart(alone.values(), budget):
        (last,) = _trials(bench, [alone], budget)
        trials += _try_alone(last, trials)
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

    Parameters
    ----------
    bits : int
        Bits of the category.
    n_levels : int
    max_bits : int, default=8
        Bits of the largest codebook.

    Returns
    -------
    list of int
        Bits per level; they sum to `bits`.

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


class _Trial:
    """One cut with its measured curves and its division of the budget."""

    def __init__(self, bench: Bench, cut: Categories, budget: int) -> None:
        self.cut, self.names = cut, sorted(cut)
        self.columns = [np.asarray(cut[name], dtype=np.int64) for name in self.names]
        self.budget = budget
        self.nodes = bench.nodes(self.columns)
        self.corrected = False
        self.error = math.inf

    def measure_ahead(self) -> None:
        """Measure what `estimate` will ask for, as far as that can be told before it is known.

        Categories are in several cuts, and what is known of them has to come from one after the
        other. But the work may be done for all cuts side by side.
        """
        while True:
            curves = [node.curve(self.budget, ahead=True) for node in self.nodes]
            bits = allocate_total(curves, self.budget, keys=self.names)
            short = [
                (node.greedy, int(b))
                for node, b in zip(self.nodes, bits, strict=True)
                if not node.greedy.covers(int(b), ahead=True)
            ]
            if not short:
                break
            each(AveragedCurve.look_ahead_to, *zip(*short, strict=True), split=True)

    def estimate(self) -> None:
        """Predict the error from what has been measured so far, here and in other cuts."""
        self._draw_curves()
        self.error = self._predicted()

    def _draw_curves(self) -> None:
        self.curves = [node.curve(self.budget) for node in self.nodes]

    def _predicted(self) -> float:
        bits = self.settle("total")
        # Nothing is left to tell cuts apart that code all rows: the finest may then be taken.
        left = sum(float(c[b]) for c, b in zip(self.curves, bits, strict=True))
        return max(left, self._nothing)

    @property
    def _nothing(self) -> float:
        return EXACT * sum(float(curve[0]) for curve in self.curves)

    @property
    def codes_all(self) -> bool:
        """Whether nothing is left of any row that was kept aside."""
        return self.error <= self._nothing

    @property
    def will_code_all(self) -> bool:
        """Whether nothing will be left of others either: all of them, by category, came before."""
        return self.codes_all and all(node.few_values for node in self.nodes)

    def settle(self, objective: str) -> Ints:
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
            gains = each(Node.gain, *zip(*open_, strict=True), split=True)
            for (node, b), gain in zip(open_, gains, strict=True):
                node.note_gain(b, gain)
            self._draw_curves()
        self.estimate()
        self.corrected = True

    def divide(self, objective: str) -> Ints:
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
            for name in self.cut
        }
        levels = {
            name: level_bits(parts[name], n_levels, self.nodes[at[name]].max_bits)
            for name in self.cut
        }
        return Measured(
            {name: self.columns[at[name]] for name in self.cut},
            levels,
            {
                name: self.nodes[at[name]].ratios(levels[name], self.curves[at[name]])
                for name in self.cut
            },
            curves,
            {name: float(curves[name][parts[name]]) for name in self.cut},
            codebook_bits={
                name: self.nodes[at[name]].max_bits
                for name in self.cut
                if self.nodes[at[name]].has_smaller
            },
        )


def _trials(bench: Bench, cuts: Sequence[Categories], budget: int) -> list[_Trial]:
    """Estimate cuts, all of their categories measured side by side."""
    bench.nodes(columns for cut in cuts for columns in cut.values())
    trials = [_Trial(bench, cut, budget) for cut in cuts]
    if len(trials) > 1 and n_workers() > 1:
        each(_Trial.measure_ahead, trials, split=True)
    for trial in trials:
        trial.estimate()
    return trials


def _try_cuts(
    bench: Bench,
    cuts: Sequence[Categories],
    budget: int,
    tolerance: float,
    with_codes: Sequence[Categories],
    alone: Categories,
    most: int,
) -> list[_Trial]:
    """Measure the candidates and, where there are rows to judge them by, cuts derived from them.

    Candidates are nested cuts, and the same `with_codes` kept whole. Not too many columns also move
    `alone`, into `most` categories: all of very few, else those that take few values, which gain
    most by it.
    """

    def try_cuts(tried: Sequence[Categories]) -> list[_Trial]:
        return _trials(bench, tried, budget)

    candidates = sorted([*cuts, *with_codes], key=len)
    few, judged = bench.rows_are_few, bench.may_judge_many_cuts
    n_columns = len(alone) if most else math.inf
    every = not few and n_columns <= min(most, _ALL_MOVED if judged else _ALL_MOVED_BY_FEW)
    if few:
        parts = (_walk(bench, some, budget, tolerance) for some in (cuts, with_codes))
        trials = [trial for part in parts for trial in part]
    else:
        single, sparse = alone if every else None, bench.rows_are_sparse
        trials = search_cuts(try_cuts, candidates, tolerance, sparse=sparse, alone=single)
    too_many = n_columns > (_MOST_MOVED_BY_FEW if few else _MOST_MOVED)
    if every or too_many or (few and not judged):
        return trials
    measured = [(trial.cut, trial) for trial in trials]
    return trials + move_columns(try_cuts, candidates, measured, bench.few_valued_columns(), most)


def _walk(bench: Bench, cuts: Sequence[Categories], budget: int, tolerance: float) -> list[_Trial]:
    """Measure candidates of few rows one by one, coarse to fine.

    Until two in a row are clearly worse than the best: estimates are poor, and of many cuts one
    would look good by chance. After a cut that is worse, and was estimated to be, one estimated to
    be much worse counts as the second.
    """
    trials: list[_Trial] = []
    hopeless = max(_HOPELESS, 1 + tolerance)
    least = before = math.inf
    came_true = False
    for cut in sorted(cuts, key=len):
        (trial,) = _trials(bench, [cut], budget)
        estimated = trial.error
        if came_true and min(before, estimated / DOUBTED) > hopeless * least:
            break
        trial.correct()
        trials.append(trial)
        least = min(least, trial.error)
        if min(before, trial.error) > hopeless * least:
            break
        before = trial.error
        came_true = estimated / DOUBTED <= before <= estimated * DOUBTED
    return trials


def _try_alone(alone: _Trial, trials: Sequence[_Trial]) -> list[_Trial]:
    """Measure every column as a category, where that codes all that comes and other cuts do not.

    Of columns that take few values, categories of several know only what has come together before.
    Where that is much, others will come, even if there are none among the rows kept aside.
    """
    better = alone.error < _CLEARLY * min(trial.error for trial in trials)
    surer = alone.codes_all and not any(trial.will_code_all for trial in trials)
    if not (better or surer):
        return []
    alone.correct()
    return [alone]


def _finest(trials: Sequence[_Trial], tolerance: float) -> _Trial:
    """Of the cuts nearly as good as the best one the finest."""
    least = min(trial.error for trial in trials)
    close = [trial for trial in trials if trial.error <= (1 + tolerance) * least]
    return max(close, key=lambda trial: (len(trial.names), -trial.error))


def _coarser_are_behind(trials: Sequence[_Trial], tolerance: float) -> float:
    """Error of the best cut into fewer categories over that of the one that would be chosen.

    Fewer categories have longer chains, which memorize sparse rows more, and gain more by draws and
    by codebooks that are grown.
    """
    best = _finest(trials, tolerance)
    fewer = [trial.error for trial in trials if len(trial.names) < len(best.names)]
    return min(fewer, default=math.inf) / max(best.error, 1e-300)


def _as_they_start(trials: Sequence[_Trial], tolerance: float) -> list[_Trial]:
    """Measure again, as they will start, the cuts that may be best then: close and no finer."""
    best = _finest(trials, tolerance)
    no_finer = (trial for trial in trials if len(trial.names) <= len(best.names))
    close = [trial for trial in no_finer if trial.error < _DRAWS_GAIN * best.error]
    for trial in close:
        trial.correct()
    return close
