"""``synthetic``: distance to Shannon's limit on Gaussian sources whose limit is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_vq.datasets import make_gaussian_table
from adaptive_vq.metrics import gaussian_distortion_rate
from benchmarks import report
from benchmarks.methods import rows_of
from benchmarks.protocol import Categories, Split
from benchmarks.report import Results, Rows

#: Codewords are expected to be used evenly where each has so many training rows.
ROWS_PER_CODEWORD = 39


@dataclass(frozen=True)
class Source:
    """A Gaussian source: shape of its spectrum, columns, bits per row and training rows."""

    spectrum: Any
    n_columns: int
    bits: int
    n_train: int


SOURCES = {
    "iid": Source("iid", 32, 32, 20_000),
    "ar1": Source("ar1", 32, 32, 20_000),
    "power": Source("power", 64, 64, 8_000),
    "blocks": Source("blocks", 60, 64, 10_000),
}


def draw_source(
    name: str, seed: int, *, n_train: int | None = None, n_held: int = 10_000
) -> tuple[Split, Categories, np.ndarray[Any, Any]]:
    """Draw training rows and rows kept aside.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    seed : int
        Seed of structure and rows.
    n_train, n_held : int
        Numbers of rows; None takes the source's own.

    Returns
    -------
    split : Split
        Centered rows, not scaled: the limit is that of the source as it is.
    categories : dict of str to ndarray of int64
        The true categories.
    eigenvalues : ndarray of shape (n_columns,)
        Spectrum of the true covariance.
    """
    source = SOURCES[name]
    count = source.n_train if n_train is None else n_train
    drawn = make_gaussian_table(
        count + n_held, source.n_columns, spectrum=source.spectrum, random_state=seed
    )
    A = drawn.data.to_numpy()
    train, held = A[:count], A[count:]
    mean = train.mean(axis=0)
    position = {column: i for i, column in enumerate(drawn.feature_names)}
    categories = {
        category: np.array([position[column] for column in columns])
        for category, columns in drawn.categories.items()
    }
    split = Split(
        name,
        (train - mean).astype(np.float32),
        (held - mean).astype(np.float32),
        np.arange(source.n_columns),
    )
    return split, categories, drawn.eigenvalues


def run(
    results: Results, sources: Sequence[str], methods: Sequence[str], seeds: Sequence[int]
) -> None:
    """Measure every method on every source; ours with one category and with the true ones."""
    for name in sources:
        for seed in seeds:
            split, true, eigenvalues = draw_source(name, seed)
            whole = {"all": np.arange(split.train.shape[1])}
            for label, given in {"one category": whole, "true categories": true}.items():
                if label == "one category" or len(true) > 1:
                    chosen = methods if given is whole else [m for m in methods if "ours" in m]
                    for row in rows_of(chosen, split, SOURCES[name].bits, seed, true, given=given):
                        results.add(row | gaps(row, eigenvalues) | {"given": label})


def gaps(row: dict[str, Any], eigenvalues: np.ndarray[Any, Any]) -> dict[str, float]:
    """Distance to the limit at the bits really spent, in dB, and to the training error."""
    limit = float(gaussian_distortion_rate(eigenvalues, row["bits"])) / float(eigenvalues.sum())
    even = [
        share
        for share, size in zip(row["use_train"]["perplexity_share"], row["sizes"], strict=True)
        if size <= row["n_train"] / ROWS_PER_CODEWORD
    ]
    return {
        "limit": limit,
        "gap_db": decibel(row["nmse"] / limit),
        "overfit_db": decibel(row["nmse"] / row["train_nmse"]),
        "least_perplexity_share": min(even, default=math.nan),
    }


def decibel(ratio: float) -> float:
    """Ratio of two distortions in dB."""
    return 10 * math.log10(ratio)


def summarize(rows: Rows) -> str:
    """Tables of one run."""
    keys = ["bits", "limit", "nmse", "gap_db", "overfit_db", "utilization"]
    keys += ["least_perplexity_share", "fit_seconds"]
    lines = []
    for name in report.values(rows, "set"):
        for given in report.values(report.pick(rows, set=name), "given"):
            cell = report.pick(rows, set=name, given=given)
            for method in report.values(cell, "method"):
                at = report.pick(cell, method=method)
                numbers = [report.number(report.mean(at, key), 3) for key in keys]
                worst = report.number(max(row["gap_db"] for row in at), 3)
                lines.append([name, method, given, *numbers, worst])
    head = ["source", "method", "categories", "bits", "D(R)", "NMSE", "gap dB", "held - train dB"]
    head += ["codewords used", "least perplexity / size", "fit s", "worst gap dB"]
    return "### Gap to the distortion-rate function: mean over seeds\n\n" + report.table(
        head, lines, n_text=3
    )
