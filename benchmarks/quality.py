"""``quality``: error on rows kept aside, ours and peers, at equal bits on real tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.methods import CLASSICAL, is_ours, rows_of
from benchmarks.protocol import load_table, prepare, ward_categories
from benchmarks.report import Results, Rows

#: Errors per category are over these many categories, the same for every method.
N_CATEGORIES = 8


def run(
    results: Results,
    sets: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
    max_train: int = 10_000,
) -> None:
    """Measure every method on every set, at every rate and seed, on so many training rows."""
    for name in sets:
        table = load_table(name)
        for seed in seeds:
            split = prepare(table, seed, max_train=max_train)
            categories = ward_categories(split.train, N_CATEGORIES)
            for budget in bits:
                for row in rows_of(methods, split, budget, seed, categories):
                    results.add(row)


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    parts = []
    for budget in report.values(rows, "budget"):
        at = report.pick(rows, budget=budget)
        parts += [
            f"### NMSE at {budget} bits: mean over seeds (worst)",
            report.grid(at, "set", "method", report.mean_and_worst("nmse")),
            f"### Worst category / median at {budget} bits",
            report.grid(at, "set", "method", report.mean_and_worst("max_median", 2)),
            f"### Codes and time at {budget} bits",
            _practice(at),
        ]
        if any(map(is_ours, report.values(at, "method"))):
            title = f"### Geometric mean over sets of NMSE(ours) / NMSE(peer) at {budget} bits"
            parts += [title, _ratios(at)]
    return "\n\n".join(parts)


def _practice(rows: Rows) -> str:
    head = ["set", "method", "bits", "fit s", "encode rows/s", "decode rows/s"]
    head += ["codewords used", "perplexity / size", "training NMSE"]
    keys = ["bits", "fit_seconds", "encode_rows_per_second", "decode_rows_per_second"]
    keys += ["utilization", "perplexity_share", "train_nmse"]
    digits = [1, 1, 0, 0, 3, 3, 4]
    lines = []
    for name in report.values(rows, "set"):
        for method in report.values(report.pick(rows, set=name), "method"):
            cell = report.pick(rows, set=name, method=method)
            numbers = [report.mean(cell, key) for key in keys]
            shown = [report.number(n, d) for n, d in zip(numbers, digits, strict=True)]
            lines.append([name, method, *shown])
    return report.table(head, lines, n_text=2)


def ratio(rows: Rows, name: str, method: str, peers: Sequence[str]) -> float:
    """NMSE of a method over that of the best of some peers, on one set; nan if one is missing."""
    known = [report.mean(report.pick(rows, set=name, method=peer), "nmse") for peer in peers]
    known = [error for error in known if not math.isnan(error)]
    own = report.mean(report.pick(rows, set=name, method=method), "nmse")
    return own / min(known) if known else math.nan


def _ratios(rows: Rows) -> str:
    sets, methods = report.values(rows, "set"), report.values(rows, "method")
    rivals: dict[str, Sequence[str]] = {"best of PQ, OPQ, RQ, LSQ": CLASSICAL}
    rivals |= {method: [method] for method in methods if not is_ours(method)}
    lines = []
    for method in filter(is_ours, methods):
        for rival, peers in rivals.items():
            each = [ratio(rows, name, method, peers) for name in sets]
            if not all(map(math.isnan, each)):
                mean = report.geometric_mean(each)
                lines.append([f"{method} / {rival}", *(report.number(v, 3) for v in [mean, *each])])
    return report.table(["ratio", "geometric mean", *sets], lines)


def draw(rows: Rows, folder: Path) -> list[Path]:
    """Draw rate against distortion, one picture per set.

    Parameters
    ----------
    rows : list of dict
        Results with several rates.
    folder : Path
        Where ``rate_distortion_<set>.png`` go; made if need be.

    Returns
    -------
    list of Path
        The pictures.
    """
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in report.values(rows, "set"):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes: Any = figure.subplots()
        for method in report.values(rows, "method"):
            cell = report.pick(rows, set=name, method=method)
            points = [
                (report.mean(at, "bits"), report.mean(at, "nmse"))
                for at in (
                    report.pick(cell, budget=b) for b in sorted(report.values(cell, "budget"))
                )
            ]
            if points:
                style = "o-" if is_ours(method) else "s--"
                axes.plot(*zip(*points, strict=True), style, label=method)
        axes.set(xlabel="rate (bits per row)", ylabel="NMSE, rows kept aside", title=name)
        axes.set_yscale("log")
        axes.legend()
        paths.append(folder / f"rate_distortion_{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths
