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
    codes = encode(codec.parts, table, beam)
    valid_codes = None if valid is None else encode(codec.parts, valid[0], beam)
    own, levels = own_tables(codec.parts, codec.n_features), level_of_books(codec.parts)
    known = list(codec.ridges)
    codec.tables, codec.ridges = [], []
    for prefix in range(1, codec.n_levels + 1):
        books = [j for j, level in enumerate(levels) if level < prefix]
        start = [own[j] for j in books]
        target = _linear_target(codec, own, prefix, table, codes)
        right = quantize.right_sides(
            _with_decoded_holes(target, codes[:, books], start, missing),
            codes[:, books],
            start,
            weight,
        )
        ridges = known[prefix - 1 : prefix]
        fits = _ridge_path(right, codes[:, books], start, weight, ridges, missing)
        best = 0
        if valid is not None and valid_codes is not None:
            judged = _linear_target(codec, own, prefix, valid[0], valid_codes), valid[1]
            best = _best_tables(fits, judged, valid_codes[:, books])
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
    right: list[Tensor],
    codes: Tensor,
    start: Chain,
    weight: Tensor,
    known: list[float],
    missing: Tensor | None,
) -> list[tuple[float, Chain]]:
    ridges = known or [math.inf, *JOINT_RIDGES]
    finite = [ridge for ridge in ridges if math.isfinite(ridge) and start]
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
