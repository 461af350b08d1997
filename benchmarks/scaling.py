"""``scaling``: time and memory of a fit, and how they grow with rows and columns of the table."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.report import Results, Rows
from benchmarks.speed import generated

_HELD = 2_000


def measure(
    table: Path, held: Path, seed: int, threads: int, bits: int | None = None
) -> dict[str, Any]:
    """Fit a stored table in a process of its own, which loads what the fit needs and no more."""
    numbers = [seed, threads, *([] if bits is None else [bits])]
    command = [sys.executable, "-m", "benchmarks.one_fit", table, held, *map(str, numbers)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The fit failed: {done.stderr.strip()}")
    return dict(json.loads(done.stdout))


def run(
    results: Results,
    rows: Sequence[int],
    columns: Sequence[int],
    categories: int,
    bits: int | None,
    dtype: str,
    seeds: Sequence[int],
    threads: int,
) -> None:
    """Fit generated tables of growing length and width, of cells of a type."""
    for seed, n_rows, n_columns in itertools.product(seeds, rows, columns):
        name = f"{n_rows}x{n_columns}x{categories}"
        print(f"{name}, seed {seed}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            table, held = Path(folder) / "table.npy", Path(folder) / "held.npy"
            split = generated(name, seed)
            assert split is not None
            np.save(table, split.train.astype(dtype, copy=False))
            np.save(held, split.held[:_HELD])
            del split
            row = measure(table, held, seed, threads, bits)
        shape = {"n_train": n_rows, "columns": n_columns, "categories": categories}
        results.add(shape | {"dtype": dtype, "seed": seed} | row)


def exponent(rows: Rows, key: str = "cpu_seconds", over: str = "n_train") -> float:
    """Slope of a figure over the number of rows or columns, both as logarithms.

    1 is in proportion; nan where there is one number only.
    """
    n, values = [row[over] for row in rows], [row[key] for row in rows]
    if len(set(n)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(n), np.log(values), 1)[0])


def _growth(rows: Rows) -> list[str]:
    """A sentence for every direction in which tables grow."""
    lines = []
    for over, word, fixed in (("n_train", "rows", "columns"), ("columns", "columns", "rows")):
        key = "n_train" if fixed == "rows" else fixed
        for size in report.values(rows, key):
            power = exponent(report.pick(rows, **{key: size}), over=over)
            if not np.isnan(power):
                grows = f"grows as {word} to the power of {power:.2f}"
                lines.append(f"At {size} {fixed} the processor time of a fit {grows}.")
    return lines


def summarize(rows: Rows) -> str:
    """Table of one run, and how the time grows."""
    head = ["rows", "columns", "categories", "bits", "fit s", "CPU s", "table MB", "MB before"]
    head += ["peak MB", "peak / table", "added / table", "held-out NMSE"]
    lines = []
    shapes = dict.fromkeys((row["n_train"], row["columns"]) for row in rows)
    for n_rows, n_columns in shapes:
        cell = report.pick(rows, n_train=n_rows, columns=n_columns)
        figures = [
            ("n_bits", 0),
            ("fit_seconds", 1),
            ("cpu_seconds", 1),
            ("table_mb", 0),
            ("before_mb", 0),
            ("peak_mb", 0),
        ]
        figures += [("peak_per_table", 2), ("added_per_table", 2), ("nmse", 4)]
        lines.append(
            [str(cell[0][key]) for key in ("n_train", "columns", "categories")]
            + [report.number(report.mean(cell, key), digits) for key, digits in figures]
        )
    table = report.table(head, lines, n_text=0)
    return "\n\n".join(["### Time and memory of a fit", table, *_growth(rows)])
