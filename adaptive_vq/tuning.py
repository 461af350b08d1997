"""Tuning of the worst categories: bits move to them where rows kept aside show that it helps."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _num_samples

from adaptive_vq._fit_rows import rows_to_learn_from
from adaptive_vq._scorers import chain_of, codec_of, is_search
from adaptive_vq._wording import counted
from adaptive_vq.plan import Plan

if TYPE_CHECKING:
    from adaptive_vq._tuning_bench import Bench, State

__all__ = ["Tuning", "tune_categories"]

_NUMBER = (int, float, np.integer, np.floating)

CRITERIA = ("absolute", "relative", "stagnating")
STAGNANT = 0.01
"""A category stagnates where training has lowered its error by less than this share."""


class Tuning(NamedTuple):
    """Result of :func:`adaptive_vq.tune_categories`.

    Parameters
    ----------
    estimator : HierarchicalVQVAE or Pipeline
        Fitted, with the bits as they ended.
    report : pandas.DataFrame
        One row per try.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, tune_categories
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> tuning = tune_categories(HierarchicalVQVAE(bits=8, max_epochs=0), X, max_rounds=0)
    >>> codec, report = tuning
    >>> codec is tuning.estimator, len(report)
    (True, 1)
    """

    estimator: Any
    report: pd.DataFrame


def tune_categories(
    estimator: Any,
    X: ArrayLike,
    *,
    criteria: Sequence[str] = CRITERIA,
    objective: str = "total",
    steps: Sequence[int] = (1, 2, 4),
    max_rounds: int = 3,
    max_epochs: int = 2,
    min_gain: float = 0.002,
    validation_fraction: float = 0.2,
    refit: bool = True,
    random_state: int = 0,
) -> Tuning:
    """Fit a codec, then move bits to its worst categories wherever that helps.

    Every round takes the worst categories and tries to give each of them a few bits of the category
    that needs them least. A try goes on from the codec as it stands: codebooks of the two
    categories are fitted anew, then everything is trained for a few epochs. Rows kept aside, which
    no fit has seen, judge it; the best try of a round is kept if it gains enough. The number of
    bits per row never grows.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        What to tune; it is cloned and not changed.
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        Training rows.
    criteria : sequence of {"absolute", "relative", "stagnating"}, default=all three
        Which category counts as worst: the one with the largest summed error, with the largest
        NMSE, or, of those whose ``valid_error_per_category`` in `history_` training has lowered by
        less than 1 %, the one with the largest summed error.
    objective : {"total", "worst"}, default="total"
        What a try has to lower: the NMSE of the table, or that of the worst category.
    steps : sequence of int, default=(1, 2, 4)
        Numbers of bits to try.
    max_rounds : int, default=3
        Most rounds, and so most moves that are kept.
    max_epochs : int, default=2
        Epochs of a try; 0 judges the new codebooks untrained.
    min_gain : float, default=0.002
        Share of the objective by which it has to fall.
    validation_fraction : float, default=0.2
        Share of the rows kept aside as judges.
    refit : bool, default=True
        Whether the codec is fitted once more with the final bits, from the start, on all rows of
        `X` and with its own number of epochs. Else it is the best try.
    random_state : int, default=0
        Chooses the rows kept aside.

    Returns
    -------
    Tuning
        ``estimator`` and ``report``. The report has one row per try: ``round``, ``criterion``,
        ``category``, ``giver``, bits of both before and after, NMSE of the category and of the
        table before and after, ``kept`` and ``why``. Round 0 is the control: the same training with
        no bit moved, from which all tries go on if it helps.

    Raises
    ------
    TypeError
        If the estimator does not end in a `HierarchicalVQVAE`.
    ValueError
        If a parameter is out of range, `codebook_sizes` leave no bit to move, or the table can not
        be fitted.

    See Also
    --------
    AdaptiveRatioSelector : ``strategy="learned"`` moves bits by the same judge within a fit,
        before the network is trained.

    Notes
    -----
    Errors of tries that were kept flatter a little, since these rows chose them: judge the result
    on others. Caps, scaling, cleaning, categories and earlier steps of a pipeline stay as learned
    from the rows not kept aside. Codewords that no row uses are removed, so bits per row may
    shrink.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE
    >>> from adaptive_vq import tune_categories
    >>> rng = np.random.default_rng(0)
    >>> line = np.repeat(rng.normal(size=(300, 1)), 4, axis=1) + 0.01 * rng.normal(size=(300, 4))
    >>> X = np.hstack([line, rng.normal(size=(300, 4))])
    >>> given = FeatureCharacterizer({"line": slice(0, 4), "cloud": slice(4, 8)})
    >>> plan = AdaptiveRatioSelector("uniform", bits=16, characterizer=given)
    >>> codec = HierarchicalVQVAE(plan, max_epochs=0, random_state=0)
    >>> best, report = tune_categories(codec, X, max_epochs=0)
    >>> sum(best.bits_["cloud"]) > sum(best.bits_["line"]), best.n_bits_ <= 16
    (True, True)
    >>> kept = report[report["kept"]]
    >>> set(kept["category"]), set(kept["giver"])
    ({'cloud'}, {'line'})
    """
    from adaptive_vq._device import ordinary_torch
    from adaptive_vq._parallel import one_thread_each
    from adaptive_vq._tuning_bench import Bench, settle

    _check(criteria, objective, steps, max_rounds, max_epochs, min_gain, validation_fraction)
    if not isinstance(refit, bool | np.bool_):  # any text, such as "no", would be true
        raise ValueError(f"refit={refit!r} must be True or False.")
    fitted = clone(estimator)
    codec = chain_of(fitted)[-1]
    if not hasattr(codec, "_evaluate"):
        raise TypeError(
            "tune_categories needs a HierarchicalVQVAE, or a Pipeline ending in one; got "
            f"{type(estimator).__name__}."
            + (" Of a fitted search give best_estimator_." if is_search(codec) else "")
        )
    if not isinstance(codec.codebook_sizes, str):
        raise ValueError(
            f"codebook_sizes={codec.codebook_sizes!r} fixes the bits that tune_categories is to "
            'move: leave it at "auto".'
        )
    codec.checkpoint = None  # of a clone; a subclass need not take the parameter
    rows, aside = train_test_split(X, test_size=validation_fraction, random_state=random_state)
    if _num_samples(rows) < 2:
        raise ValueError(
            f"validation_fraction={validation_fraction!r} keeps {_num_samples(aside)} of "
            f"{_num_samples(X)} rows aside; at least 2 have to be left to fit on."
        )
    fitted.fit(rows)
    codec, rows = codec_of(fitted, rows)
    with ordinary_torch(), one_thread_each():
        rows = _learned(codec, rows)
        bench = Bench(codec, rows, codec_of(fitted, aside)[1], max_epochs)
        tuner = _Tuner(bench, tuple(criteria), objective, tuple(sorted(set(steps))), min_gain)
        report, state = tuner.run(max_rounds)
        everything = _learned(codec, codec_of(fitted, X)[1]) if refit else rows
        settle(codec, _final_plan(codec, state), state, everything, refit)
    return Tuning(fitted, pd.DataFrame(report))


def _check(
    criteria: Any,
    objective: Any,
    steps: Any,
    max_rounds: Any,
    max_epochs: Any,
    min_gain: Any,
    validation_fraction: Any,
) -> None:
    listed = isinstance(criteria, Collection) and not isinstance(criteria, str)
    if not listed or not criteria or not all(name in CRITERIA for name in criteria):
        raise ValueError(f"criteria={criteria!r}: give a list of some of {list(CRITERIA)}.")
    if objective not in ("total", "worst"):
        raise ValueError(f"objective={objective!r} must be 'total' or 'worst'.")
    many = list(steps) if isinstance(steps, Iterable) else []
    if not many or not all(isinstance(step, (int, np.integer)) and step >= 1 for step in many):
        raise ValueError(f"steps={steps!r}: give whole numbers of bits, at least 1.")
    for name, value in (("max_rounds", max_rounds), ("max_epochs", max_epochs)):
        if not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError(f"{name}={value!r} must be a whole number, not negative.")
    if not isinstance(min_gain, _NUMBER) or not 0 <= min_gain < 1:
        raise ValueError(f"min_gain={min_gain!r} must be at least 0 and below 1.")
    if not isinstance(validation_fraction, _NUMBER) or not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction={validation_fraction!r} must be between 0 and 1.")


@dataclass(frozen=True)
class _Tuner:
    """The rounds of tries and what they are judged by."""

    bench: Bench
    criteria: tuple[str, ...]
    objective: str
    steps: tuple[int, ...]
    min_gain: float

    def run(self, max_rounds: int) -> tuple[list[dict[str, Any]], State]:
        """All tries, and the codec that is best in the end."""
        state = self.bench.start()
        control = self.bench.attempt(state, {})
        assert control is not None
        better = self.value(control) < self.value(state)
        report = [self._row(0, "control", None, state, control)]
        report[0] |= {"kept": better, "why": self._why(state, control, 0.0)}
        state = control if better else state
        for number in range(1, max_rounds + 1):
            tries = list(self._round(number, state))
            report += [row for row, _ in tries]
            made = [(row, after) for row, after in tries if after is not None]
            good = [(r, a) for r, a in made if self._gain(state, a) > self.min_gain]
            if not good:
                break
            best, after = min(good, key=lambda pair: self.value(pair[1]))
            for row, _ in good:
                row["why"] += "" if row is best else "; another try of this round was better"
            best["kept"], state = True, after
        return report, state

    def value(self, state: State) -> float:
        """Figure that tries have to lower."""
        if self.objective == "total":
            return state.total
        return float(np.nanmax(list(state.nmse.values())))

    def _round(self, number: int, state: State) -> Iterator[tuple[dict[str, Any], State | None]]:
        for taker, criterion in worst_categories(self.criteria, state).items():
            for n_bits in self.steps:
                move = self.bench.proposal(state, taker, n_bits)
                after = None if move is None else self.bench.attempt(state, move)
                row = self._row(number, criterion, (taker, move, n_bits), state, after)
                if move is None:
                    row["why"] = f"no other category has {counted(n_bits, 'bit')} to give"
                elif after is None:
                    row["why"] = "the budget has no room for it"
                else:
                    row["why"] = self._why(state, after, self.min_gain)
                yield row, after

    def _gain(self, before: State, after: State) -> float:
        start = self.value(before)
        return (start - self.value(after)) / start if start > 0 else 0.0

    def _why(self, before: State, after: State, least: float) -> str:
        gain, figure = self._gain(before, after), f"{self.objective} NMSE"
        if gain <= 0:
            return f"{figure} rises by {-gain:.2%}" if gain else f"{figure} stays as it is"
        too_little = f", less than min_gain={least:g}" if gain <= least else ""
        return f"{figure} falls by {gain:.2%}{too_little}"

    def _row(
        self, number: int, criterion: str, who: Any, before: State, after: State | None
    ) -> dict[str, Any]:
        taker, move, n_bits = who or ("", None, 0)
        giver = "" if move is None else next((name for name in move if name != taker), "")
        bits = before.bits

        def change(name: str) -> tuple[float, float]:
            start = float(bits.get(name, math.nan))
            return start, float((move or {}).get(name, start))

        return {
            "round": number,
            "criterion": criterion,
            "category": taker,
            "giver": giver,
            "step": n_bits,
            "bits_before": change(taker)[0],
            "bits_after": change(taker)[1],
            "giver_bits_before": change(giver)[0],
            "giver_bits_after": change(giver)[1],
            "nmse_before": before.nmse.get(taker, math.nan),
            "nmse_after": math.nan if after is None else after.nmse.get(taker, math.nan),
            "total_before": before.total,
            "total_after": math.nan if after is None else after.total,
            "kept": False,
            "why": "",
        }


def worst_categories(criteria: Sequence[str], state: State) -> dict[str, str]:
    """Worst category by each criterion, under the criteria that name it.

    Parameters
    ----------
    criteria : sequence of str
    state : State
        A codec with its errors on the rows kept aside.

    Returns
    -------
    dict of str to str
        Category to criteria, joined by ``" + "``. A criterion may find none.
    """
    found: dict[str, list[str]] = {}
    figures: dict[str, Mapping[str, float]] = {
        "absolute": state.summed,
        "relative": state.nmse,
        "stagnating": {name: state.summed[name] for name in _stagnating(state.history)},
    }
    for criterion in criteria:
        known = {n: e for n, e in figures[criterion].items() if not math.isnan(e) and e > 0}
        if known:
            name = min(known, key=lambda n: (-known[n], n))
            found.setdefault(name, []).append(criterion)
    return {name: " + ".join(of) for name, of in found.items()}


def _stagnating(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Categories whose error the epochs have hardly lowered."""
    records = [r["valid_error_per_category"] for r in history if "valid_error_per_category" in r]
    if len(records) < 2:
        return []
    first, last = records[0], records[-1]
    return [name for name in first if last[name] > (1 - STAGNANT) * first[name]]


def _learned(codec: Any, rows: Any) -> Any:
    """Rows that a fit of the codec learns from, of more than `fit_rows` those that it draws."""
    return rows_to_learn_from(codec, rows, None, codec.fit_rows)[0]


def _final_plan(codec: Any, state: State) -> Plan:
    """Plan of the codec with the bits as they ended."""
    from adaptive_vq._tuning_bench import plan_of

    decided = codec.decisions_.reset_index()
    moved = [c for c in decided if str(c).startswith(("ratio_L", "bits"))]
    decisions = decided.drop(columns=moved).to_dict("records")
    bits: dict[str, list[int]] = {name: state.level_bits(name) for name in codec.bits_}
    for entry in decisions:
        change = sum(bits[entry["category"]]) - sum(codec.bits_[entry["category"]])
        if change:
            verb = "added" if change > 0 else "taken away"
            entry["reason"] += f" Tuning of categories has {verb} {counted(abs(change), 'bit')}."
            entry["predicted_nmse"] = math.nan  # it is of the bits before
    curves = getattr(codec, "curves_", None)
    return replace(plan_of(codec), bits=bits, decisions=decisions, curves=curves)
