"""Rules on errors: where they are, what the budget buys, what was predicted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adaptive_vq._advice import (
    ABOVE_PREDICTED,
    ABOVE_TRAINING,
    BEYOND_CAPS,
    DOMINANT_COLUMN,
    HALVED,
    LEVEL_GAIN,
    NO_PARAMETER,
    NOTABLE_NMSE,
    OTHER_ROWS,
    WASTED,
    WORST_OVER_MEDIAN,
    Found,
    Recommendation,
    capped_above,
    on_first,
    percent,
)
from adaptive_vq._knee import LESS, MORE, in_use
from adaptive_vq._wording import counted, listed
from adaptive_vq.allocation import allocate_minimax

if TYPE_CHECKING:
    import pandas as pd

    from adaptive_vq.diagnosis import Diagnosis


_EXACT = 1e-9
"""NMSE below which a category is coded exactly, but for rounding."""

_NOTABLY = 0.95
"""NMSE predicted for another division of the bits over that for the present one."""

_MORE_BITS = (
    "Give it more bits: larger codebook_sizes where these are given, which overrule the plan; else "
    "strategy='minimax', a larger ratio for it in compression_ratios, or more bits in total."
)
_MORE_IN_TOTAL = (
    "No other division of these bits is predicted to even out the errors: give more bits in total."
)

# scaler='quantile' is no remedy: extremes are capped as before, and only count less.
_EXTREMES = (
    "If these extremes matter, widen clip (None caps nothing), and caps of a FeatureCleaner that "
    "the codec has as cleaner; if not, read the capped figures, or set scaler='quantile', which "
    "leaves them capped and counts them by rank."
)
# Nor is clip where a column lies elsewhere: no codeword was fitted to what training has not shown.
_LEFT = f"which no clip or scaler brings back. {OTHER_ROWS}"
# Nor is any other parameter for what training has shown no second value of.
_STILL = (
    "did not vary in training, so that no code tells its values apart, whatever clip, scaler and "
    f"bits are. {OTHER_ROWS}"
)


# ------------------------------------------------------------------------ where the error is
def worst_category(d: Diagnosis) -> Found:
    """Categories far worse than the median one, or of two one that is far worse than the other."""
    # Capped: bits are no remedy for cells that the codec never gets to see.
    errors = d.categories["nmse_capped"].dropna()
    if len(errors) < 2:
        return
    usual, of_which = _usual(errors), "other" if len(errors) == 2 else "median"
    limit = max(WORST_OVER_MEDIAN * usual, NOTABLE_NMSE)
    for name, error in errors[errors > limit].sort_values(ascending=False).items():
        ratio = error / usual if usual > 0 else math.inf
        far = f"{ratio:.3g} times the {of_which} category (limit {WORST_OVER_MEDIAN:g})"
        if usual < _EXACT:
            far = f"while the {of_which} category is coded exactly"
        yield Recommendation(
            "worst_category",
            str(name),
            float(ratio),
            WORST_OVER_MEDIAN,
            *_for_worst(
                d,
                str(name),
                f"Category {name!r} has capped NMSE {error:.3g} at "
                f"{_bits(d.categories['bits'][str(name)])}, {far}. ",
            ),
        )


def _usual(errors: pd.Series) -> float:
    # The median of two is their mean, which the worse one never exceeds by far.
    return float(errors.min() if len(errors) == 2 else errors.median())


def _for_worst(d: Diagnosis, name: str, found: str) -> tuple[str, str]:
    """Parameter and message for a category that is far worse than others."""
    if _worst_only_here(d, name):
        trained = d.categories["training_nmse"][name]
        return "more training rows, or the rows", found + (
            f"In training, where it has {trained:.3g}, it does not stand out: these rows differ "
            "from the training rows, or those are few for so many codewords. Check units and "
            "source of these rows, or fit on more; more bits would code training rows better."
        )
    return "strategy='minimax', codebook_sizes, or bits", found + (
        _MORE_BITS if _evens_out(d, name) else _MORE_IN_TOTAL
    )


def _worst_only_here(d: Diagnosis, name: str) -> bool:
    """Whether the training rows of a category are coded far better, and not far worse than others'.

    NaN, where training is not known, says no.
    """
    trained = d.categories["training_nmse"].dropna()
    if name not in trained:
        return False
    here = d.categories["nmse_capped"][name]
    far = trained[name] > max(WORST_OVER_MEDIAN * _usual(trained), NOTABLE_NMSE)
    return bool(here > ABOVE_TRAINING * trained[name] and not far)


def _evens_out(d: Diagnosis, name: str) -> bool:
    """Whether strategy="minimax" would take error off a category; True where nobody knows."""
    if d.frontier is None or d.curves is None:
        return True
    names, spent = sorted(d.curves), d.categories["bits"]
    shares = allocate_minimax([d.curves[n] for n in names], int(d.summary["budget"]), keys=names)
    curve = d.curves[name]
    now = curve[min(round(spent[name]), len(curve) - 1)]
    return bool(curve[shares[names.index(name)]] < _NOTABLY * now)


def _bits(number: float) -> str:
    return f"{number:.3g} bit" if number == 1 else f"{number:.3g} bits"


def dominant_column(d: Diagnosis) -> Found:
    """Columns with most of their category's error."""
    of_category = d.categories[["n_columns", "nmse"]].rename(columns={"nmse": "nmse_category"})
    columns = d.columns.join(of_category, on="category").assign(still=_still(d), left=_left(d))
    stands_out = (
        (columns["share_of_category"] > DOMINANT_COLUMN)
        & (columns["n_columns"] >= 3)
        & (columns["nmse_category"] * columns["n_columns"] > NOTABLE_NMSE)
    )
    for name, row in columns[stands_out].iterrows():
        parameter, remedy = "categories", _remedy(row["share_beyond_caps"])
        if row["still"]:
            parameter, remedy = NO_PARAMETER, f"It {_STILL}"
        elif row["left"] and row["share_beyond_caps"] > BEYOND_CAPS:
            parameter, remedy = NO_PARAMETER, _have_left(d, [str(name)], "It")
        yield Recommendation(
            "dominant_column",
            str(name),
            float(row["share_of_category"]),
            DOMINANT_COLUMN,
            parameter,
            f"Column {name!r} carries {percent(row['share_of_category'])} of the error of category "
            f"{row['category']!r} (limit {percent(DOMINANT_COLUMN)}; {row['n_columns']} columns); "
            f"its own NMSE is {row['nmse']:.3g}. " + remedy,
        )


def _still(d: Diagnosis) -> pd.Series:
    """Which columns were constant in training and have cells here."""
    return d.columns["mean_shift"].isna() & d.columns["nmse"].notna()


def _left(d: Diagnosis) -> pd.Series:
    """Which columns have far more cells beyond the caps than training: these are no extremes."""
    above, limits = capped_above(d, fewest=1)  # the limits leave room for chance
    return (above > limits) & ~_still(d)


def _have_left(d: Diagnosis, names: list[str], subject: str) -> str:
    most = d.columns.loc[names].sort_values("capped", ascending=False).iloc[0]
    up_to, have = ("", "has") if len(names) == 1 else ("up to ", "have")
    return (
        f"{subject} {have} left the caps: {up_to}{percent(most['capped'])} of the cells are beyond "
        f"them, in training {percent(most['training_capped'])}, {_LEFT}"
    )


def _remedy(beyond: float) -> str:
    if beyond > BEYOND_CAPS:
        return f"{percent(beyond)} of that is in cells beyond the caps. {_EXTREMES}"
    return (
        "Look at it: noise is better dropped, and another kind of column is better in a category "
        "of its own (categories=...)."
    )


def beyond_caps(d: Diagnosis) -> Found:
    """Most of the error in cells that training would have capped."""
    nmse, capped = d.summary["nmse"], d.summary["nmse_capped"]
    share = float((d.categories["share"] * d.categories["share_beyond_caps"]).sum())
    if not (share > BEYOND_CAPS and nmse > NOTABLE_NMSE):
        return
    parts = d.columns["share"] * d.columns["share_beyond_caps"]
    parts = parts[parts > 0].sort_values(ascending=False)
    heavy = parts[parts.cumsum().shift(fill_value=0.0) < parts.sum() / 2]
    still, left = heavy.index[_still(d)[heavy.index]], heavy.index[_left(d)[heavy.index]]
    extremes = len(still) + len(left) < len(heavy)
    remedies = [_EXTREMES] if extremes else []
    if len(left):
        remedies.append(_have_left(d, list(left), listed(left, 3)))
    if len(still):
        remedies.append(f"{listed(still, 3)} {_STILL}")
    yield Recommendation(
        "beyond_caps",
        "all",
        share,
        BEYOND_CAPS,
        "clip, scaler" if extremes else NO_PARAMETER,
        f"Cells beyond the training caps carry {percent(share)} of the error (limit "
        f"{percent(BEYOND_CAPS)}): NMSE is {nmse:.3g} on the rows as they are, {capped:.3g} on "
        f"capped ones. Half of it or more is in {listed(heavy.index, 3)}. {' '.join(remedies)}",
    )


def singletons(d: Diagnosis) -> Found:
    """Categories of one column, unless all are and next to nothing is left of them."""
    alone = d.categories.index[(d.categories["n_columns"] == 1) & (d.categories["bits"] > 0)]
    exact = len(alone) == len(d.categories) and d.summary["nmse_capped"] <= NOTABLE_NMSE
    if len(alone) and len(d.categories) > 1 and not exact:
        yield Recommendation(
            "single_column",
            str(alone[0]),
            len(alone),
            0,
            "min_category_size, categories",
            f"Of a single column: {listed(alone, 4)} ({len(alone)} of {len(d.categories)} "
            "categories). A codebook of one column is a scalar quantizer and shares nothing; join "
            "it to another category where categories are given, else raise min_category_size, "
            "unless the column is meant to have a code of its own.",
        )


# ---------------------------------------------------------------------------------- the budget
def knee(d: Diagnosis) -> Found:
    """A budget from which more would gain much, or less would lose little."""
    if d.frontier is None or not math.isfinite(d.summary["budget"]):
        return
    budget = int(d.summary["budget"])
    used = in_use(budget, d.summary["bits"])
    predicted = d.frontier["predicted_nmse"]
    here, more, less = (
        float(predicted.get(b, math.nan)) for b in (budget, budget + MORE, used - LESS)
    )
    if here > NOTABLE_NMSE and more <= HALVED * here:
        yield Recommendation(
            "budget_too_small",
            "all",
            more / here,
            HALVED,
            "bits",
            f"{MORE} more bits are predicted to bring the NMSE from {here:.3g} to {more:.3g} "
            f"({more / here:.2f} times; limit {HALVED:g}). Set bits={budget + MORE} or more, "
            "or lower max_nmse where that sets the budget.",
        )
    if used > LESS and less <= WASTED * here:
        yield Recommendation(
            "budget_too_large",
            "all",
            less / here if here > 0 else 1.0,
            WASTED,
            "bits",
            f"{LESS} bits fewer than the {used} in use are predicted to raise the NMSE only from "
            f"{here:.3g} to {less:.3g} (limit {WASTED:g} times). Set bits={used - LESS} or fewer, "
            "or raise max_nmse where that sets the budget.",
        )


def idle_level(d: Diagnosis) -> Found:
    """A level that gains next to nothing."""
    bits, nmse = d.levels["bits"], d.levels["nmse_capped"]
    for level, (spent, gain) in enumerate(
        zip(bits.diff().iloc[1:], (1 - nmse / nmse.shift()).iloc[1:], strict=True)
    ):
        if spent >= 0.1 * bits.iloc[-1] > 0 and gain < LEVEL_GAIN:
            does = f"takes {gain:.1%} off" if gain >= 0 else f"adds {-gain:.1%} to"
            yield Recommendation(
                "idle_level",
                f"L{level}",
                float(gain),
                LEVEL_GAIN,
                "n_levels, bits",
                f"Level {level} takes {_bits(spent)} and {does} the capped NMSE "
                f"(limit {percent(LEVEL_GAIN)}). Lower n_levels or bits.",
            )


# ----------------------------------------------------------------------- against other figures
def above_training(d: Diagnosis) -> Found:
    """Given rows far worse than training rows."""
    given, trained = d.summary["nmse_capped"], d.summary["training_nmse"]
    if not (given > ABOVE_TRAINING * trained and given > NOTABLE_NMSE):
        return
    ratios = d.categories["nmse_capped"] / d.categories["training_nmse"]
    weight = ratios.where(d.categories["share"] > 0.05).replace([math.inf], math.nan)
    worst = f" It is worst in category {weight.idxmax()!r}." if weight.notna().sum() > 1 else ""
    yield Recommendation(
        "above_training",
        "all",
        given / trained if trained > 0 else math.inf,
        ABOVE_TRAINING,
        "more training rows, or the rows",
        f"NMSE is {given:.3g} here and {trained:.3g} on the training rows, both capped (limit "
        f"{ABOVE_TRAINING:g} times).{worst} Either these rows differ from the training rows, or "
        "those are few for so many codewords: fit on more rows. Fewer bits would bring the two "
        "figures together only by making both worse.",
    )


def above_predicted(d: Diagnosis) -> Found:
    """Categories worse than predicted."""
    table = d.categories[(d.categories["nmse_capped"] > NOTABLE_NMSE)]
    ratio = table["nmse_capped"] / table["predicted_nmse"].clip(lower=NOTABLE_NMSE)
    off = ratio[ratio > ABOVE_PREDICTED].sort_values(ascending=False)
    if len(off):
        row = table.loc[off.index[0]]
        yield on_first(
            "above_predicted",
            off,
            ABOVE_PREDICTED,
            "validation_fraction",
            f"Coded worse than predicted (limit {ABOVE_PREDICTED:g} times): "
            f"{counted(len(off), 'category', 'categories')}, most {off.index[0]!r} with NMSE "
            f"{row['nmse_capped']:.3g} instead of {row['predicted_nmse']:.3g}, both capped. These "
            "rows differ from the training rows, or those kept aside to predict from were too few: "
            "fit on more rows, or raise validation_fraction. With early_stopping=False none "
            "were kept aside, and the prediction is the plan's.",
        )
