"""Sizes of codebooks for tables so small that large ones would memorize them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from adaptive_vq import _smoothing, classical, quantize
from adaptive_vq._folds import folds
from adaptive_vq._parallel import until
from adaptive_vq._race import Race
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.kmeans import kmeans, nearest

__all__ = [
    "choose_start",
    "codebook_bits",
    "largest_codebook",
    "memorized",
    "too_few",
    "with_codebooks_of",
]

SMALLEST_BITS = 4
MUST_GAIN = 0.99
SMOOTHED_MUST_GAIN = 0.97
"""Of plans, which see four fifths of the rows that there will be to fill codebooks."""
SPREAD_OF_FEW_MUST_GAIN = 0.97
"""Of so few rows a few may make up the error."""
VALIDATION_SHARE = 0.1
MANY_ALONE = 0.15
"""Share of codewords that a single row has to itself, each, from which smaller ones are tried."""


def too_few(n_rows: int, bits: int) -> bool:
    """Whether rows are so few that a codebook of these bits has to prove itself.

    Examples
    --------
    >>> from adaptive_vq._small_tables import too_few
    >>> too_few(1_000, 8), too_few(1_000, 6)
    (True, False)
    """
    return bits > SMALLEST_BITS and n_rows < classical.CROWDED * 2**bits


def memorized(latents: Tensor, weight: Tensor, bits: int, generator: torch.Generator) -> bool:
    """Whether a codebook of these bits would keep many of its codewords for a single row each.

    As it does where tails are heavy, however many rows there are. Such rows have no need of what
    later codebooks add, whose codewords are idle then; unseen rows have.

    Examples
    --------
    >>> import torch
    >>> from adaptive_vq._small_tables import memorized
    >>> rows = torch.randn(2_000, 4, generator=torch.Generator().manual_seed(0))
    >>> heavy = rows / torch.rand(2_000, 1, generator=torch.Generator().manual_seed(1))
    >>> [memorized(r, torch.ones(2_000), 7, torch.Generator()) for r in (rows, heavy)]
    [False, True]
    """
    latents, weight = latents[weight > 0], weight[weight > 0]
    if bits <= SMALLEST_BITS or len(latents) < 2**bits:
        return False
    codebook = kmeans(latents, 2**bits, generator, weight, 2)
    counts = torch.bincount(nearest(latents, codebook)[1], minlength=len(codebook))
    return int((counts <= 1).sum()) > MANY_ALONE * len(codebook)


def largest_codebook(
    error: Callable[[int], float],
    n_rows: int,
    bits: int,
    smoothed: Callable[[int], float] | None = None,
    *,
    of_many_rows: bool = False,
) -> int:
    """Bits of the largest codebook: smaller ones than that do not lower the error any more.

    Parameters
    ----------
    error : callable
        From the bits of the largest codebook to an error on rows that it was not fitted on. Asked
        for some bits twice; for smaller ones first, which take less time.
    n_rows : int
        Rows to fit on.
    bits : int
        Bits to start from.
    smoothed : callable, default=None
        From the bits to the error, if it is less, of codebooks that are fitted on draws beside the
        rows: larger ones memorize less by these. Asked only about what the other error would
        leave.
    of_many_rows : bool, default=False
        Whether smaller codebooks are tried however many rows there are.

    Examples
    --------
    >>> from adaptive_vq._small_tables import largest_codebook
    >>> largest_codebook(lambda bits: abs(bits - 6) + 1, 300, 8)
    6
    >>> largest_codebook(lambda bits: abs(bits - 6) + 1, 3_000, 8)
    8
    """

    def may_shrink() -> bool:
        return (bits > SMALLEST_BITS) if of_many_rows else too_few(n_rows, bits)

    while may_shrink() and error(bits - 1) < MUST_GAIN * error(bits):
        if smoothed and smoothed(bits - 1) >= SMOOTHED_MUST_GAIN * smoothed(bits):
            break
        bits -= 1
    return bits


def codebook_bits(n_rows: int, sizes: Sequence[Sequence[int]]) -> int:
    """Bits of the largest codebook that a category may have when it gets other bits.

    Where rows are few enough for smaller ones to have been chosen, those that it has are the
    measure.

    Examples
    --------
    >>> from adaptive_vq._small_tables import codebook_bits
    >>> codebook_bits(300, [[64], [64, 4]]), codebook_bits(3_000, [[4], [8]])
    (6, 8)
    """
    full = quantize.MAX_CODEBOOK_BITS
    books = [(size - 1).bit_length() for level in sizes for size in level]
    return max(books) if len(books) > 1 and too_few(n_rows, full) else full


def with_codebooks_of(spec: CategorySpec, max_bits: int) -> CategorySpec:
    """Category with the bits of every level in codebooks of at most `max_bits` bits."""
    bits = [sum((size - 1).bit_length() for size in level) for level in spec.sizes]
    sizes = [[2**b for b in quantize.split_bits(level, max_bits)] for level in bits]
    return replace(spec, sizes=sizes)


def choose_start(
    table: Tensor,
    spec: CategorySpec,
    weight: Tensor,
    options: StartOptions,
    may_split: bool,
) -> tuple[CategorySpec, float]:
    """Sizes and starts of the codebooks, and rows drawn beside those to fit on, by rows kept aside.

    Of few rows a large codebook memorizes some, and leaves many of its codewords to none: bits that
    are lost. Several smaller codebooks take its place where they leave less error. The rows to fit
    on take turns to tell; of more rows one part is fitted on, and others judge.

    Parameters
    ----------
    table, weight : Tensor of shapes (n, n_features) and (n,)
        Rows to fit on, in random order.
    spec : CategorySpec
        What the plan says of the category.
    options : StartOptions
        How it will be fitted.
    may_split : bool
        Whether sizes may change.

    Returns
    -------
    spec : CategorySpec
        With sizes, and whether codebooks are grown, as chosen.
    width : float
        What `_smoothing.smoothing` chose; 0 for no rows beside those to fit on.
    """
    largest = max((size for level in spec.sizes for size in level), default=1)
    start, n_valid = (largest - 1).bit_length(), int(VALIDATION_SHARE * len(table))
    if n_valid < 2 or not too_few(len(table), start):
        return _smoothing.choose_bootstrap(table, spec, weight, options)
    error = _turns(table, spec, weight, options, n_valid)
    bits = start
    if may_split:
        # First, so that others have to beat it: it is also the one that gains most by draws.
        error(start, 0.0, False)
        bits = largest_codebook(lambda b: error(b, 0.0, False), len(table), start)
    width, grown = _smoothing.start_and_smoothing(
        lambda width, grown: error(bits, width, grown),
        *_smoothing.worth_trying(table, spec, weight),
    )
    while width and bits < start:  # smoothed, larger codebooks memorize less
        if error(bits + 1, width, grown) >= MUST_GAIN * error(bits, width, grown):
            break
        bits += 1
    spread = options.may_spread and (
        error(bits, width, grown, True) < SPREAD_OF_FEW_MUST_GAIN * error(bits, width, grown)
    )
    spec = replace(spec, grown=grown, spread=spread)
    return (spec if bits == start else with_codebooks_of(spec, bits)), width


def _turns(
    table: Tensor, spec: CategorySpec, weight: Tensor, options: StartOptions, n_valid: int
) -> Callable[..., float]:
    """Summed error of rows kept aside in turn.

    By the bits of the largest codebook, the kernel width, whether codebooks are grown, and whether
    their codewords have spreads. What is behind the best so far does not get all turns: its error
    is that of the best one times what it is worse by.
    """
    order = torch.randperm(len(table), generator=classical.seed_of(options.seed, "turns")).numpy()
    parts = [(torch.from_numpy(f), torch.from_numpy(v)) for f, v in folds(order, n_valid)]
    quick = replace(options, train_beam=5, n_refits=1, quick_start=True)
    race = Race()
    stages: list[classical.Stages] = [{} for _ in parts]

    @cache
    def axes(turn: int) -> classical.Axes:
        fit, _ = parts[turn]
        return classical.axes_of(table[fit], spec, weight[fit])

    @cache
    def error(bits: int, width: float, grown: bool, spread: bool = False) -> float:
        tried = replace(with_codebooks_of(spec, bits), grown=grown, spread=spread)

        def of(turn: int) -> Tensor:
            fit, valid = parts[turn]
            earlier = classical.Earlier(axes(turn), stages[turn])
            fitted = classical.fit_category(table[fit], tried, weight[fit], quick, width, earlier)
            return classical.row_errors(fitted, table[valid], options.beam, weight[valid])

        return race.entered(until(race.lost, of, range(len(parts))))

    return error
