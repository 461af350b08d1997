"""Distortion-rate curves of sets of columns, measured on rows kept aside, each set once."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._folds import ENOUGH_JUDGED, MOST_FOLDS, Fold, folds
from adaptive_vq._novelty import NewValues, novel_error, surprise_error
from adaptive_vq._parallel import each, until
from adaptive_vq._race import Race, behind
from adaptive_vq._small_tables import largest_codebook, memorized, too_few
from adaptive_vq._smoothing import CLOSE_KNIT, SPREAD_MUST_GAIN, clearly_better
from adaptive_vq._usual_gains import UsualGains
from adaptive_vq.classical import (
    TOWARDS_NEIGHBOURS,
    CategorySpec,
    Earlier,
    Stages,
    StartOptions,
    axes_of,
    fit_category,
    row_errors,
    seed_of,
)
from adaptive_vq.gaussian import gaussian_curve
from adaptive_vq.greedy import EXACT, AveragedCurve, GreedyCurve
from adaptive_vq.spectra import n_distinct, spectrum

__all__ = ["Bench", "Node"]

MEASURING_ROWS = 10_000
CURVE_ROWS = 5_000
VALIDATION_SHARE = 0.1
MOST_DIRECTIONS, LEAST_DIRECTIONS = 128, 32
ROWS_PER_DIRECTION = 24
"""Directions of many columns that fewer rows see are left out: codebooks would only memorize them.
Of fewer columns none is: where they take few values, what is left out may be most of the error."""
_DIRECTIONS_JUDGED_AT = 32
"""Bits of the chain that judges whether all are coded, at most: a greedy one of more memorizes."""
_MOSTLY = 0.5
"""Share of that chain's error that directions left out make up where it is worth trying them."""
_DIRECTIONS_MUST_GAIN = 0.98

_BEYOND = 0.02
_MOST_BITS_PER_COLUMN = 10
_MOST_CARRIED = 1.5
"""Log gain carried beyond the last measured bits, at most so many times that measured there."""
_SHORT, _FIRST = 4, 3
"""Codebooks of the longest chain on the whole of which spreads are tried, and of longer ones."""
_SMOOTHED = 2
"""Full codebooks of the longest chain whose sizes are compared with draws beside the rows as well:
in longer ones large codebooks memorize all the same."""
DRAWS_MUST_GAIN = 0.95
"""Plans are made with draws, which take several times as long, where they lower errors below this
share: codecs are fitted with draws or without whatever the plan was made with."""
START_MUST_GAIN = 0.98
"""The same share where cuts are so close that growing chains decides between them."""
_FEW_VALUES = 64
"""Values up to which a column moves in tables of more columns than all of which may."""
_NEAR = 0.1
"""A gain measured within this share of the bits, with as many codebooks, serves for them too."""


class Bench:
    """Rows to fit on, rows kept aside, and a store of what has been measured on them."""

    def __init__(self, Z: NDArray[np.float32], seed: int, weight: Floats | None = None) -> None:
        order = np.random.default_rng(seed).permutation(len(Z))[: MEASURING_ROWS * 2]
        enough = min(ENOUGH_JUDGED, len(order) // 5)
        n_valid = max(1, enough, int(VALIDATION_SHARE * len(order)))
        few = too_few(len(order) - n_valid, quantize.MAX_CODEBOOK_BITS)
        self.rows_are_few = few
        self.folds = [
            Fold(Z, weight, fit[:MEASURING_ROWS], valid)
            for fit, valid in folds(order, n_valid, MOST_FOLDS if few else 1)
        ]
        self.n_rows = len(self.folds[0].train)
        self.n_judged = sum(len(fold.valid) for fold in self.folds)
        # Of many cuts one looks good by chance where fewer rows are kept aside.
        self.may_judge_many_cuts = self.n_judged >= ENOUGH_JUDGED
        self.seed = seed
        self._nodes: dict[tuple[int, ...], Node] = {}
        self.new_values = NewValues(self.folds[0].every)
        self.all_directions = False
        # Of more codewords than rows some would be used by none.
        self.max_bits = max(1, quantize.most_bits(self.n_rows))
        self.rows_are_sparse = self.n_rows < CLOSE_KNIT * 2**self.max_bits
        self.draws, self.grows = 0.0, False
        self.gains = UsualGains()

    def settle_directions(self, budget: int) -> None:
        """Choose whether all directions of many columns are coded, by greedy chains for all.

        Only where those that are left out make up most of the error may that be better: one-hot
        columns carry as much in the last directions as in the first, and rows repeat what came
        before.
        """
        n_columns, bits = self.folds[0].train.shape[1], min(budget, _DIRECTIONS_JUDGED_AT)
        if self.width(n_columns) == n_columns:
            return
        (every,) = self.nodes([np.arange(n_columns)])
        error = every.greedy_error(bits)
        if every.left_out < _MOSTLY * error:
            return
        self.all_directions = True
        whole = Node(self, every.columns)
        if whole.greedy_error(bits) < _DIRECTIONS_MUST_GAIN * error:
            self._nodes = {tuple(range(n_columns)): whole}
        else:
            self.all_directions = False

    def width(self, n_columns: int) -> int:
        """Principal directions of so many columns that codebooks may code."""
        if n_columns <= MOST_DIRECTIONS or self.all_directions:
            return n_columns
        return min(MOST_DIRECTIONS, max(LEAST_DIRECTIONS, self.n_rows // ROWS_PER_DIRECTION))

    def settle_for_few_rows(self, budget: int) -> None:
        """Choose the largest codebook that pays off, by a chain of the budget for all columns.

        And whether chains are fitted on draws between neighbours beside the rows, as they may be
        once the plan is made: of few rows long chains look worse without them than they will be.
        """
        bits = min(budget, self.max_bits)
        if not too_few(self.n_rows, bits):
            return
        (every,) = self.nodes([np.arange(self.folds[0].train.shape[1])])
        race = Race()
        error = cache(lambda most: every.raced(budget, most, race))
        drawn = cache(lambda most: every.raced(budget, most, race, TOWARDS_NEIGHBOURS))

        def smoothed(most: int) -> float:
            return min(error(most), drawn(most))

        short = budget <= _SMOOTHED * bits
        self.max_bits = largest_codebook(error, self.n_rows, bits, smoothed if short else None)
        if every.gains_by_draws(budget, self.max_bits):
            self.draws = TOWARDS_NEIGHBOURS

    def settle_close_calls(self, budget: int, may_grow: bool) -> bool:
        """Choose whether sparse rows have draws beside them, and chains grow: long ones gain.

        Gains known so far are forgotten then.
        """
        if self.rows_are_few or not self.rows_are_sparse:
            return False
        (every,) = self.nodes([np.arange(self.folds[0].train.shape[1])])
        if budget <= every.max_bits:
            return False
        if may_grow:
            gains, self.grows = every.gains_by_growing(budget, every.max_bits)
        else:
            gains = every.gains_by_draws(budget, every.max_bits)
        if not gains:
            return False
        self.draws, self.gains = TOWARDS_NEIGHBOURS, UsualGains()
        for node in self._nodes.values():
            node.forget_gains()
        return True

    def few_valued_columns(self) -> list[int]:
        """Columns that take few values: which share a codebook decides how many it has to tell."""
        train = self.folds[0].train.numpy()
        columns = range(train.shape[1])
        return [c for c in columns if 1 < n_distinct(train[:, [c]]) <= _FEW_VALUES]

    def tells_apart(self, sets: Iterable[Ints], budget: int) -> bool:
        """Whether bits to tell apart all that each set of columns holds keep to the budget."""
        left = budget
        for columns in sets:
            bits = (n_distinct(self.folds[0].every(columns.tolist())[0]) - 1).bit_length()
            if bits > left:
                return False
            left -= bits
        return True

    def nodes(self, sets: Iterable[Ints]) -> list[Node]:
        """Measure sets of columns, each once."""
        keys = [tuple(sorted(int(c) for c in columns)) for columns in sets]
        new = [key for key in dict.fromkeys(keys) if key not in self._nodes]
        measured = each(lambda key: Node(self, torch.as_tensor(key)), new, split=True)
        self._nodes.update(zip(new, measured, strict=True))
        return [self._nodes[key] for key in keys]


class _Asked(NamedTuple):
    """A chain to be measured: bits, those of a codebook at most, and how it is fitted."""

    bits: int
    max_bits: int
    spread: bool
    draws: float
    grown: bool = False


class Node:
    """One set of columns: its greedy curve, and what search and refit gain over it."""

    def __init__(self, bench: Bench, columns: Tensor) -> None:
        # The bench holds its nodes: a cycle would keep all rows until garbage is collected.
        self.bench, self.columns = weakref.proxy(bench), columns
        spec = CategorySpec("refitted", columns, [[1]], [bench.width(len(columns))])
        self._spec, self._axes = spec, cache(lambda f: axes_of(f.train, spec, f.weight))
        self._stages: dict[Fold, Stages] = {fold: {} for fold in bench.folds}
        # Rows like none before count by what they cost on average, whichever are kept aside. Of
        # many different rows these tell; but what is new to a column counts as much at least.
        every = bench.folds[0].every(columns)
        novel = novel_error(*every)
        self._novelty, self._least = novel or 0.0, 0.0
        if novel is None:
            surprise = surprise_error(*every, bench.n_judged)
            self._least = max(surprise, bench.new_values.error(columns.tolist()))
        self._valid_weight = {
            fold: fold.valid_weight if novel is None else fold.weight_of_known(columns)
            for fold in bench.folds
        }
        self.greedy = AveragedCurve(each(self._greedy, bench.folds, split=True))
        first = bench.folds[0]
        rows, mass = first.train[:, columns].numpy(), first.weight.double().numpy()
        self.spectrum = spectrum(rows, mass)
        self.few_values = novel is not None
        self._gains: dict[int, float] = {}
        self._known_errors: dict[_Asked, list[Tensor]] = {}
        self._spread: bool | None = None
        self._memorizes = False
        self._largest: int | None = None

    def greedy_error(self, bits: int) -> float:
        """Error per row kept aside of the greedy chain, measured as far as it takes."""
        self.greedy.measure_to(bits)
        return float(self.greedy.up_to(bits)[-1])

    @property
    def left_out(self) -> float:
        """Error of the directions that are not coded, whatever the bits."""
        return float(self.spectrum[self.bench.width(len(self.columns)) :].sum())

    @property
    def max_bits(self) -> int:
        """Bits of the largest codebook; one that tells every row apart may be a full one."""
        full = quantize.MAX_CODEBOOK_BITS
        curve = self.greedy.up_to(full)
        if curve[-1] <= EXACT * curve[0]:
            return full
        return self.bench.max_bits if self._largest is None else self._largest

    @property
    def has_smaller(self) -> bool:
        """Whether smaller codebooks than rows are enough for were chosen."""
        return self._largest is not None and self._largest < self.bench.max_bits

    def _greedy(self, fold: Fold) -> GreedyCurve:
        return GreedyCurve(
            fold.train[:CURVE_ROWS, self.columns],
            fold.valid[:, self.columns],
            self._spec.latent_width,
            _MOST_BITS_PER_COLUMN * len(self.columns),
            seed_of(self.bench.seed, "curve"),
            (fold.weight[:CURVE_ROWS], self._valid_weight[fold]),
            self._axes(fold) if len(fold.train) <= CURVE_ROWS else None,
        )

    def may_gain(self, bits: int) -> bool:
        """Whether search and refit may gain at `bits` what is not known, there or nearby."""
        greedy = self.greedy.up_to(bits)
        # A single codebook has nothing to gain.
        inexact = bool(greedy[-1] > EXACT * greedy[0])
        return bits > self.max_bits and inexact and not self._known(bits)

    def gain(self, bits: int) -> float:
        """Error with search and refit over that of the greedy chain."""
        self._settle_largest(bits)
        return min(1.0, self.refitted(bits, self.max_bits) / self.greedy.up_to(bits)[-1])

    def _settle_largest(self, bits: int) -> None:
        """Choose the largest codebook where rows are enough for a full one, but it memorizes.

        By chains without idle codewords: in the end they go, and unseen rows would use them.
        """
        most = self.max_bits
        if self._largest is not None or self.bench.rows_are_few or bits <= most:
            return
        self._largest, first = most, self.bench.folds[0]
        mean, basis = self._axes(first)
        latents = (first.train[:CURVE_ROWS, self.columns] - mean) @ basis
        seed = seed_of(self.bench.seed, "largest")
        self._memorizes = memorized(latents, first.weight[:CURVE_ROWS], most, seed)
        if not self._memorizes:
            return

        def errors(bits_of_book: int, draws: float = 0.0) -> Tensor:
            return torch.cat(self._errors(_Asked(bits, bits_of_book, False, draws)))

        def error(largest: int) -> float:
            found = errors(largest)
            if largest < most and not clearly_better(errors(largest + 1), found):
                return math.inf  # a few rows with heavy tails may make any size the best one
            return float(found.sum())

        def smoothed(largest: int) -> float:
            return float(min(errors(largest, d).sum() for d in (0.0, TOWARDS_NEIGHBOURS)))

        self._largest = largest_codebook(
            error, self.bench.n_rows, most, smoothed, of_many_rows=True
        )

    def note_gain(self, bits: int, gain: float) -> None:
        """Remember a gain."""
        self._gains[bits] = gain
        self.bench.gains.note(gain, bits / self.max_bits)

    def forget_gains(self) -> None:
        """Let gains be measured anew."""
        self._gains = {}

    def ratios(self, bits: Sequence[int], curve: Floats) -> list[float]:
        """Share of principal directions worth coding up to each level.

        Directions are worth coding until those beyond carry less than 2 % of the error that is left
        at these bits, by the curve or by a Gaussian code, whichever leaves less: what is not coded
        is lost, what is costs only time. Rows near a manifold are coded with a small part of the
        error of Gaussian ones.
        """
        values, most = self.spectrum, self.bench.width(len(self.columns))
        ends = np.cumsum(bits)
        measured = curve[np.minimum(ends, len(curve) - 1)]
        errors = np.minimum(gaussian_curve(values, int(sum(bits)))[ends], measured)
        beyond = values.sum() - np.cumsum(values)
        counts = [int(np.searchsorted(-beyond, -_BEYOND * error)) + 1 for error in errors]
        return [min(count, len(values), most) / len(values) for count in counts]

    def _known(self, bits: int) -> bool:
        most = self.max_bits
        books = len(quantize.split_bits(bits, most))
        same = [b for b in self._gains if len(quantize.split_bits(b, most)) == books]
        return any(abs(b - bits) <= _NEAR * bits for b in same)

    def curve(self, budget: int, ahead: bool = False) -> Floats:
        """Return the curve up to the budget, corrected by the gains measured so far.

        It ends where each of few distinct rows has a codeword of its own: more bits buy nothing.
        With `ahead` it is what it will be once all that has been worked ahead on is asked for.
        """
        greedy = self.greedy.up_to(budget, ahead)
        exact = np.flatnonzero(greedy <= EXACT * greedy[0])
        if self.few_values and len(exact):
            greedy = greedy[: int(exact[0]) + 1]
        known = np.minimum.accumulate(greedy * np.exp(self._log_gains(len(greedy))))
        return np.maximum(known + self._novelty, self._least)

    def _log_gains(self, n_bits: int) -> Floats:
        if not self._gains:
            return self.bench.gains.usual(np.arange(n_bits) / self.max_bits)
        # A single codebook gains nothing; from there on the gain grows geometrically.
        places = [self.max_bits, *sorted(self._gains)]
        logs = np.log([1.0] + [max(self._gains[b], 1e-12) for b in places[1:]])
        bits = np.arange(n_bits)
        gains = np.interp(bits, places, logs)
        reach = (bits - places[0]) / (places[-1] - places[0])
        return np.where(bits > places[-1], logs[-1] * np.minimum(reach, _MOST_CARRIED), gains)

    def refitted(self, bits: int, max_bits: int) -> float:
        """Error per row kept aside of a chain with codebooks of at most `max_bits` bits."""
        asked = _Asked(bits, max_bits, self._spreads(bits, max_bits), self.bench.draws)
        starts = (False, True) if self.bench.grows else (False,)
        return min(self._per_row(self._errors(asked._replace(grown=grown))) for grown in starts)

    def raced(self, bits: int, max_bits: int, race: Race, draws: float = 0.0) -> float:
        """Summed error of such a chain without spreads, by what a race knows if it is given up."""
        asked = _Asked(bits, max_bits, False, draws)
        return race.entered(self._rivalling(asked, race.lost))

    def gains_by_draws(self, bits: int, max_bits: int) -> bool:
        """Whether draws between neighbours lower the error of such a chain clearly."""
        asked = _Asked(bits, max_bits, self._spreads(bits, max_bits), 0.0)
        plain = self._errors(asked)
        drawn = self._rivalling(
            asked._replace(draws=TOWARDS_NEIGHBOURS),
            lambda errors: behind(errors, plain, DRAWS_MUST_GAIN),
        )
        if len(drawn) < len(plain):
            return False
        return self._per_row(drawn) < DRAWS_MUST_GAIN * self._per_row(plain)

    def gains_by_growing(self, bits: int, max_bits: int) -> tuple[bool, bool]:
        """Whether draws lower the error of such a chain, grown or not, and if so whether grown."""
        asked = _Asked(bits, max_bits, self._spreads(bits, max_bits), 0.0)
        drawn = asked._replace(draws=TOWARDS_NEIGHBOURS)
        rivals = asked, drawn, drawn._replace(grown=True)
        plain, *found = each(lambda one: self._per_row(self._errors(one)), rivals, split=True)
        gains = min(found) < START_MUST_GAIN * plain
        return gains, gains and found[1] < found[0]

    def _spreads(self, bits: int, max_bits: int) -> bool:
        """Whether codewords have spreads: where the first of several codebooks gained by them."""
        books = quantize.split_bits(bits, max_bits)
        if len(books) < 2:
            return False
        if self._spread is None:
            # The first codebooks of a long chain tell as well, and take less time.
            first = bits if len(books) <= _SHORT else sum(books[:_FIRST])
            self._spread = self._gains_by_spreads(_Asked(first, max_bits, False, self.bench.draws))
        return self._spread

    def _gains_by_spreads(self, asked: _Asked) -> bool:
        rival = asked._replace(spread=True)
        if len(self.bench.folds) == 1:  # nothing to be given up half way: both at a time
            plain, spread = each(self._errors, (asked, rival), split=True)
        else:
            plain = self._errors(asked)
            spread = self._rivalling(rival, lambda errors: behind(errors, plain, SPREAD_MUST_GAIN))
        every = len(spread) == len(plain)
        return every and clearly_better(torch.cat(plain), torch.cat(spread))

    def _per_row(self, errors: Sequence[Tensor]) -> float:
        mass = sum(float(weight.sum()) for weight in self._valid_weight.values())
        return sum(float(part.sum()) for part in errors) / mass

    def _errors(self, asked: _Asked) -> list[Tensor]:
        """Errors of the rows kept aside of every fold."""
        return self._rivalling(asked, lambda _: False)

    def _rivalling(self, asked: _Asked, lost: Callable[[list[Tensor]], bool]) -> list[Tensor]:
        """`_errors`, of the first folds only where these say that others are better."""
        sizes = [[2**b for b in quantize.split_bits(asked.bits, asked.max_bits)]]
        spec = replace(self._spec, sizes=sizes, spread=asked.spread, grown=asked.grown)
        options = StartOptions(self.bench.seed, n_iter=5, n_refits=2, prunes=self._memorizes)

        def errors(fold: Fold) -> Tensor:
            earlier = Earlier(self._axes(fold), self._stages[fold])
            part = fit_category(fold.train, spec, fold.weight, options, asked.draws, earlier)
            return row_errors(part, fold.valid, 16, self._valid_weight[fold])

        known = self._known_errors.setdefault(asked, [])
        left = self.bench.folds[len(known) :]
        known += until(lambda more: lost([*known, *more]), errors, left)
        return known
