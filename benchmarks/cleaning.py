"""``cleaning``: a dirty table with and without FeatureCleaner, judged on the same raw cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline

from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
)
from adaptive_vq.datasets import make_feature_families
from adaptive_vq.metrics import category_nmse, reconstruction_nmse
from benchmarks import report
from benchmarks.report import Results, Rows

Categories = dict[str, np.ndarray[Any, np.dtype[np.int64]]]


def dirty_table(n_rows: int, seed: int) -> tuple[pd.DataFrame, Categories]:
    """Feature families with everything that goes wrong, and the columns of every family.

    Cells up to 1e7, kurtosis in the thousands, a column with 40 % missing cells, twins in other
    units, constants, a column that was never observed.
    """
    rng = np.random.default_rng(seed)
    made = make_feature_families(n_rows, random_state=seed)
    table = made.data.copy()
    moment = table["spatial__moment_00"]
    table["spatial__area"] = 1e7 * (moment / moment.abs().max())
    table["spatial__area_again"] = 3.0 - 1e-9 * table["spatial__area"]
    table["spatial__sometimes"] = table["spatial__moment_01"].mask(rng.random(n_rows) < 0.4)
    table["events__always"] = 7.0
    table["residual__never"] = np.nan
    tail = table["summary__mean_00"]
    table["summary__burst"] = np.sinh(6 * (tail - tail.mean()) / tail.std())
    families = np.array([str(name).split("__")[0] for name in table.columns])
    return table, {str(f): np.flatnonzero(families == f) for f in np.unique(families)}


def _largest_kurtosis(table: pd.DataFrame) -> float:
    varying = table.loc[:, table.std() > 1e-9 * table.mean().abs()]
    Z = (varying - varying.mean()) / varying.std()
    return float((Z**4).mean().max()) - 3


def judge(
    train: pd.DataFrame, held: pd.DataFrame, categories: Categories, cleaner: bool, **codec: Any
) -> dict[str, Any]:
    """Errors of one pipeline on raw held-out cells, in standard deviations of the raw columns."""
    first = [FeatureCleaner()] if cleaner else []
    bits = codec.pop("bits")
    pipeline = make_pipeline(
        *first,
        FeatureCharacterizer(),
        AdaptiveRatioSelector(bits=bits),
        HierarchicalVQVAE(random_state=0, **codec),
    )
    pipeline.fit(train)
    output = np.asarray(pipeline.inverse_transform(pipeline.transform(held)), dtype=np.float64)
    mean, std = train.mean().to_numpy(), train.std().to_numpy()
    judged = np.flatnonzero(std > 1e-9 * np.abs(mean))
    scale = np.where(std > 0, std, 1.0)
    Z, Z_hat = ((np.asarray(part) - mean) / scale for part in (held, output))
    place = {int(column): i for i, column in enumerate(judged)}
    found = {
        name: np.array([place[int(c)] for c in columns if int(c) in place])
        for name, columns in categories.items()
    }
    origin = np.zeros(len(judged))
    errors = category_nmse(Z[:, judged], Z_hat[:, judged], found, reference=origin)
    total = reconstruction_nmse(Z[:, judged], Z_hat[:, judged], reference=origin)
    return {
        "cleaner": cleaner,
        "nmse": total,
        "worst": max(errors.values()),
        "per_category": errors,
        "n_dropped": train.shape[1] - pipeline[-1].n_features_in_,
        "n_bits": float(pipeline[-1].n_bits_),
    }


def run(results: Results, bits: Sequence[int], seeds: Sequence[int], n_rows: int) -> None:
    """Fit both pipelines for every seed and budget."""
    for seed in seeds:
        table, categories = dirty_table(n_rows, seed)
        train, held = table.iloc[: 2 * n_rows // 3], table.iloc[2 * n_rows // 3 :]
        nature = {
            "largest": float(train.abs().max().max()),
            "kurtosis": _largest_kurtosis(train),
            "missing": float(train.drop(columns="residual__never").isna().mean().max()),
        }
        for budget in bits:
            for cleaner in (False, True):
                row = judge(train, held, categories, cleaner, bits=budget)
                results.add({"seed": seed, "budget": budget, **nature, **row})


def summarize(rows: Rows) -> str:
    """One line per budget and pipeline, mean over seeds."""
    lines = []
    for budget in report.values(rows, "budget"):
        for cleaner in (False, True):
            cell = report.pick(rows, budget=budget, cleaner=cleaner)
            numbers = [report.mean(cell, key) for key in ("nmse", "worst", "n_dropped", "n_bits")]
            lines.append(
                ["with" if cleaner else "without", str(budget)]
                + [report.number(value) for value in numbers[:2]]
                + [report.number(value, 1) for value in numbers[2:]]
            )
    head = ["FeatureCleaner", "bits", "NMSE", "worst category", "dropped", "bits spent"]
    about = (
        f"cells up to {report.mean(rows, 'largest'):.0e}, kurtosis up to "
        f"{report.mean(rows, 'kurtosis'):.0f}, up to {report.mean(rows, 'missing'):.0%} missing"
    )
    return f"### A dirty table ({about})\n\n" + report.table(head, lines, n_text=1)
