"""Draws beside the rows to train codebooks on, and grown codebooks: tried per category, and chosen.

Rows kept aside choose (torch only).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from torch import Tensor

from adaptive_vq import classical
from adaptive_vq._parallel import each
from adaptive_vq._wide import wide
from adaptive_vq.classical import (
    NEARLY_GAUSSIAN,
    TOWARDS_NEIGHBOURS,
    CategorySpec,
    StartOptions,
)
from adaptive_vq.spectra import n_distinct

__all__ = ["choose_bootstrap", "clearly_better", "start_and_smoothing", "worth_trying"]

BOOTSTRAP_WIDTH = 0.5
HEAVY_TAILS = 0.05
"""Excess over a Gaussian's kurtosis, as a share of it, from which draws from one are not tried."""
CLOSE_KNIT = 20
"""Rows per codeword from which draws between neighbours teach nothing that the rows do not."""
BOOTSTRAP_TRIAL_ROWS = 2_000
LEAST_SHRUNKEN, MOST_SHRUNKEN = 2, 4
"""Smoothing is tried on a share of the rows with as much smaller codebooks: rows per codeword and
draws per row are those of the fit, on which it depends whether smoothing helps. The other rows
judge, so that the share is half at most; it is smaller only where it then has
`BOOTSTRAP_TRIAL_ROWS` rows, since shrinking flatters smoothing."""
MOST_TRIAL_ROWS = 12_000
"""Of more rows than this a shrunken codebook has plenty, as the full one has of all."""
JUDGED_ROWS = 2_000
BOOTSTRAP_MUST_GAIN = 0.98
NEIGHBOURS_MAY_LOSE = 1.01
"""Of sparse rows codewords are spoilt by the rows they happen to have more than trials can tell."""
GAUSSIAN_MUST_GAIN = 0.99
GROWN_MUST_GAIN = 0.98
SPREAD_MUST_GAIN = 0.99


def choose_bootstrap(
    table: Tensor, spec: CategorySpec, weight: Tensor, options: StartOptions
) -> tuple[CategorySpec, float]:
    """How codebooks start, and smoothing, by the error on rows not fitted on: see `smoothing`.

    A single codebook is tried with draws only, where rows are sparse and differ in more than it can
    tell: grown it is no better, and spreads would multiply nothing. Rows come in random order.
    """
    sizes = spec.flat()[0]
    single = len(sizes) == 1
    if not sizes or (single and not _may_learn_from_draws(table, spec)):
        return spec, 0.0
    # Not too quick: noise also helps codebooks that are merely fitted badly.
    quick = replace(
        options, train_beam=8, n_iter=5, n_refits=2, quick_start=True, standing_for=len(table)
    )
    shrunken = max(LEAST_SHRUNKEN, min(MOST_SHRUNKEN, len(table) // BOOTSTRAP_TRIAL_ROWS))
    smaller = [[max(2, size // shrunken) for size in level] for level in spec.sizes]
    n_fit = min(len(table) // shrunken, MOST_TRIAL_ROWS)
    few, others = slice(0, n_fit), slice(n_fit, n_fit + JUDGED_ROWS)
    earlier = classical.Earlier(classical.axes_of(table[few], spec, weight[few]), {})

    @cache
    def errors(width: float, grown: bool, spread: bool = False) -> Tensor:
        tried = replace(spec, sizes=smaller, grown=grown, spread=spread)
        part = classical.fit_category(table[few], tried, weight[few], quick, width, earlier)
        return classical.row_errors(part, table[others], options.beam, weight[others])

    sparse, gaussian = worth_trying(table, spec, weight)
    # What is tried in any case, side by side.
    asked = [] if single else [(0.0, True)]
    asked += [(0.0, False), (BOOTSTRAP_WIDTH, False)]
    asked += [(TOWARDS_NEIGHBOURS, False)] if sparse else []
    each(errors, *zip(*asked, strict=True), split=True)
    if single:
        return spec, smoothing(lambda width: float(errors(width, False).sum()), sparse, gaussian)
    width, grown = start_and_smoothing(
        lambda width, grown: float(errors(width, grown).sum()), sparse, gaussian
    )
    compared = (errors(width, grown, s) for s in (False, True))
    spread = options.may_spread and clearly_better(*compared)
    return replace(spec, grown=grown, spread=spread), width


def _may_learn_from_draws(table: Tensor, spec: CategorySpec) -> bool:
    """Whether rows are sparse for a single codebook, and differ in more than it can tell."""
    (size,) = spec.flat()[0]
    return are_sparse(len(table), spec) and n_distinct(table[:, spec.columns].numpy()) > size


def clearly_better(plain: Tensor, other: Tensor) -> bool:
    """Whether other codewords, as such with spreads, leave less of rows: errors (n,).

    Where columns take few values a few rows make up the whole error: what is gained has to be more
    than its standard error as well.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._smoothing import clearly_better
    >>> plain, few = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 0.0, 6.0])
    >>> clearly_better(plain, 0.9 * plain), clearly_better(plain, few)
    (True, False)
    """
    before, after = plain.double(), other.double()
    gain = before - after
    noise = float((gain - gain.mean()).square().sum().sqrt())
    return float(gain.sum()) > max((1.0 - SPREAD_MUST_GAIN) * float(before.sum()), noise)


def worth_trying(table: Tensor, spec: CategorySpec, weight: Tensor) -> tuple[bool, bool]:
    """Whether rows are `sparse`, and whether they may be `gaussian`, for `smoothing`."""
    return are_sparse(len(table), spec), may_be_gaussian(table, spec, weight)


def start_and_smoothing(
    error: Callable[[float, bool], float], sparse: bool, gaussian: bool
) -> tuple[float, bool]:
    """Smoothing as `smoothing` chooses it, and whether codebooks are grown.

    They are, with draws or without, where that lowers an error clearly further; `error` takes both.
    """
    width = smoothing(lambda width: error(width, False), sparse, gaussian)
    best = min(dict.fromkeys((width, 0.0)), key=lambda width: error(width, True))
    must_gain = GAUSSIAN_MUST_GAIN if best == NEARLY_GAUSSIAN else GROWN_MUST_GAIN
    if error(best, True) < must_gain * error(width, False):
        return best, True
    return width, False


def are_sparse(n_rows: int, spec: CategorySpec) -> bool:
    """Whether draws between neighbouring rows may help codebooks of a category."""
    return n_rows < CLOSE_KNIT * max((size for level in spec.sizes for size in level), default=0)


def may_be_gaussian(table: Tensor, spec: CategorySpec, weight: Tensor) -> bool:
    """Whether the tails of a category are no heavier than those of a Gaussian.

    By the mean fourth power of the distance from the mean, ``(sum l)^2 + 2 sum l^2`` for a Gaussian
    whose covariance has the eigenvalues l. Directions count by what they carry, unlike in the
    kurtosis of Mardia (1970), "Measures of multivariate skewness and kurtosis with applications",
    whose standard error for as many independent directions is allowed for twice.
    """
    rows, share = table[:, spec.columns].double(), (weight / weight.sum()).double()
    centered = rows - share @ rows
    distance = centered.square().sum(1)
    if wide(centered):  # products of rows have the same eigenvalues, but for zeros
        scaled = centered * share.sqrt()[:, None]
        covariance = scaled @ scaled.T
    else:
        covariance = (centered.T * share) @ centered
    trace, squares = float(covariance.trace()), float(covariance.square().sum())
    if squares == 0.0:
        return True
    n_directions = trace**2 / squares
    error = math.sqrt(8.0 / (int((weight > 0).sum()) * n_directions * (n_directions + 2.0)))
    limit = (1.0 + HEAVY_TAILS + 2.0 * error) * (trace**2 + 2.0 * squares)
    return float(share @ distance.square()) <= limit


def smoothing(
    error: Callable[[float], float], sparse: bool = False, gaussian: bool = True
) -> float:
    """Draws that lower an error enough: 0 for none, a kernel width, or `TOWARDS_NEIGHBOURS`.

    Draws between neighbours stay where the rows are: where these are sparse they are the rule,
    unless they do harm; elsewhere they teach nothing. Noise of the rows' covariance suits
    distributions without much shape. Draws from a Gaussian, which take longest, are tried only
    where the rows may be `gaussian` and a little noise does not make things worse.
    """
    chosen, none = 0.0, error(0.0)
    if sparse and error(TOWARDS_NEIGHBOURS) < NEIGHBOURS_MAY_LOSE * none:
        chosen = TOWARDS_NEIGHBOURS
    least, narrow = error(chosen), error(BOOTSTRAP_WIDTH)
    if narrow < BOOTSTRAP_MUST_GAIN * least:
        chosen, least = BOOTSTRAP_WIDTH, narrow
    if gaussian and narrow < none:
        wide = error(NEARLY_GAUSSIAN)
        if wide < GAUSSIAN_MUST_GAIN * least:
            chosen = NEARLY_GAUSSIAN
    return chosen
