"""Bits that codebooks have not taken up: offered to the categories that have an error left."""

from __future__ import annotations

import math
from dataclasses import replace

from adaptive_vq import classical, quantize
from adaptive_vq._rows import Rows
from adaptive_vq._small_tables import codebook_bits
from adaptive_vq.classical import CategoryCodec, StartOptions

__all__ = ["offer_freed_bits", "spent"]


def spent(parts: list[CategoryCodec]) -> float:
    """Bits per row that chains take."""
    return sum(math.log2(len(codebook)) for part in parts for codebook in part.chain)


def offer_freed_bits(
    rows: Rows, parts: list[CategoryCodec], budget: float, most_codewords: int, seed: int
) -> list[CategoryCodec]:
    """Offer bits that shrunken codebooks have freed to the categories that still have an error."""
    weight, full = rows.weight.amax(1), set[str]()
    for _ in range(8):
        free = math.floor(budget - spent(parts) + 1e-6)
        if free < 1:
            break
        gifts = _gifts(rows, parts, full, free)
        if not gifts:
            break
        larger = list(parts)
        for i, part in enumerate(parts):
            gift = gifts.get(part.spec.name, 0)
            if not gift:
                continue
            most = min(most_codewords, 2 ** codebook_bits(len(rows), part.spec.sizes))
            spec = replace(part.spec, sizes=_larger(part, gift, most))
            found = classical.fit_category(
                rows.table, spec, weight, StartOptions(seed), part.bootstrap
            )
            if spent([found]) > spent([part]) + 1e-6:
                larger[i] = found
            else:
                full.add(part.spec.name)
        if spent(larger) > budget + 1e-6:
            break
        parts = larger
    return parts


def _gifts(rows: Rows, parts: list[CategoryCodec], full: set[str], free: int) -> dict[str, int]:
    """One bit at a time to the category with the largest error left; a bit counts as halving it."""
    errors = {
        p.spec.name: classical.category_error(p, rows.table, 4, rows.weight.amax(1))
        for p in parts
        if p.spec.name not in full
    }
    floor = 1e-9 * float((rows.table**2).sum())
    gifts: dict[str, int] = {}
    for _ in range(free):
        errors = {name: error for name, error in errors.items() if error > floor}
        if not errors:
            break
        neediest = max(sorted(errors), key=lambda name: errors[name])
        gifts[neediest] = gifts.get(neediest, 0) + 1
        errors[neediest] /= 2.0
    return gifts


def _larger(part: CategoryCodec, gift: int, most: int) -> list[list[int]]:
    """Sizes as they came out, with `gift` more bits in the last level that has any."""
    sizes: list[list[int]] = [[] for _ in part.spec.sizes]
    for codebook, level in zip(part.chain, part.levels, strict=True):
        sizes[level].append(len(codebook))
    last = max((i for i, level in enumerate(sizes) if level), default=0)
    max_bits = quantize.most_bits(most)
    while gift > 0:
        tail = sizes[last][-1] if sizes[last] else 0
        room = quantize.most_bits(2**max_bits // tail) if tail else 0
        step = min(gift, room)
        if step > 0:
            sizes[last][-1] = tail * 2**step
        else:
            step = min(gift, max_bits)
            sizes[last].append(2**step)
        gift -= step
    return sizes
