"""``ablation``: all strategies at equal bits, with the same given categories, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from adaptive_vq.datasets import make_feature_families
from benchmarks import report
from benchmarks.methods import rows_of
from benchmarks.protocol import Categories, Split, Table, load_table, prepare, ward_categories
from benchmarks.report import Results, Rows
from benchmarks.synthetic import SOURCES, draw_source

STRATEGIES = (
    "uniform",
    "variance",
    "dimensionality",
    "information",
    "balanced",
    "water_filling",
    "rate_distortion",
    "minimax",
    "learned",
)
N_CATEGORIES = 8
#: Categories within one family of features, and bits per row for it.
N_PARTS, FAMILY_BITS = 4, 16
_FAMILIES = "families"


def family_splits(seed: int, n_samples: int = 13_334) -> Iterator[tuple[Split, Categories, str]]:
    """The synthetic families: the whole table with its true categories, then each alone.

    Yields
    ------
    split : Split
        Rows of all families, or of one.
    categories : dict of str to ndarray of int64
        The families, or the parts of one.
    kind : str
        ``"families"`` or the family's name.
    """
    drawn = make_feature_families(n_samples, random_state=seed)
    X, names = drawn.data.to_numpy(), list(drawn.feature_names)
    split = prepare(Table(_FAMILIES, X), seed)
    family = {c: kind for kind, columns in drawn.categories.items() for c in columns}
    labels = np.array([family[names[j]] for j in split.columns])
    members = {kind: np.flatnonzero(labels == kind) for kind in drawn.categories}
    yield split, members, _FAMILIES
    for kind in drawn.categories:
        columns = [j for j, column in enumerate(names) if family[column] == kind]
        alone = prepare(Table(f"family: {kind}", X[:, columns]), seed)
        yield alone, ward_categories(alone.train, N_PARTS), kind


def run(
    results: Results,
    sets: Sequence[str],
    strategies: Sequence[str],
    bits: int,
    seeds: Sequence[int],
) -> None:
    """Measure every strategy on every set; "blocks" and "families" are made, not read."""
    for name in sets:
        for seed in seeds:
            for split, categories, budget in _cells(name, bits, seed):
                methods = [f"ours:{strategy}" for strategy in strategies]
                for row in rows_of(methods, split, budget, seed, categories, given=categories):
                    strategy = row["method"].removeprefix("ours:")
                    results.add(row | {"strategy": strategy, "asked_bits": bits})


def _cells(name: str, bits: int, seed: int) -> Iterator[tuple[Split, Categories, int]]:
    if name == _FAMILIES:
        for split, categories, kind in family_splits(seed):
            yield split, categories, bits if kind == _FAMILIES else FAMILY_BITS
    elif name in SOURCES:
        split, categories, _ = draw_source(name, seed)
        yield split, categories, bits
    else:
        split = prepare(load_table(name), seed)
        yield split, ward_categories(split.train, N_CATEGORIES), bits


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    return "\n\n".join(
        f"## {bits} bits\n\n{_tables(report.pick(rows, asked_bits=bits))}"
        for bits in report.values(rows, "asked_bits")
    )


def _tables(rows: Rows) -> str:
    parts = [
        "### NMSE per strategy at equal bits and the same categories: mean over seeds (worst)",
        report.grid(rows, "set", "strategy", report.mean_and_worst("nmse")),
        "### Worst category / median",
        report.grid(rows, "set", "strategy", report.mean_and_worst("max_median", 2)),
        "### NMSE of each strategy over that of `uniform`",
        _against_uniform(rows),
    ]
    families = report.pick(rows, set=_FAMILIES)
    if families:
        spread = [
            {"family": family, "strategy": row["strategy"], "nmse": error}
            for row in families
            for family, error in row["per_category"].items()
        ]
        parts += [
            "### NMSE of each family where all share one budget",
            report.grid(spread, "family", "strategy", report.mean_and_worst("nmse", 3)),
        ]
    return "\n\n".join([*parts, "### Least NMSE per set", _best(rows)])


def _against_uniform(rows: Rows) -> str:
    sets, strategies = report.values(rows, "set"), report.values(rows, "strategy")

    def over_uniform(name: str, strategy: str) -> float:
        base = report.mean(report.pick(rows, set=name, strategy="uniform"), "nmse")
        return report.mean(report.pick(rows, set=name, strategy=strategy), "nmse") / base

    ratios: dict[str, list[float]] = {
        strategy: [over_uniform(name, strategy) for name in sets] for strategy in strategies
    }
    lines = [
        [s, *[report.number(v, 3) for v in [report.geometric_mean(each), *each]]]
        for s, each in ratios.items()
    ]
    return report.table(["strategy", "geometric mean", *sets], lines)


def _best(rows: Rows) -> str:
    lines: list[list[str]] = []
    for name in report.values(rows, "set"):
        cell = report.pick(rows, set=name)
        errors: dict[str, Any] = {
            s: report.mean(report.pick(cell, strategy=s), "nmse")
            for s in report.values(cell, "strategy")
        }
        best = min(errors, key=lambda s: errors[s])
        default = errors.get("balanced", math.nan)
        lines.append([name, best, report.number(errors[best]), report.number(default)])
    return report.table(["set", "strategy", "NMSE", "`balanced`"], lines, n_text=2)
