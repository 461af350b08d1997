"""``speed``: time and memory, each method in a process of its own, and how they grow with rows."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.measure import timed
from benchmarks.memory import peak_mb
from benchmarks.methods import build
from benchmarks.protocol import Matrix, Split, load_table, prepare
from benchmarks.report import Results, Rows, use_threads

RIVAL = "rq_beam5"
_NOISE = 0.05
_REPEATS = 3
_COLUMNS_PER_FACTOR = 3


def grown(A: Matrix, factor: int, seed: int) -> Matrix:
    """So many times the rows: each again with a little noise, so that no two are the same."""
    if factor == 1:
        return A
    rng = np.random.default_rng(seed)
    rows = np.tile(A, (factor, 1))
    rows += _NOISE * rng.standard_normal(rows.shape, dtype=np.float32)
    return rows


def generated(name: str, seed: int) -> Split | None:
    """Make the table of a name like ``100000x64x6``: rows, columns, categories; None for others.

    A category is a few factors, mixed, plus noise. A tenth of the rows is held out beside them.
    """
    shape = re.fullmatch(r"(\d+)x(\d+)x(\d+)", name)
    if shape is None:
        return None
    n_rows, n_columns, n_categories = map(int, shape.groups())
    rng = np.random.default_rng(seed)
    n_held = min(max(n_rows // 10, 1_000), 20_000)
    rows = np.empty((n_rows + n_held, n_columns), dtype=np.float32)
    for columns in np.array_split(np.arange(n_columns), n_categories):
        width = max(1, len(columns) // _COLUMNS_PER_FACTOR)
        mixing = rng.standard_normal((width, len(columns)), dtype=np.float32) / math.sqrt(width)
        rows[:, columns] = rng.standard_normal((len(rows), width), dtype=np.float32) @ mixing
        rows[:, columns] += _NOISE * rng.standard_normal((len(rows), len(columns)))
    train, held = rows[:n_rows], rows[n_rows:]
    return Split(name, train, held, np.arange(n_columns))


def measure(split: Split, method: str, bits: int, seed: int, threads: int) -> dict[str, Any]:
    """Time one method; run in a fresh process, so that the peak of memory is its own."""
    use_threads(threads)
    before, load = peak_mb(), os.getloadavg()[0]
    codec = build(method, bits, seed)
    _, fit = timed(lambda: codec.fit(split.train))
    codes, encode = timed(lambda: codec.encode(split.held), _REPEATS)
    _, decode = timed(lambda: codec.decode(codes), _REPEATS)
    return {
        "fit_seconds": fit,
        "encode_rows_per_second": len(split.held) / encode,
        "decode_rows_per_second": len(split.held) / decode,
        "peak_mb": peak_mb(),
        "added_mb": peak_mb() - before,
        "load_before": load,
    }


def run(
    results: Results,
    sets: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
    factors: Sequence[int],
    threads: int,
) -> None:
    """Measure every method on every set, at every number of rows."""
    context = multiprocessing.get_context("spawn")
    for name in sets:
        for seed in seeds:
            split = generated(name, seed) or prepare(load_table(name), seed)
            for factor in factors:
                larger = replace(split, train=grown(split.train, factor, seed))
                for budget in bits:
                    for method in methods:
                        cell = {"set": name, "method": method, "budget": budget, "seed": seed}
                        print(f"{name} x{factor} {budget} bits: {method}", file=sys.stderr)
                        with context.Pool(1) as pool:
                            row = pool.apply(measure, (larger, method, budget, seed, threads))
                        results.add(cell | {"factor": factor, "n_train": len(larger.train)} | row)


def summarize(rows: Rows) -> str:
    """Tables of one run; ratios are to faiss' residual quantizer in the same run."""
    head = ["set", "method", "bits", "rows", "fit s", "encode rows/s", "decode rows/s"]
    head += ["peak MB", "added MB", f"fit / {RIVAL}", f"encode / {RIVAL}"]
    keys = ["fit_seconds", "encode_rows_per_second", "decode_rows_per_second"]
    keys += ["peak_mb", "added_mb"]
    lines = []
    for where in _cells(rows):
        cell = report.pick(rows, **where)
        rival = report.pick(rows, **{**where, "method": RIVAL})
        numbers = {key: report.mean(cell, key) for key in keys}
        against = [
            numbers[key] / report.mean(rival, key) if rival else math.nan for key in keys[:2]
        ]
        lines.append(
            [where["set"], where["method"], str(where["budget"]), str(cell[0]["n_train"])]
            + [report.number(numbers["fit_seconds"], 2)]
            + [report.number(numbers[key], 0) for key in keys[1:]]
            + [report.number(value, 2) for value in against]
        )
    return "### Time and memory\n\n" + report.table(head, lines, n_text=2)


def _cells(rows: Rows) -> list[dict[str, Any]]:
    keys = ("set", "budget", "factor", "method")
    distinct = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    return [dict(zip(keys, cell, strict=True)) for cell in distinct]
