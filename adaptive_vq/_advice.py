"""What all rules of the recommendations share: thresholds, the record, words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from adaptive_vq.diagnosis import Diagnosis

WORST_OVER_MEDIAN = 3.0
"""NMSE of a category over the median category; of two over the other one."""

NOTABLE_NMSE = 0.01
"""Errors below this are small enough whatever they are compared with."""

LOW_UTILIZATION = 0.5
"""Share of a codebook's codewords in use."""

JUDGED_ROWS = 10
"""Rows per codeword that it takes to judge from given rows whether a codebook is used."""

ONE_CODE = 0.999
"""Share of rows with one and the same code from which a codebook says nothing."""

DOMINANT_COLUMN = 0.5
"""Share of its category's error, in categories of three columns and more."""

BEYOND_CAPS = 0.5
"""Share of the error that capping the cells would take away."""

HALVED = 0.5
"""NMSE predicted for more bits over that for the budget."""

WASTED = 1.1
"""NMSE predicted for fewer bits over that for the budget."""

LEVEL_GAIN = 0.02
"""Part of the NMSE that a level with at least a tenth of the bits should take away."""

ROWS_PER_CODEWORD = 10.0
"""Training rows per codeword."""

ABOVE_TRAINING = 1.5
"""NMSE of the given rows over that of the training rows, both capped."""

ABOVE_PREDICTED = 1.5
"""Measured NMSE over the predicted one, both capped."""

CAPPED_ABOVE = 0.05
"""Share of a column's cells beyond the caps, in excess of training."""

MEAN_SHIFT = 0.5
"""Training standard deviations between the means of given and training rows."""

SPREAD_RATIO = 2.0
"""Standard deviation over that of training, or the inverse."""

EQUAL_CHANCE = 0.001
"""Chance that all cells of a column are equal, below which it is none."""

MISSING_ABOVE = 0.1
"""Share of missing cells in excess of training."""

NEW_CODES = 0.05
"""Share of rows with a code that no training row had."""

ROWS_FOR_SHIFT = 30
"""Rows it takes to speak of a shift, and observed cells of a column."""


@dataclass(frozen=True)
class Recommendation:
    """Something that stands out, and what to do about it.

    Attributes
    ----------
    rule : str
        Name of the rule.
    subject : str
        Category, column or codebook it is about; ``"all"`` for the whole.
    value, threshold : float
        The figure, and the limit that it passes.
    parameter : str
        What to change.
    message : str
        Both in words.

    Examples
    --------
    >>> from adaptive_vq.recommendations import Recommendation
    >>> found = Recommendation("new_codes", "all", 0.2, 0.05, "fit again", "Fit again.")
    >>> found.value > found.threshold, str(found)
    (True, '[new_codes] Fit again.')
    """

    rule: str
    subject: str
    value: float
    threshold: float
    parameter: str
    message: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.message}"


Found = Iterator[Recommendation]

NO_PARAMETER = "fit again, or the rows"
"""What to change where rows differ from the training rows, which no parameter mends."""

OTHER_ROWS = (
    "Check units and source of these rows; if they are what is to come, fit again with them."
)
"""What to do about such rows."""


def on_first(
    rule: str, found: pd.Series, threshold: float, parameter: str, message: str
) -> Recommendation:
    """Recommendation on the first of all that a rule has found, which stands out most."""
    subject, value = str(found.index[0]), float(found.iloc[0])
    return Recommendation(rule, subject, value, threshold, parameter, message)


def percent(share: float) -> str:
    """Share in percent, one digit more below 1 %."""
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def chance(d: Diagnosis, fewest: int = ROWS_FOR_SHIFT) -> pd.Series:
    """Three standard errors per column, by its observed cells; NaN where these are too few."""
    given = d.summary["n_rows"] * (1.0 - d.columns["missing"])
    trained = d.summary["n_training_rows"] * (1.0 - d.columns["training_missing"])
    enough = given.where(given >= fewest)
    return 3.0 * np.sqrt(1.0 / enough + (1.0 / trained).fillna(0.0))


def capped_above(d: Diagnosis, fewest: int = ROWS_FOR_SHIFT) -> tuple[pd.Series, pd.Series]:
    """Shares of cells beyond the caps in excess of training per column, and their limits."""
    columns = d.columns
    return columns["capped"] - columns["training_capped"], CAPPED_ABOVE + chance(d, fewest) / 3.0
