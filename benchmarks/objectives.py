"""``objectives``: one row per objective or network option against the default, same plan and rows.

Every option changes one thing; categories, plan, budget, seed and rows are the same. Each is fitted
as it is used, where training that does not lower the error on rows kept aside is undone, and with
every epoch kept (``early_stopping=False``), which shows what the option does to the training.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from adaptive_vq.datasets import make_feature_families
from adaptive_vq.metrics import reconstruction_nmse, topographic_similarity
from benchmarks import report
from benchmarks.measure import Codes, evaluate, timed
from benchmarks.ours import Ours
from benchmarks.protocol import (
    Categories,
    Matrix,
    Split,
    Table,
    load_table,
    prepare,
    ward_categories,
)
from benchmarks.report import Results, Rows

DEFAULT = "default"
STRATEGY = "rate_distortion"
N_CATEGORIES = 8
_TRAINED = {"codebook_update": "gradient"}

#: What each option changes.
OPTIONS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "no training": {"max_epochs": 0},
    "partial 1": {"partial_weight": 1.0},
    "topographic 1": {"topographic_weight": 1.0},
    "perplexity 0.1": {"perplexity_weight": 0.1},
    "rotation": {"gradient": "rotation"},
    "trained": _TRAINED,
    "trained, orthogonality 0.1": {**_TRAINED, "orthogonality_weight": 0.1},
    "dropout 0": {"dropout": 0.0},
    "relu": {"activation": "relu"},
    "tanh": {"activation": "tanh"},
    "hidden 32": {"group_hidden_dim": 32},
    "embedding 64": {"group_embedding_dim": 64},
    "min rows 40": {"min_rows_per_codeword": 40},
}
KEEP = {"best": True, "all": False}
"""Which epochs are kept: those that lower the error on rows kept aside, or all."""

#: Figures of rows kept aside, and how tables name them.
FIGURES = {
    "nmse": "NMSE",
    "coarse_nmse": "NMSE of level 0",
    "partial_nmse": "partial NMSE",
    "utilization": "utilization",
    "perplexity_share": "perplexity / size",
    "topographic": "topographic similarity",
    "overlap": "squared cosine",
}


def split_of(name: str, seed: int, n_rows: int) -> tuple[Split, Categories]:
    """Rows and categories of a set by name; "families" is made, not read."""
    if name == "families":
        drawn = make_feature_families(2 * n_rows, random_state=seed)
        split = prepare(Table(name, drawn.data.to_numpy()), seed, max_train=n_rows, max_held=n_rows)
        names = list(drawn.feature_names)
        family = {c: kind for kind, columns in drawn.categories.items() for c in columns}
        labels = np.array([family[names[j]] for j in split.columns])
        return split, {kind: np.flatnonzero(labels == kind) for kind in drawn.categories}
    split = prepare(load_table(name), seed, max_train=n_rows, max_held=n_rows)
    return split, ward_categories(split.train, N_CATEGORIES)


class Planned(Ours):
    """``HierarchicalVQVAE`` that follows a plan made once for all options."""

    def __init__(self, selector: Any, bits: int, seed: int, **settings: Any) -> None:
        super().__init__(bits, seed, STRATEGY, None, **settings)
        self.selector = selector

    def fit(self, A: Matrix) -> Self:
        """Fit on rows that carry the plan."""
        from adaptive_vq import HierarchicalVQVAE

        settings = {"scaler": None, "clip": None, "random_state": self.seed, **self.settings}
        self.model = HierarchicalVQVAE(**settings).fit(self.selector.transform(A))
        return self

    def encode(self, A: Matrix) -> Codes:
        """Codes of rows."""
        return super().encode(self.selector.transform(A))

    def embed(self, A: Matrix) -> NDArray[np.floating]:
        """Decoded latents, shape (n, width)."""
        return super().embed(self.selector.transform(A))


def plan_for(train: Matrix, categories: Categories, bits: int) -> Any:
    """Selector fitted on the training rows, in the protocol's units."""
    from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer

    listed = {name: columns.tolist() for name, columns in categories.items()}
    units: dict[str, Any] = {"scaler": None, "clip": None}
    characterizer = FeatureCharacterizer(categories=listed, **units)
    selector = AdaptiveRatioSelector(STRATEGY, bits=bits, characterizer=characterizer, **units)
    return selector.fit(train)


def run(
    results: Results,
    sets: Sequence[str],
    options: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
    n_rows: int,
    keep: Sequence[str],
) -> None:
    """Measure every option on every set with at most `n_rows` training and held-out rows."""
    for name, seed in product(sets, seeds):
        split, categories = split_of(name, seed, n_rows)
        for budget in bits:
            selector = plan_for(split.train, categories, budget)
            for kept, option in product(keep, options):
                print(f"{name} {budget} bits seed {seed} {kept}: {option}", file=sys.stderr)
                settings = {"early_stopping": KEEP[kept], **OPTIONS[option]}
                codec = Planned(selector, budget, seed, **settings)
                named = {"set": name, "keep": kept, "option": option}
                asked = {"seed": seed, "budget": budget}
                results.add(named | asked | _measured(codec, split, categories))


def _measured(codec: Planned, split: Split, categories: Categories) -> dict[str, Any]:
    _, seconds = timed(lambda: codec.fit(split.train))
    row = evaluate(codec, split.train, split.held, categories, repeats=1)
    row |= {"n_train": len(split.train), "fit_seconds": seconds}
    return row | figures(codec, split.held, row)


def figures(codec: Ours, held: Matrix, row: dict[str, Any]) -> dict[str, float]:
    """What the options are named after, on rows kept aside."""
    from adaptive_vq.estimation import module_of
    from adaptive_vq.objectives import Step, overlap, partial_error

    model = codec.model
    coarse = model.inverse_transform(codec.encode(held), n_levels=1)
    module, table = module_of(model), torch.from_numpy(held)
    with torch.no_grad():
        found = module.quantize(table, model.beam_width, 256)
        words = [book.weight for book in module.codebooks]
        step = Step(table, torch.ones_like(table), found.latents, found.codes, words)
        alone = float(partial_error(module, step).sum())
        cosines = float(overlap(words))
    coded = [j for category in module.layout.categories for j in category.columns]
    return {
        "coarse_nmse": reconstruction_nmse(held, coarse, reference=np.zeros(held.shape[1])),
        "partial_nmse": alone / float((held[:, coded].astype(np.float64) ** 2).sum()),
        "utilization": float(np.mean(row["use_held"]["utilization"])),
        "perplexity_share": float(np.mean(row["use_held"]["perplexity_share"])),
        "topographic": topographic_similarity(held, codec.embed(held), random_state=0),
        "overlap": cosines,
        "n_epochs": int(model.n_iter_),
    }


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    parts = []
    for bits, kept in product(report.values(rows, "budget"), report.values(rows, "keep")):
        own = report.pick(rows, budget=bits, keep=kept)
        what = f"{bits} bits, epochs kept: {kept}"
        parts += [_table(own, name, what) for name in report.values(own, "set")]
        parts += [f"## Geometric mean of the ratio to the default, {what}", _ratios(own)]
    return "\n\n".join(parts)


def _table(rows: Rows, name: str, what: str) -> str:
    cell = report.pick(rows, set=name)
    head = ["option", *FIGURES.values(), "epochs", "fit time"]
    base = report.mean(report.pick(cell, option=DEFAULT), "fit_seconds")
    lines = []
    for option in report.values(cell, "option"):
        own = report.pick(cell, option=option)
        values = [report.number(report.mean(own, key)) for key in FIGURES]
        spent = report.number(report.mean(own, "n_epochs"), 1)
        time = report.number(report.mean(own, "fit_seconds") / base, 2)
        lines.append([option, *values, spent, time])
    return f"## {name}, {what}\n\n{report.table(head, lines)}"


def _ratios(rows: Rows) -> str:
    """Mean over sets of each figure over the default's."""
    lines = []
    for option in report.values(rows, "option"):
        each = []
        for key in FIGURES:
            ratios = [
                report.mean(report.pick(rows, set=name, option=option), key)
                / report.mean(report.pick(rows, set=name, option=DEFAULT), key)
                for name in report.values(rows, "set")
                if report.pick(rows, set=name, option=DEFAULT)
            ]
            each.append(report.number(report.geometric_mean(ratios), 3))
        lines.append([option, *each])
    return report.table(["option", *FIGURES.values()], lines)
