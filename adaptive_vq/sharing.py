"""From ratios to bits: every category's part is proportional to its latent widths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from adaptive_vq._wording import counted
from adaptive_vq.apportion import largest_remainder

__all__ = ["latent_shares", "latent_width", "parse_ratios", "share_bits", "split_levels"]


def parse_ratios(
    ratios: str | Sequence[float], n_levels: int | None = None, name: str = "compression_ratios"
) -> list[float]:
    """Read ratios written as a list or as ``"a:b:c"``.

    Parameters
    ----------
    ratios : str or sequence of numbers
        One positive, finite ratio per level.
    n_levels : int, optional
        The number of levels they must have.
    name : str, default="compression_ratios"
        The parameter to name in an error.

    Returns
    -------
    list of float
        The ratios.

    Raises
    ------
    ValueError
        If a part is no number, not positive or not finite, or their number is wrong.

    Examples
    --------
    >>> from adaptive_vq.sharing import parse_ratios
    >>> parse_ratios("0.5:1:1.5")
    [0.5, 1.0, 1.5]
    """
    try:
        parts = ratios.split(":") if isinstance(ratios, str) else list(ratios)
        values = [float(part) for part in parts]
    except (TypeError, ValueError):
        values = [math.nan]
    if not values or not all(math.isfinite(v) and v > 0 for v in values):
        raise ValueError(
            f"{name}={ratios!r}: give one positive, finite number per level, as a list "
            f"[0.5, 1.0, 1.5] or as '0.5:1:1.5'."
        )
    if n_levels is not None and len(values) != n_levels:
        have, needed = counted(len(values), "ratio"), counted(n_levels, "level")
        raise ValueError(f"{name}={ratios!r} has {have} for {needed}: give one per level.")
    return values


def latent_width(n_columns: int, ratio: float) -> int:
    """Return the latent width of a level: columns times ratio, rounded up to a multiple of 4.

    Parameters
    ----------
    n_columns : int
        Columns of the category.
    ratio : float
        Compression ratio of the level.

    Returns
    -------
    int
        ``max(4, 4 * ceil(n_columns * ratio / 4))``.

    Examples
    --------
    >>> from adaptive_vq.sharing import latent_width
    >>> latent_width(24, 0.31)
    8
    """
    # 25 columns times 1.12 are 28, which floating-point numbers miss by a rounding.
    return max(4, 4 * math.ceil(round(n_columns * ratio / 4, 9)))


def latent_shares(
    ratios: Mapping[str, Sequence[float]], n_columns: Mapping[str, int]
) -> dict[str, float]:
    """Return every category's part of all latent widths (columns times ratios, not rounded).

    Parameters
    ----------
    ratios : mapping of str to sequence of float
        One ratio per level for each category.
    n_columns : mapping of str to int
        Columns of each category.

    Returns
    -------
    dict of str to float
        Parts that sum to 1.

    Examples
    --------
    >>> from adaptive_vq.sharing import latent_shares
    >>> latent_shares({"a": [0.5, 1.0], "b": [0.5, 1.0]}, {"a": 6, "b": 2})
    {'a': 0.75, 'b': 0.25}
    """
    # In units of a power of two, which rounds nothing, no sum overflows.
    power = math.frexp(max(max(levels) for levels in ratios.values()))[1]
    widths = {
        name: n_columns[name] * math.fsum(math.ldexp(ratio, -power) for ratio in levels)
        for name, levels in ratios.items()
    }
    total = math.fsum(widths.values())  # exactly rounded, so the order does not matter
    return {name: width / total for name, width in widths.items()}


def share_bits(
    ratios: Mapping[str, Sequence[float]],
    n_columns: Mapping[str, int],
    budget: int,
    caps: Mapping[str, int] | None = None,
) -> dict[str, list[int]]:
    """Divide a budget over categories and levels in proportion to latent widths.

    A category's part is proportional to its columns times its ratios, summed over levels, by
    largest remainder with at least one bit each while the budget allows. Inside it the levels
    share likewise, level 0 first. A larger budget never takes a bit from a category.

    Parameters
    ----------
    ratios : mapping of str to sequence of float
        One positive ratio per level for each category.
    n_columns : mapping of str to int
        Columns of each category.
    budget : int
        Bits per row.
    caps : mapping of str to int, optional
        The most bits a category can use; no limit for those not named.

    Returns
    -------
    dict of str to list of int
        Bits per level, categories in the order of `ratios`. They sum to `budget`, or to all caps.

    Raises
    ------
    ValueError
        If the budget is negative, a ratio is not positive and finite, there is no category, or
        `n_columns` lacks one.

    Examples
    --------
    >>> from adaptive_vq.sharing import share_bits
    >>> share_bits({"a": [0.5, 1.0, 1.5], "b": [0.5, 1.0, 1.5]}, {"a": 6, "b": 2}, 8)
    {'a': [1, 2, 3], 'b': [1, 0, 1]}
    """
    names = list(ratios)
    if not names:
        raise ValueError("ratios names no category.")
    for name in names:
        if name not in n_columns:
            raise ValueError(f"n_columns has no entry for category {name!r}.")
        parse_ratios(ratios[name], name=f"ratios[{name!r}]")
    shares = latent_shares(ratios, n_columns)
    limits = [budget if caps is None else caps.get(name, budget) for name in names]
    parts = largest_remainder(
        [shares[name] for name in names], budget, minimum=1, caps=limits, keys=names
    )
    return {
        name: split_levels(int(part), ratios[name]) for name, part in zip(names, parts, strict=True)
    }


def split_levels(bits: int, ratios: Sequence[float]) -> list[int]:
    """Divide one category's bits over its levels.

    Parameters
    ----------
    bits : int
        Bits of the category.
    ratios : sequence of float
        One ratio per level.

    Returns
    -------
    list of int
        In proportion to the ratios by largest remainder, at least one for level 0.

    Examples
    --------
    >>> from adaptive_vq.sharing import split_levels
    >>> split_levels(4, [0.1, 1.0, 1.0])
    [1, 2, 1]
    """
    first = np.eye(1, len(ratios), dtype=np.int64)[0]
    return [int(b) for b in largest_remainder(ratios, bits, minimum=first)]
