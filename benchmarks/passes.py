"""``passes``: whether rows that a fit has not drawn help afterwards, through `partial_fit`."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_vq.datasets import make_feature_families
from adaptive_vq.tables import row_chunks
from benchmarks import report
from benchmarks.measure import timed
from benchmarks.report import Results, Rows
from benchmarks.speed import generated

_HELD = 20_000


def table_of(name: str, n_rows: int, seed: int) -> NDArray[np.float32]:
    """Rows to learn from and `_HELD` more: feature families, or a shape like ``32x4``."""
    if name == "families":
        data = make_feature_families(n_rows + _HELD, random_state=seed).data
        return data.to_numpy(dtype=np.float32)
    split = generated(f"{n_rows + _HELD}x{name}", seed)
    if split is None:
        raise ValueError(f"{name!r} is neither 'families' nor columns x categories.")
    return split.train


def measure(
    name: str, n_rows: int, fit_rows: int, bits: int, beam: int, n_passes: int, seed: int
) -> list[dict[str, Any]]:
    """Fit on rows drawn, then let all rows move codewords and decoder; error on held-out rows."""
    from adaptive_vq import HierarchicalVQVAE

    X = table_of(name, n_rows, seed)
    X, held = X[:-_HELD], X[-_HELD:]
    codec = HierarchicalVQVAE(bits=bits, fit_rows=fit_rows, beam_width=beam, random_state=seed)
    _, seconds = timed(lambda: codec.fit(X))
    found = [{"how": "fit", "passes": 0, "seconds": seconds, "nmse": 1.0 - codec.score(held)}]
    for how in ("in chunks", "at once"):
        moved = copy.deepcopy(codec)
        for done in range(1, n_passes + 1):
            parts = list(row_chunks(X)) if how == "in chunks" else [X]
            _, seconds = timed(lambda m=moved, p=parts: [m.partial_fit(part) for part in p])
            nmse = 1.0 - moved.score(held)
            found.append({"how": how, "passes": done, "seconds": seconds, "nmse": nmse})
            print(found[-1], file=sys.stderr)
    return found


def run(
    results: Results,
    sets: Sequence[str],
    n_rows: int,
    fit_rows: int,
    bits: Sequence[int],
    beam: int,
    n_passes: int,
    seeds: Sequence[int],
) -> None:
    """Measure every set at every budget."""
    for name in sets:
        for budget in bits:
            for seed in seeds:
                cell = {"set": name, "n_rows": n_rows, "budget": budget, "seed": seed}
                for row in measure(name, n_rows, fit_rows, budget, beam, n_passes, seed):
                    results.add(cell | row)


def summarize(rows: Rows) -> str:
    """Held-out error before and after the passes."""
    head = [
        "set",
        "bits",
        "rows seen",
        "passes",
        "seconds",
        "held-out NMSE",
        "over that of the fit",
    ]
    lines = []
    for row in rows:
        where = {key: row[key] for key in ("set", "budget", "seed")}
        start = report.pick(rows, how="fit", **where)[0]["nmse"]
        lines.append(
            [
                *(str(row[key]) for key in ("set", "budget", "how", "passes")),
                report.number(row["seconds"], 1),
                report.number(row["nmse"], 5),
                report.number(row["nmse"] / start, 4),
            ]
        )
    return "### Passes over all rows\n\n" + report.table(head, lines, n_text=3)
