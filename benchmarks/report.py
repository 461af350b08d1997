"""Results as JSON with what made them, and as Markdown tables."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    "adaptive-vq",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "torch",
    "skorch",
    "faiss-cpu",
    "vector-quantize-pytorch",
)
Rows = list[dict[str, Any]]


def use_threads(n_threads: int) -> None:
    """Give every library the same number of threads."""
    import torch

    torch.set_num_threads(n_threads)
    try:
        import faiss
    except ImportError:  # only the faiss peers need it
        return
    faiss.omp_set_num_threads(n_threads)


def environment(n_threads: int) -> dict[str, Any]:
    """Versions and machine, for the results."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": n_threads,
    }


class Results:
    """Rows of one command; written after every row, so that an interrupted run keeps its part.

    Parameters
    ----------
    command : str
        Name of the benchmark.
    arguments : mapping
        How it was called.
    path : Path or None
        File to write; None writes nothing.
    """

    def __init__(self, command: str, arguments: Mapping[str, Any], path: Path | None) -> None:
        self.head = {
            "command": command,
            "arguments": dict(arguments),
            "environment": environment(arguments["threads"]),
        }
        self.path = path
        self.rows: Rows = []

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row."""
        self.rows.append(row)
        if self.path is not None:
            text = json.dumps({**self.head, "rows": self.rows}, indent=1, default=_plain)
            self.path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"Results hold JSON values only; got {type(value).__name__}.")


def pick(rows: Iterable[Mapping[str, Any]], **where: Any) -> Rows:
    """Rows in which every named entry has the given value."""
    return [dict(r) for r in rows if all(r.get(key) == value for key, value in where.items())]


def values(rows: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """Distinct values of an entry, in order of first appearance."""
    return list(dict.fromkeys(row[key] for row in rows))


def mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Mean of an entry over rows; nan for no rows."""
    return float(np.mean([row[key] for row in rows])) if rows else math.nan


def geometric_mean(ratios: Iterable[float]) -> float:
    """Geometric mean of the ratios that are known; nan if none is."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return float(np.exp(np.mean(np.log(known)))) if known else math.nan


def number(value: float, digits: int = 4) -> str:
    """A number for a table; empty if unknown."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]], n_text: int = 1) -> str:
    """A Markdown table; the first `n_text` columns are text, the others are numbers."""
    rule = ["---"] * n_text + ["---:"] * (len(head) - n_text)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def grid(
    rows: Rows,
    index: str,
    columns: str,
    cell: Callable[[Rows], str],
    corner: str = "",
) -> str:
    """A Markdown table with one line per value of `index` and one column per value of `columns`."""
    names = values(rows, columns)
    lines = [
        [str(i), *[cell(pick(rows, **{index: i, columns: name})) for name in names]]
        for i in values(rows, index)
    ]
    return table([corner or index, *map(str, names)], lines)


def mean_and_worst(key: str, digits: int = 4) -> Callable[[Rows], str]:
    """Cell of a table: mean over seeds and, where there are several, the worst in parentheses."""

    def cell(rows: Rows) -> str:
        text = number(mean(rows, key), digits)
        worst = max((row[key] for row in rows), default=math.nan)
        return f"{text} ({number(worst, digits)})" if len(rows) > 1 else text

    return cell
