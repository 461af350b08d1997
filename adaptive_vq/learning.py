"""Bits that move between categories: tried, judged on rows kept aside, kept where they help.

One mechanism with two entries: `move_bits` while a codec is fitted (``strategy="learned"``), and
:func:`adaptive_vq.tune_categories` around whole fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from adaptive_vq import classical, quantize
from adaptive_vq._small_tables import codebook_bits
from adaptive_vq.classical import CategorySpec, StartOptions
from adaptive_vq.curves import level_bits

MOST_MOVES = 12
WORTH_MOVING = 2e-3
"""A move has to lower the summed error on the rows kept aside by this share of it."""


@dataclass(frozen=True, order=True)
class Move:
    """Bits that one category may give to another.

    Attributes
    ----------
    gain : float
        By how much the summed error on the rows kept aside is expected to fall.
    taker, giver : str
    n_bits : int
    """

    gain: float
    taker: str
    giver: str
    n_bits: int


def move_bits(
    table: Tensor,
    weight: Tensor,
    valid: Tensor,
    specs: list[CategorySpec],
    seed: int,
    valid_weight: Tensor | None = None,
    most_codewords: int = 2**quantize.MAX_CODEBOOK_BITS,
) -> tuple[list[CategorySpec], list[dict[str, Any]]]:
    """Move bits, one at a time, from the category that misses it least to the one it helps most.

    Parameters
    ----------
    table : Tensor of shape (n, n_features)
        Rows to fit on.
    weight : Tensor of shape (n,)
        Weight of each row.
    valid : Tensor of shape (n_valid, n_features)
        Rows kept aside, which judge every move by what the refitted codebooks leave of them.
    specs : list of CategorySpec
        Where the plan starts.
    seed : int
        Seed of the codebooks.
    valid_weight : Tensor of shape (n_valid,), default=None
        Weights of the rows kept aside.
    most_codewords : int, default=256
        Most codewords of a codebook.

    Returns
    -------
    specs : list of CategorySpec
        With the bits where they ended; their sum is unchanged.
    moves : list of dict
        The trajectory: ``giver``, ``taker`` and the summed error before and after.
    """
    judge = Judge(
        table, weight, valid, specs, seed, valid_weight, quantize.most_bits(most_codewords)
    )
    bits = {spec.name: bits_of(spec) for spec in specs}
    moves: list[dict[str, Any]] = []
    while len(moves) < MOST_MOVES:
        error = sum(judge.error(name, b) for name, b in bits.items())
        best = max(judge.moves(bits), default=None)
        if best is None or best.gain <= WORTH_MOVING * error:
            break
        bits[best.taker] += 1
        bits[best.giver] -= 1
        moves.append(
            {
                "giver": best.giver,
                "taker": best.taker,
                "before": error,
                "after": error - best.gain,
            }
        )
    touched = {name for move in moves for name in (move["giver"], move["taker"])}
    return [judge.spec(s.name, bits[s.name]) if s.name in touched else s for s in specs], moves


class Judge:
    """Errors of categories at numbers of bits, each fitted once.

    Parameters
    ----------
    table : Tensor of shape (n, n_features)
        Rows to fit on.
    weight : Tensor of shape (n,)
        Weight of each row.
    valid : Tensor of shape (n_valid, n_features)
        Rows that judge.
    specs : list of CategorySpec
        What the plan says of every category.
    seed : int
        Seed of the codebooks.
    valid_weight : Tensor of shape (n_valid,) or None
        Weights of the rows that judge.
    max_bits : int
        Most bits of a codebook.
    """

    def __init__(
        self,
        table: Tensor,
        weight: Tensor,
        valid: Tensor,
        specs: list[CategorySpec],
        seed: int,
        valid_weight: Tensor | None,
        max_bits: int,
    ) -> None:
        self.max_bits = max_bits
        self.table, self.weight, self.valid = table, weight, valid
        self.valid_weight = valid_weight
        self.specs = {spec.name: spec for spec in specs}
        self.options = StartOptions(seed, train_beam=2, n_iter=5, n_refits=1, beam=4)
        self._errors: dict[tuple[str, int], float] = {}

    def spec(self, name: str, bits: int) -> CategorySpec:
        """Category with other bits, split over levels at codebook boundaries."""
        start = self.specs[name]
        max_bits = min(self.max_bits, codebook_bits(len(self.table), start.sizes))
        per_level = level_bits(bits, len(start.sizes), max_bits)
        sizes = [[2**b for b in quantize.split_bits(level, max_bits)] for level in per_level]
        return replace(start, sizes=sizes)

    def error(self, name: str, bits: int) -> float:
        """Summed squared error of a category on the rows kept aside."""
        key = (name, bits)
        if key not in self._errors:
            spec = self.spec(name, bits)
            part = classical.fit_category(self.table, spec, self.weight, self.options, 0.0)
            self._errors[key] = classical.category_error(part, self.valid, 8, self.valid_weight)
        return self._errors[key]

    def moves(
        self, bits: Mapping[str, int], n_bits: int = 1, takers: Iterable[str] | None = None
    ) -> list[Move]:
        """All moves of `n_bits` from a category that has them to another one (of `takers`)."""
        gains = {
            name: self.error(name, bits[name]) - self.error(name, bits[name] + n_bits)
            for name in (bits if takers is None else takers)
        }
        losses = {
            name: self.error(name, b - n_bits) - self.error(name, b)
            for name, b in bits.items()
            if b >= n_bits
        }
        return [Move(gains[t] - losses[g], t, g, n_bits) for t in gains for g in losses if t != g]


def bits_of(spec: CategorySpec) -> int:
    """Whole bits that hold the codebooks of a category."""
    return sum((size - 1).bit_length() for level in spec.sizes for size in level)
