"""A fitted network in which some categories start anew with other codebooks (torch only)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from adaptive_vq import quantize
from adaptive_vq._layout import category_layout
from adaptive_vq._rows import Rows, holes_of
from adaptive_vq.classical import CategoryCodec
from adaptive_vq.modules import CodecModule
from adaptive_vq.training import valid_error

TABLE_RIDGES = (100.0, 30.0)
"""Rows of a table's entry that where it stands counts for; rows that judge choose, or none."""


@torch.no_grad()
def moved_network(
    module: CodecModule,
    parts: Mapping[str, CategoryCodec],
    order: Sequence[str],
    rows: Rows,
    judges: Rows,
    batch_size: int,
    beam: int,
    encoders: Mapping[str, nn.Module] | None = None,
) -> CodecModule:
    """Network that goes on from a fitted one, except for the categories in `parts`.

    These start as classical codecs. Decoding tables of all categories may then take one step of
    least squares, since each was fitted beside what the old codes have said.

    Parameters
    ----------
    module : CodecModule
        The fitted network; it is not changed.
    parts : mapping of str to CategoryCodec
        New starts. One without codebooks drops its category.
    order : sequence of str
        All categories in the order of the plan.
    rows, judges : Rows
        Training rows, and other rows that judge how far the tables move.
    batch_size : int
        Rows per training step, for the running counts.
    beam : int
        Candidates kept by the search.
    encoders : mapping of str to torch.nn.Module, default=None
        Own encoder bodies, as given.

    Returns
    -------
    CodecModule
    """
    old = {c.name: g for g, c in enumerate(module.layout.categories)}
    moved = _shell(module, parts, [n for n in order if _coded(n, parts, old)], old, encoders or {})
    moved.offsets.copy_(module.offsets)
    for g, (start, _) in enumerate(moved.layout.spans()):
        name = moved.layout.categories[g].name
        if name in parts:
            moved.encoders[g].mean.copy_(parts[name].mean)
            moved.encoders[g].basis.copy_(parts[name].basis)
            counts = dict(enumerate(_counts(parts[name], rows, batch_size), start))
            moved.start_chain(start, parts[name].chain, counts)
        else:
            moved.encoders[g].load_state_dict(module.encoders[old[name]].state_dict())
            _copy_books(module, moved, _books(module, old[name]), start)
    if moved.layout.latent_width == module.layout.latent_width:
        moved.correction.load_state_dict(module.correction.state_dict())
        moved.corrects.copy_(module.corrects)
    if not parts:
        return moved
    codes = moved.encode(rows.table, beam)
    tried = [moved, *(_with_settled_tables(moved, rows, codes, r) for r in TABLE_RIDGES)]
    return min(tried, key=lambda network: valid_error(network, judges, beam)[0])


def _with_settled_tables(
    module: CodecModule, rows: Rows, codes: Tensor, ridge: float
) -> CodecModule:
    """Copy in which every table says what the others, with the new codes, leave to be said."""
    moved, weight, holes = copy.deepcopy(module), rows.weight.amax(1), holes_of(rows.weight)
    for prefix in range(1, moved.layout.n_levels + 1):
        books, tables = moved.tables(prefix)
        if not books:
            continue
        output = moved.decode(codes, prefix)
        # What the learned correction adds is no matter of the tables.
        linear = quantize.decode(codes[:, books], tables, rows.table.shape[1])
        left = torch.where(rows.weight > 0, rows.table - output, 0.0)
        found = quantize.refit(left + linear, codes[:, books], tables, ridge, weight, holes)
        for j, table, new in zip(books, tables, found, strict=True):
            moved.delta(prefix, j).add_(new - table)
    return moved


def _coded(name: str, parts: Mapping[str, CategoryCodec], old: Mapping[str, int]) -> bool:
    return bool(parts[name].chain) if name in parts else name in old


def _shell(
    module: CodecModule,
    parts: Mapping[str, CategoryCodec],
    names: Sequence[str],
    old: Mapping[str, int],
    encoders: Mapping[str, nn.Module],
) -> CodecModule:
    """Network of the new layout, its weights not yet set."""
    layouts, sizes, bodies = [], [], {}
    for name in names:
        if name in parts:
            layouts.append(category_layout(parts[name]))
            sizes += [len(words) for words in parts[name].chain]
        else:
            layouts.append(module.layout.categories[old[name]])
            sizes += [len(module.codebooks[j].weight) for j in _books(module, old[name])]
        if name in encoders:
            trained = name not in parts
            body = module.encoders[old[name]].body if trained else encoders[name]
            bodies[name] = copy.deepcopy(body)
    return CodecModule(replace(module.layout, categories=layouts), sizes, bodies)


def _books(module: CodecModule, category: int) -> range:
    return range(*module.layout.spans()[category])


def _counts(part: CategoryCodec, rows: Rows, batch_size: int) -> list[Tensor]:
    """Rows per batch of the codewords of every new codebook."""
    codes = quantize.codes_of(part.latents(rows.table), part.chain, 1)
    share = min(1.0, batch_size / max(len(rows), 1))
    mass = rows.even().weight.amax(1)
    return [
        torch.bincount(codes[:, j], mass, len(words)).clamp_min(0.5) * share
        for j, words in enumerate(part.chain)
    ]


def _copy_books(module: CodecModule, moved: CodecModule, books: range, start: int) -> None:
    levels = module.layout.book_levels
    for place, j in enumerate(books, start):
        moved.codebooks[place].load_state_dict(module.codebooks[j].state_dict())
        for prefix in range(levels[j] + 1, module.layout.n_levels + 1):
            moved.delta(prefix, place).copy_(module.delta(prefix, j))
