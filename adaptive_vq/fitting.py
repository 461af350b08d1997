"""From a plan and rows to a fitted network: start, freed bits, joint tables, training, clean-up (torch only)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from adaptive_vq import classical, quantize
from adaptive_vq.classical import CategoryCodec, CategorySpec, Codec, StartOptions
from adaptive_vq.modules import CodecModule, layout_of
from adaptive_vq.training import Rows, TrainingOptions, train

FOLD_IN_ROWS = 20_000
"""Up to this many training rows, the rows kept aside are folded back in once everything is decided."""

MIN_GAIN = 0.002
"""Relative gain on the rows kept aside below which training counts as not having helped."""


@dataclass(frozen=True)
class FitOptions:
    """What the estimator passes on."""

    budget: float
    may_grow: bool
    beam: int
    hidden: int
    embedding: int
    dropout: float
    validation_fraction: float
    early_stopping: bool
    training: TrainingOptions
    encoders: Mapping[str, nn.Module] | None = None

    @property
    def seed(self) -> int:
        """Seed of everything random in the fit."""
        return self.training.seed


@dataclass
class Fitted:
    """A fitted network and how it came about."""

    module: CodecModule
    specs: list[CategorySpec]
    history: list[dict[str, Any]]
    n_epochs: int
    codes: Tensor


@dataclass(frozen=True)
class Decided:
    """What the rows kept aside have decided, so that a refit on all rows can repeat it."""

    specs: list[CategorySpec]
    bootstraps: dict[str, float]
    ridges: list[float]


def fit_codec(
    table: Tensor,
    weight: Tensor,
    specs: list[CategorySpec],
    n_levels: int,
    options: FitOptions,
    on_epoch: Callable[[dict[str, Any], CodecModule], bool],
) -> Fitted:
    """Fit start and network, restore the best weights, fold the rows kept aside back in, drop unused codewords.

    Parameters
    ----------
    table : Tensor of shape (n, n_features)
        Training rows in codec units, missing cells filled.
    weight : Tensor of shape (n, n_features)
        Weight of every cell, 0 where it was missing.
    specs : list of CategorySpec
        Categories that have any bits.
    n_levels : int
    options : FitOptions
    on_epoch : callable
        Called after every epoch; True stops the training.
    """
    rows = Rows(table, weight)
    kept_aside = _split(rows, options)
    fit_rows, valid = (rows, None) if kept_aside is None else kept_aside
    decided, codec = _start(fit_rows, valid, specs, n_levels, options)
    module = _network(codec, fit_rows, options)
    history, improved = train(module, fit_rows, valid, options.training, on_epoch)
    n_epochs = max((r["epoch"] for r in history if r["best"]), default=0) if improved else 0
    if n_epochs and valid is not None and not _worthwhile(history):
        n_epochs = 0
    if valid is not None and len(rows) <= FOLD_IN_ROWS:
        module = _fold_in(rows, decided, n_levels, n_epochs, options)
    elif valid is not None and n_epochs == 0:
        module = _network(codec, fit_rows, options)
    module.corrects.fill_(n_epochs > 0)
    codes = module.encode(table, options.beam)
    module, codes = without_unused(module, codes)
    return Fitted(module, decided.specs, history, n_epochs, codes)


def _split(rows: Rows, options: FitOptions) -> tuple[Rows, Rows] | None:
    n_valid = int(options.validation_fraction * len(rows))
    if not options.early_stopping or n_valid < 2:
        return None
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(options.seed))
    aside, fit = order[:n_valid], order[n_valid:]
    return Rows(rows.table[fit], rows.weight[fit]), Rows(rows.table[aside], rows.weight[aside])


def _start(
    rows: Rows, valid: Rows | None, specs: list[CategorySpec], n_levels: int, options: FitOptions
) -> tuple[Decided, Codec]:
    """Classical start; the rows kept aside choose the smoothing and the ridges."""
    start = StartOptions(options.seed)
    row_weight = rows.weight.amax(1)
    bootstraps = {
        spec.name: 0.0
        if valid is None
        else classical.choose_bootstrap(rows.table, valid.table, spec, row_weight, start)
        for spec in specs
    }
    parts = [
        classical.fit_category(rows.table, spec, row_weight, start, bootstraps[spec.name])
        for spec in specs
    ]
    if options.may_grow:
        parts = _offer_freed_bits(rows, parts, n_levels, options)
    codec = _codec(rows, parts, n_levels)
    judged = None if valid is None else (valid.table, valid.weight)
    classical.fit_tables(codec, rows.table, rows.weight == 0, row_weight, judged, start.beam)
    specs = [part.spec for part in parts]
    return Decided(specs, {s.name: bootstraps.get(s.name, 0.0) for s in specs}, codec.ridges), codec


def _codec(rows: Rows, parts: list[CategoryCodec], n_levels: int) -> Codec:
    mass = rows.weight.double()
    reference = ((mass * rows.table.double()).sum(0) / mass.sum(0).clamp_min(1e-30)).float()
    return Codec(rows.table.shape[1], n_levels, parts, classical.offset_of(parts, reference))


def _spent(parts: list[CategoryCodec]) -> float:
    return sum(math.log2(len(codebook)) for part in parts for codebook in part.chain)


def _offer_freed_bits(
    rows: Rows, parts: list[CategoryCodec], n_levels: int, options: FitOptions
) -> list[CategoryCodec]:
    """Offer bits that shrunken codebooks have freed to the categories that still have an error."""
    weight, full = rows.weight.amax(1), set[str]()
    for _ in range(8):
        free = math.floor(options.budget - _spent(parts) + 1e-6)
        if free < 1:
            break
        gifts = _gifts(rows, parts, full, free)
        if not gifts:
            break
        grown = []
        for part in parts:
            gift = gifts.get(part.spec.name, 0)
            if gift:
                spec = replace(part.spec, sizes=_grown(part, gift))
                bigger = classical.fit_category(
                    rows.table, spec, weight, StartOptions(options.seed), part.bootstrap
                )
                if _spent([bigger]) <= _spent([part]) + 1e-6:
                    full.add(part.spec.name)
                    bigger = part
                part = bigger
            grown.append(part)
        if _spent(grown) > options.budget + 1e-6:
            break
        parts = grown
    return parts


def _gifts(rows: Rows, parts: list[CategoryCodec], full: set[str], free: int) -> dict[str, int]:
    """One bit at a time to the category with the largest error left, taking each bit to halve it."""
    errors = {
        p.spec.name: classical.category_error(p, rows.table, 4)
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


def _grown(part: CategoryCodec, gift: int) -> list[list[int]]:
    """Sizes as they came out, with `gift` more bits in the last level that has any."""
    sizes: list[list[int]] = [[] for _ in part.spec.sizes]
    for codebook, level in zip(part.chain, part.levels, strict=True):
        sizes[level].append(len(codebook))
    last = max((i for i, level in enumerate(sizes) if level), default=0)
    while gift > 0:
        tail = sizes[last][-1] if sizes[last] else 0
        room = quantize.MAX_CODEBOOK_BITS - math.ceil(math.log2(tail)) if tail else 0
        step = min(gift, room)
        if step > 0:
            sizes[last][-1] = tail * 2**step
        else:
            step = min(gift, quantize.MAX_CODEBOOK_BITS)
            sizes[last].append(2**step)
        gift -= step
    return sizes


def _network(codec: Codec, rows: Rows, options: FitOptions) -> CodecModule:
    """Network that starts as the classical codec; running counts are rows per batch."""
    layout = layout_of(codec, options.hidden, options.embedding, options.dropout)
    sizes = [len(codebook) for part in codec.parts for codebook in part.chain]
    codes = classical.encode(codec.parts, rows.table, 1)
    share = min(1.0, options.training.batch_size / max(len(rows), 1))
    counts = [
        torch.bincount(codes[:, j], minlength=size).float().clamp_min(0.5) * share
        for j, size in enumerate(sizes)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        module = CodecModule(layout, sizes, options.encoders)
    module.start_from(codec, counts)
    return module


def _worthwhile(history: list[dict[str, Any]]) -> bool:
    errors = [r["valid_nmse"] for r in history if r["best"]]
    return bool(errors) and errors[-1] <= (1 - MIN_GAIN) * history[0]["start_nmse"]


def _fold_in(
    rows: Rows, decided: Decided, n_levels: int, n_epochs: int, options: FitOptions
) -> CodecModule:
    """Repeat the fit on all rows with everything as decided, for as many epochs as were best."""
    start, weight = StartOptions(options.seed), rows.weight.amax(1)
    parts = [
        classical.fit_category(rows.table, spec, weight, start, decided.bootstraps[spec.name])
        for spec in decided.specs
    ]
    if (
        _spent(parts) > options.budget + 1e-6
    ):  # more rows, more distinct ones: keep within the budget
        parts = [_capped(part, rows, start, weight) for part in parts]
    codec = _codec(rows, parts, n_levels)
    codec.ridges = list(decided.ridges)
    classical.fit_tables(codec, rows.table, rows.weight == 0, weight, None, start.beam)
    module = _network(codec, rows, options)
    if n_epochs:
        train(module, rows, None, replace(options.training, max_epochs=n_epochs), lambda *_: False)
    return module


def _capped(part: CategoryCodec, rows: Rows, start: StartOptions, weight: Tensor) -> CategoryCodec:
    sizes = [[2 ** math.floor(math.log2(size)) for size in level] for level in part.spec.sizes]
    return classical.fit_category(
        rows.table, replace(part.spec, sizes=sizes), weight, start, part.bootstrap
    )


@torch.no_grad()
def without_unused(module: CodecModule, codes: Tensor) -> tuple[CodecModule, Tensor]:
    """Copy of the network without codewords that no row uses, and the codes renumbered."""
    used = [
        torch.bincount(codes[:, j], minlength=len(b.weight)) > 0
        for j, b in enumerate(module.codebooks)
    ]
    if not used or all(bool(u.all()) for u in used):
        return module, codes
    custom = {
        c.name: encoder.body
        for c, encoder in zip(module.layout.categories, module.encoders, strict=True)
    }
    smaller = CodecModule(module.layout, [int(u.sum()) for u in used], custom)
    state = module.state_dict()
    for key in list(state):
        position = _book_of(key)
        if position is not None:
            state[key] = state[key][used[position]]
    smaller.load_state_dict(state)
    new = torch.stack([(u.long().cumsum(0) - 1)[codes[:, j]] for j, u in enumerate(used)], 1)
    return smaller.eval(), new


def _book_of(key: str) -> int | None:
    """Codebook that a weight of the network belongs to, by its name."""
    if key.startswith("codebooks."):
        return int(key.split(".")[1])
    if key.startswith("delta_"):
        return int(key.rsplit("_", 1)[1])
    return None
