"""Rules on the use of codebooks, and on rows that differ from the training rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from adaptive_vq._advice import (
    CAPPED_ABOVE,
    EQUAL_CHANCE,
    JUDGED_ROWS,
    LOW_UTILIZATION,
    MEAN_SHIFT,
    MISSING_ABOVE,
    NEW_CODES,
    NO_PARAMETER,
    ONE_CODE,
    OTHER_ROWS,
    ROWS_FOR_SHIFT,
    ROWS_PER_CODEWORD,
    SPREAD_RATIO,
    Found,
    Recommendation,
    capped_above,
    chance,
    on_first,
    percent,
)
from adaptive_vq._wording import counted, listed

if TYPE_CHECKING:
    from adaptive_vq.diagnosis import Diagnosis


# --------------------------------------------------------------------------------- codebooks
def low_utilization(d: Diagnosis) -> Found:
    """Codebooks of which half is idle."""
    for name, book in d.codebooks.iterrows():
        judged = d.summary["n_rows"] >= JUDGED_ROWS * book["size"]
        given = book["utilization"] if judged else math.nan
        values = {"training rows": book["training_utilization"], "given rows": given}
        low = {rows: v for rows, v in values.items() if v < LOW_UTILIZATION}
        if low and book["size"] > 1:
            rows, value = min(low.items(), key=lambda item: item[1])
            parameter, remedy = _for_idle(book)
            yield Recommendation(
                "low_utilization",
                str(name),
                float(value),
                LOW_UTILIZATION,
                parameter,
                f"The {rows} use {percent(value)} of the {book['size']} codewords of {name!r} "
                f"(limit {percent(LOW_UTILIZATION)}). {remedy}",
            )


def _for_idle(book: pd.Series) -> tuple[str, str]:
    """Parameter and remedy for a codebook of which much is idle."""
    trained = book["training_utilization"]
    if trained >= LOW_UTILIZATION:
        return NO_PARAMETER, (
            f"The training rows use {percent(trained)}, so these differ from them. {OTHER_ROWS}"
        )
    return "bits, codebook_sizes", (
        f"Give it a smaller codebook (codebook_sizes) or category {book['category']!r} fewer bits; "
        "if only new rows leave it idle, they differ from the training rows."
    )


def dead_codes(d: Diagnosis) -> Found:
    """Codewords that no training row used."""
    dead = d.codebooks.get("training_dead", pd.Series(dtype=float))
    dead = dead[dead > 0]
    if len(dead):
        total = int(d.codebooks["size"].sum())
        some = ", ".join(f"{name!r}: {int(n)}" for name, n in dead.head(4).items())
        yield Recommendation(
            "dead_codes",
            str(dead.idxmax()),
            float(dead.sum()),
            0,
            "fit, or bits",
            f"{int(dead.sum())} of {total} codewords were used by no training row ({some}"
            + (", ..." if len(dead) > 4 else "")
            + "). They cost bits and say nothing: fit again on all rows, which moves them to where "
            "rows use them and removes what is still unused, or lower bits or codebook_sizes.",
        )


def one_code(d: Diagnosis) -> Found:
    """Codebooks in which all rows have one code."""
    if "top_share" not in d.codebooks or d.summary["n_rows"] < 2 * JUDGED_ROWS:
        return
    flat = d.codebooks[(d.codebooks["top_share"] >= ONE_CODE) & (d.codebooks["size"] > 1)]
    for name, book in flat.iterrows():
        before = book["training_top_share"]
        where = ""
        if not math.isnan(before):
            where = f" (in training the top code had {percent(before)})"
        share = float(book["top_share"])
        rows = "All rows" if share == 1.0 else f"{min(share, 0.9999):.2%} of the rows"
        yield Recommendation(
            "one_code",
            str(name),
            share,
            ONE_CODE,
            "compression_ratios, codebook_sizes",
            f"{rows} have the same code in {name!r}{where}, which takes {book['bits']:.3g} of the "
            f"bits. Take level {book['level']} of category {book['category']!r} away (0 "
            "bits, or fewer levels), or look at why these rows do not vary.",
        )


def few_rows(d: Diagnosis) -> Found:
    """More codewords than the training rows can fill."""
    rows = d.codebooks.get("rows_per_codeword", pd.Series(dtype=float))
    few = rows[rows < ROWS_PER_CODEWORD].sort_values()
    if len(few):
        yield on_first(
            "few_rows",
            few,
            ROWS_PER_CODEWORD,
            "more rows, or min_rows_per_codeword",
            f"Fewer than {ROWS_PER_CODEWORD:g} training rows per codeword in "
            f"{counted(len(few), 'codebook')}, down to {few.iloc[0]:.3g} in "
            f"{few.index[0]!r}. Such codewords follow single rows: fit on more rows. "
            f"min_rows_per_codeword={ROWS_PER_CODEWORD:g} spends the same bits on smaller "
            "codebooks; that need not code unseen rows better, so compare both.",
        )


def shift(d: Diagnosis) -> Found:
    """Columns that differ from training."""
    if d.summary["n_rows"] < ROWS_FOR_SHIFT:
        return
    c = d.columns
    # The fewer cells there are, the more figures move by chance: allow for three standard errors.
    cells, rows = chance(d), pd.Series(3 / math.sqrt(d.summary["n_rows"]), index=c.index)
    # A column that is constant here may just be a flag that is rarely set.
    spread = c["spread_ratio"].where(c["spread_ratio"] > 0)
    spread = pd.Series(np.fmax(spread, 1 / spread), index=c.index)
    lacks = c["missing"] - c["training_missing"]
    signs = {
        "capped": ("beyond the caps", *capped_above(d)),
        "mean": ("another mean", c["mean_shift"].abs(), MEAN_SHIFT + cells),
        "spread": ("another spread", spread, SPREAD_RATIO + cells),
        "missing": ("missing", lacks, MISSING_ABOVE + rows / 3),
        # Such a column has no code and counts as no error, so that no other figure tells of it.
        "observed": (
            "observed, and in training in no row",
            -lacks.where(c["training_missing"] == 1),
            MISSING_ABOVE + rows / 3,
        ),
        # Where there are caps, the only value of training is both of them.
        "constant": (
            "other cells than the one value there",
            c["off_constant"].where(c["capped"] == 0),
            CAPPED_ABOVE + cells / 3,
        ),
    }
    for key, (words, values, limits) in signs.items():
        moved = values[values > limits].sort_values(ascending=False)
        if len(moved):
            limit = float(limits[moved.index[0]])
            yield on_first(
                f"shift_{key}",
                moved,
                limit,
                NO_PARAMETER,
                f"{counted(len(moved), 'column differs', 'columns differ')} from training "
                f"({words}; limit {limit:.2g}): {listed(moved.index, 4)}, up to "
                f"{moved.iloc[0]:.3g}. {OTHER_ROWS}",
            )


def stuck(d: Diagnosis) -> Found:
    """Columns that are constant here, but varied too much in training for that to be chance."""
    cells = d.summary["n_rows"] * (1.0 - d.columns["missing"])
    chance = d.columns["equal_chance"].where(cells.round() >= ROWS_FOR_SHIFT)
    equal = chance[chance < EQUAL_CHANCE].sort_values()
    if len(equal):
        yield on_first(
            "shift_stuck",
            equal,
            EQUAL_CHANCE,
            NO_PARAMETER,
            f"{counted(len(equal), 'column is', 'columns are')} constant here, and varied in "
            f"training: {listed(equal.index, 4)}. In rows like those the chance that "
            f"{equal.index[0]!r} is constant is at most {equal.iloc[0]:.2g} (limit "
            f"{EQUAL_CHANCE:g}). {OTHER_ROWS}",
        )


def new_codes(d: Diagnosis) -> Found:
    """Rows with codes that training never had."""
    share = d.summary["new_code_rows"]
    if share > NEW_CODES:
        yield Recommendation(
            "new_codes",
            "all",
            float(share),
            NEW_CODES,
            NO_PARAMETER,
            f"{percent(share)} of the rows have a code that no training row had (limit "
            f"{percent(NEW_CODES)}): a downstream model has not seen these codes. Fit again.",
        )
