"""Joint tables of the classical start: what decodes the codes of all categories (torch only)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._spread import Chain, factors
from adaptive_vq.classical import CategoryCodec, Codec, encode

__all__ = ["fit_tables", "level_of_books", "offset_of", "own_tables"]

JOINT_RIDGES = (10.0, 100.0)
"""Ridges, in rows, tried for the joint tables; the error on rows kept aside chooses."""


def own_tables(parts: Sequence[CategoryCodec], n_features: int) -> Chain:
    """Each codebook as a table (K, n_features), zero outside the columns of its category."""
    tables = []
    for part in parts:
        for codebook in part.chain:
            table = torch.zeros(len(codebook), n_features)
            table[:, part.spec.columns] = codebook @ part.basis[:, : codebook.shape[1]].T
            tables.append(table)
    return tables


def level_of_books(parts: Sequence[CategoryCodec]) -> list[int]:
    """Level of every codebook, in the order of the codes."""
    return [level for part in parts for level in part.levels]


def offset_of(parts: Sequence[CategoryCodec], reference: Tensor) -> Tensor:
    """What is decoded where no code says anything: the mean of every column."""
    offset = reference.clone()
    for part in parts:
        offset[part.spec.columns] = part.mean
    return offset


def fit_tables(
    codec: Codec,
    table: Tensor,
    missing: Tensor | None,
    weight: Tensor,
    valid: tuple[Tensor, Tensor] | None,
    beam: int,
) -> None:
    """Fit the joint tables of every prefix; rows kept aside choose ridges not yet set."""
    own, levels = own_tables(codec.parts, codec.n_features), level_of_books(codec.parts)
    prefixes = range(1, codec.n_levels + 1)
    books = [[j for j, level in enumerate(levels) if level < prefix] for prefix in prefixes]
    tried = [math.inf] if valid is None else [math.inf, *JOINT_RIDGES]
    asked = [codec.ridges[place : place + 1] or tried for place in range(codec.n_levels)]
    if all(math.isinf(ridge) for ridges in asked for ridge in ridges):  # own tables stay
        codec.tables = [[own[j] for j in some] for some in books]
        codec.ridges = [math.inf] * codec.n_levels
        return
    codes = encode(codec.parts, table, beam)
    valid_codes = None if valid is None else encode(codec.parts, valid[0], beam)
    codec.tables, codec.ridges = [], []
    for prefix, some, ridges in zip(prefixes, books, asked, strict=True):
        start, chosen = [own[j] for j in some], codes[:, some]
        target = _linear_target(codec, own, prefix, table, codes)
        target = _with_decoded_holes(target, chosen, start, missing)
        fits = _ridge_path(target, chosen, start, weight, ridges, missing)
        best = 0
        if valid is not None and valid_codes is not None:
            judged = _linear_target(codec, own, prefix, valid[0], valid_codes), valid[1]
            best = _best_tables(fits, judged, valid_codes[:, some])
        codec.tables.append(fits[best][1])
        codec.ridges.append(fits[best][0])


def _with_decoded_holes(
    target: Tensor, codes: Tensor, tables: Chain, missing: Tensor | None
) -> Tensor:
    """Missing cells take the decoded value: nothing is left of them."""
    if missing is None or not bool(missing.any()):
        return target
    return torch.where(missing, quantize.decode(codes, tables, target.shape[1]), target)


def _ridge_path(
    target: Tensor,
    codes: Tensor,
    start: Chain,
    weight: Tensor,
    ridges: Sequence[float],
    missing: Tensor | None,
) -> list[tuple[float, Chain]]:
    """Tables for several ridges; where they stand for one that is infinite."""
    finite = [ridge for ridge in ridges if math.isfinite(ridge) and start]
    moved = dict[float, Chain]()
    if finite:
        right = quantize.right_sides(target, codes, start, weight)
        fits = quantize.solve_path(right, codes, start, finite, weight, missing)
        moved = dict(zip(finite, fits, strict=True))
    return [(ridge, moved.get(ridge, start)) for ridge in ridges]


def _linear_target(codec: Codec, own: Chain, prefix: int, rows: Tensor, codes: Tensor) -> Tensor:
    """What the tables of the first levels are to say of rows: all but the mean and the excess.

    The excess is what codewords add by being multiplied by the spreads of those before them.
    """
    target, start = rows - codec.offset, 0
    for part in codec.parts:
        end = start + len(part.chain)
        factor = factors(codes[:, start:end], part.chain)
        if factor is not None:
            for j, level in enumerate(part.levels):
                if level < prefix:
                    excess = factor[:, j, None] - 1.0
                    target -= excess * own[start + j][codes[:, start + j]]
        start = end
    return target


def _best_tables(
    fits: list[tuple[float, Chain]], judged: tuple[Tensor, Tensor], codes: Tensor
) -> int:
    target, observed = judged
    width = target.shape[1]
    errors = [
        float((((target - quantize.decode(codes, tables, width)) ** 2) * observed).sum())
        for _, tables in fits
    ]
    return min(range(len(errors)), key=lambda i: errors[i])
