"""Tries of :func:`adaptive_vq.tune_categories`: a codec with other bits, trained further."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adaptive_vq import classical, quantize
from adaptive_vq._codebook_sizes import specs_of
from adaptive_vq._moved_network import moved_network
from adaptive_vq._rows import Rows
from adaptive_vq._small_tables import choose_start
from adaptive_vq.classical import CategoryCodec, CategorySpec, StartOptions
from adaptive_vq.estimation import (
    fit_options,
    module_of,
    rows_of,
    seeded,
    store,
)
from adaptive_vq.fitting import Fitted, fit_codec
from adaptive_vq.learning import Judge, bits_of
from adaptive_vq.metrics import category_nmse, reconstruction_nmse
from adaptive_vq.modules import CodecModule
from adaptive_vq.plan import Plan

JUDGES = 0.1
"""Share of the rows to fit on that propose moves; the rows kept aside only judge them."""


@dataclass(frozen=True)
class State:
    """A codec on the way, and its errors on the rows kept aside.

    Attributes
    ----------
    specs : dict of str to CategorySpec
        Every category with the codebooks it has.
    fitted : Fitted
    history : list of dict
        Records of its epochs.
    total : float
        NMSE of the table.
    nmse, summed : dict of str to float
        NMSE and summed squared error of every category.
    """

    specs: dict[str, CategorySpec]
    fitted: Fitted
    total: float
    nmse: dict[str, float]
    summed: dict[str, float]

    @property
    def module(self) -> CodecModule:
        """The network."""
        return self.fitted.module

    @property
    def history(self) -> list[dict[str, Any]]:
        """Records of the epochs."""
        return self.fitted.history

    @property
    def bits(self) -> dict[str, int]:
        """Whole bits of every category."""
        return {name: bits_of(spec) for name, spec in self.specs.items()}

    def level_bits(self, name: str) -> list[int]:
        """Whole bits of a category per level."""
        return [sum((k - 1).bit_length() for k in level) for level in self.specs[name].sizes]


class Bench:
    """Rows to fit on, rows kept aside, and the judge that proposes moves.

    Parameters
    ----------
    codec : HierarchicalVQVAE
        Fitted on `X`.
    X, aside : table
        Rows to fit on, rows kept aside; as they reach the codec.
    max_epochs : int
        Epochs of a try.
    """

    def __init__(self, codec: Any, X: Any, aside: Any, max_epochs: int) -> None:
        self.codec = codec
        Z, observed = codec._codec_rows(X)
        self.Z, self.observed = Z, observed
        self.rows = rows_of(Z, observed, None)
        inner, given = codec._inner_and_given(aside)
        self.target = codec.units_.targets(given)
        coded = codec._imputer.transform(codec.units_.to_codec(inner))
        self.aside = torch.from_numpy(np.ascontiguousarray(coded))
        plan = plan_of(codec)
        self.options = replace(fit_options(codec, plan, observed), may_grow=False, may_move=False)
        training = replace(self.options.training, max_epochs=max_epochs)
        self.options = replace(self.options, training=training)
        self.budget = codec.budget_
        start = specs_as_fitted(codec)
        self.fit_rows, self.judges = _apart(self.rows.observed(), self.options.seed)
        self.judge = Judge(
            self.fit_rows.table,
            self.fit_rows.weight.amax(1),
            self.judges.table,
            list(start.values()),
            self.options.seed,
            self.judges.weight.amax(1),
            quantize.most_bits(self.options.most_codewords),
        )

    def start(self) -> State:
        """The codec as it was fitted."""
        module = module_of(self.codec)
        codes = module.encode(self.rows.table, self.options.beam, joint=self.options.joint)
        fitted = Fitted(module, codes, self.codec.history_, self.codec.n_iter_, None, [])
        return self._state(specs_as_fitted(self.codec), fitted)

    def proposal(self, state: State, taker: str, n_bits: int) -> dict[str, int] | None:
        """Bits of a category and of the one that misses `n_bits` least, after the move."""
        best = max(self.judge.moves(state.bits, n_bits, [taker]), default=None)
        if best is None:
            return None
        return {
            taker: state.bits[taker] + n_bits,
            best.giver: state.bits[best.giver] - n_bits,
        }

    def attempt(self, state: State, bits: Mapping[str, int]) -> State | None:
        """Go on from a codec with other bits; None where that would not keep to the budget."""
        specs = {**state.specs, **{name: self.judge.spec(name, b) for name, b in bits.items()}}
        parts = {name: self._started(specs[name]) for name in bits}
        with seeded(self.options):
            before = moved_network(
                state.module,
                parts,
                list(specs),
                self.fit_rows,
                self.judges,
                self.options.training.batch_size,
                self.options.beam,
                self.options.encoders,
            )
            if _spent(before) > self.budget + 1e-6:
                return None
            n_levels = before.layout.n_levels
            fitted = fit_codec(
                self.rows,
                list(specs.values()),
                n_levels,
                self.options,
                lambda *_: False,
                before,
            )
        return self._state(_with_sizes(specs, fitted.module), fitted)

    def _started(self, spec: CategorySpec) -> CategoryCodec:
        """Classical start of a category, smoothed where the rows that propose moves ask for it."""
        judge = self.judge
        options = StartOptions(self.options.seed, may_spread=not self.options.joint)
        spec, width = choose_start(judge.table, spec, judge.weight, options, may_split=False)
        rows = self.rows.observed()
        return classical.fit_category(rows.table, spec, rows.weight.amax(1), options, width)

    def _state(self, specs: dict[str, CategorySpec], fitted: Fitted) -> State:
        module, categories = fitted.module, self.codec.categories_
        reference = self.codec.units_.reference_
        codes = module.encode(self.aside, self.options.beam, joint=self.options.joint)
        output = module.decode(codes, module.layout.n_levels).numpy().astype(np.float64)
        error = np.nan_to_num((self.target - output) ** 2)
        return State(
            specs,
            fitted,
            float(reconstruction_nmse(self.target, output, reference=reference)),
            category_nmse(self.target, output, categories, reference=reference),
            {name: float(error[:, columns].sum()) for name, columns in categories.items()},
        )


def _apart(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit on, and rows that propose moves."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    n_judges = max(1, int(JUDGES * len(rows)))
    few, most = order[:n_judges], order[n_judges:]
    return rows.take(most), rows.take(few)


def plan_of(codec: Any) -> Plan:
    """Plan of a fitted codec, as far as a fit depends on it."""
    return Plan(
        "tuned",
        codec.budget_,
        codec._layout["n_levels"],
        codec.categories_,
        codec.ratios_,
        codec.bits_,
    )


def specs_as_fitted(codec: Any) -> dict[str, CategorySpec]:
    """Categories of a fitted codec with the codebooks that they have."""
    plan = replace(plan_of(codec), budget=math.inf)  # type: ignore[arg-type]
    asked = {spec.name: spec for spec in specs_of(plan, "auto")}
    return _with_sizes(asked, module_of(codec))


def _with_sizes(specs: Mapping[str, CategorySpec], module: CodecModule) -> dict[str, CategorySpec]:
    sizes: dict[str, list[list[int]]] = {
        name: [[] for _ in range(module.layout.n_levels)] for name in specs
    }
    for (start, end), category in zip(module.layout.spans(), module.layout.categories, strict=True):
        for level, book in zip(category.levels, module.codebooks[start:end], strict=True):
            sizes[category.name][level].append(len(book.weight))
    return {name: replace(spec, sizes=sizes[name]) for name, spec in specs.items()}


def _spent(module: CodecModule) -> float:
    return sum(math.log2(len(book.weight)) for book in module.codebooks)


def settle(codec: Any, plan: Plan, state: State, X: Any, refit: bool) -> None:
    """Make a codec what tuning has found: the best try, or a fit of its bits to `X`.

    Parameters
    ----------
    codec : HierarchicalVQVAE
        Fitted; changed in place.
    plan : Plan
        With the bits as they ended.
    state : State
        The best try.
    X : table
        Rows as they reach the codec.
    refit : bool
    """
    Z, observed = codec._codec_rows(X)
    codec.n_capped_ = codec._count_capped(*codec._inner_and_given(X))
    specs, fitted = list(state.specs.values()), state.fitted
    if refit:
        options = fit_options(codec, plan, observed)
        rows = rows_of(Z, observed, None)
        with seeded(options):
            fitted = fit_codec(rows, specs, plan.n_levels, options, lambda *_: False)
    moves = getattr(codec, "moves_", None)
    store(codec, plan, specs, fitted, Z, observed, None)
    if moves is not None:
        codec.moves_ = moves  # tuning went on from what the fit had learned to move
