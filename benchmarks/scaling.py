"""``scaling``: time and memory of a fit, and how they grow with the rows of the table."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.measure import timed
from benchmarks.report import Results, Rows, use_threads
from benchmarks.speed import generated, peak_mb

_HELD = 2_000


def measure(table: Path, held: Path, seed: int, threads: int) -> dict[str, Any]:
    """Time a fit of a float32 table in memory; run in a process of its own.

    Memory is the peak of the process over the size of the table: as a whole, and without what the
    process held before it read the table (Python and its libraries).
    """
    from adaptive_vq import HierarchicalVQVAE, estimation

    use_threads(threads)
    codec, before = HierarchicalVQVAE(random_state=seed), peak_mb()
    assert estimation  # loaded with torch before memory is looked at
    load, X = os.getloadavg()[0], np.load(table)
    _, seconds = timed(lambda: codec.fit(X))
    megabytes, peak = X.nbytes / 2**20, peak_mb()
    return {
        "fit_seconds": seconds,
        "table_mb": megabytes,
        "peak_mb": peak,
        "peak_per_table": peak / megabytes,
        "added_per_table": (peak - before) / megabytes,
        "nmse": 1.0 - codec.score(np.load(held)),
        "load_before": load,
    }


def run(
    results: Results,
    rows: Sequence[int],
    columns: int,
    categories: int,
    seeds: Sequence[int],
    threads: int,
) -> None:
    """Fit generated tables of growing length."""
    context = multiprocessing.get_context("spawn")
    for seed in seeds:
        for n_rows in rows:
            name = f"{n_rows}x{columns}x{categories}"
            print(f"{name}, seed {seed}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                table, held = Path(folder) / "table.npy", Path(folder) / "held.npy"
                split = generated(name, seed)
                assert split is not None
                np.save(table, split.train)
                np.save(held, split.held[:_HELD])
                del split
                with context.Pool(1) as pool:
                    row = pool.apply(measure, (table, held, seed, threads))
            shape = {"n_train": n_rows, "columns": columns, "categories": categories}
            results.add(shape | {"seed": seed} | row)


def exponent(rows: Rows, key: str = "fit_seconds") -> float:
    """Slope of a figure over the number of rows, both as logarithms; 1 is in proportion."""
    n, values = report.values(rows, "n_train"), report.values(rows, key)
    if len(set(n)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(n), np.log(values), 1)[0])


def summarize(rows: Rows) -> str:
    """Table of one run, and how the time grows."""
    head = ["rows", "columns", "categories", "fit s", "table MB", "peak MB"]
    head += ["peak / table", "added / table", "held-out NMSE"]
    lines = []
    for n_rows in dict.fromkeys(report.values(rows, "n_train")):
        cell = report.pick(rows, n_train=n_rows)
        figures = [("fit_seconds", 1), ("table_mb", 0), ("peak_mb", 0)]
        figures += [("peak_per_table", 2), ("added_per_table", 2), ("nmse", 4)]
        lines.append(
            [str(cell[0][key]) for key in ("n_train", "columns", "categories")]
            + [report.number(report.mean(cell, key), digits) for key, digits in figures]
        )
    table = report.table(head, lines, n_text=0)
    grows = f"Time of a fit grows as rows to the power of {exponent(rows):.2f}."
    return f"### Time and memory of a fit\n\n{table}\n\n{grows}"
