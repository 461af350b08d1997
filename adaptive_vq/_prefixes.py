"""Decoders of the first levels that are never worse than those of fewer levels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adaptive_vq import quantize
from adaptive_vq._moments import column_means
from adaptive_vq._rows import Rows, holes_of
from adaptive_vq.modules import CodecModule

_RIDGE = 10.0
"""Rows of a table's entry that where it stands counts for."""
_TOLERANCE = 1e-6
_ROWS_AT_ONCE = 4096


@torch.no_grad()
def settle_prefixes(module: CodecModule, rows: Rows, codes: Tensor) -> bool:
    """Refit, in place, each decoder with a larger error on the training rows than the one before.

    Codes are searched for all levels together, so that the first ones alone may point anywhere: a
    sum of their codewords can be further from the row than the mean. The refit starts from the
    decoder of one level less, with nothing for the new codebooks, and so cannot end above it.

    Parameters
    ----------
    module : CodecModule
    rows : Rows
        Training rows with any observed cell.
    codes : long Tensor of shape (n, n_codebooks)
        Their final codes.

    Returns
    -------
    bool
        Whether the decoder of all levels was among them.
    """
    mean = column_means(rows.table, rows.weight)
    before, refitted = mean.float().expand(len(rows), -1), False
    for n_levels in range(1, module.layout.n_levels + 1):
        after = module.decode(codes, n_levels)
        refitted = _error(rows, after) > (1 + _TOLERANCE) * _error(rows, before)
        if refitted:
            _refit(module, rows, codes, n_levels, mean.float(), before)
            after = module.decode(codes, n_levels)
        before = after
    return refitted


def _error(rows: Rows, output: Tensor) -> float:
    parts = (t.split(_ROWS_AT_ONCE) for t in (rows.table, rows.weight, output))
    return sum(
        float((weight * (table - decoded) ** 2).sum(dtype=torch.float64))
        for table, weight, decoded in zip(*parts, strict=True)
    )


def _refit(
    module: CodecModule, rows: Rows, codes: Tensor, n_levels: int, mean: Tensor, before: Tensor
) -> None:
    if n_levels == module.layout.n_levels:
        module.corrects.fill_(False)
    module.offsets[n_levels - 1] = mean if n_levels == 1 else module.offsets[n_levels - 2]
    layout = module.layout
    if layout.has_spreads:  # nothing of new codebooks, their excess included
        reach = [layout.spread_reach(n + 1) for n in range(layout.n_levels)]
        reach[n_levels - 1] = reach[n_levels - 2] if n_levels > 1 else 0
        module.layout = replace(layout, spread_levels=reach)
    fewer, earlier = module.tables(n_levels - 1) if n_levels > 1 else ([], [])
    books, tables = module.tables(n_levels)
    if not books:
        return
    start = [
        earlier[fewer.index(j)] if j in fewer else torch.zeros_like(t)
        for j, t in zip(books, tables, strict=True)
    ]
    target = torch.where(rows.weight > 0, rows.table, before) - module.offsets[n_levels - 1]
    excess = module.excess(codes, n_levels)
    target = target if excess is None else target - excess
    moved = quantize.refit(
        target, codes[:, books], start, _RIDGE, rows.weight.amax(1), holes_of(rows.weight)
    )
    for j, table, new in zip(books, tables, moved, strict=True):
        module.delta(n_levels, j).add_(new - table)
