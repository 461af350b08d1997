"""The demo: uniform against adaptive allocation on a generated table, at equal bits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from adaptive_vq._files import replacing
from adaptive_vq._json import plain
from adaptive_vq._reports import error_figures
from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.datasets import make_feature_families
from adaptive_vq.metrics import Evaluation, codec_of, reconstruction_nmse
from adaptive_vq.ratios import AdaptiveRatioSelector
from adaptive_vq.vqvae import HierarchicalVQVAE

__all__ = ["Demo", "Run", "draw", "run_demo", "write_codes"]

BASELINE = "uniform"
HELD_OUT = 0.2
SERIES = "temporal__step_"


@dataclass(frozen=True)
class Run:
    """One fitted pipeline and its figures.

    Attributes
    ----------
    strategy : str
        Of its selector.
    pipeline : sklearn.pipeline.Pipeline
        Fitted on the training rows.
    seconds : float
        Wall clock of the fit.
    train, held_out : Evaluation
        On the training rows and on the rows kept aside.
    """

    strategy: str
    pipeline: Pipeline
    seconds: float
    train: Evaluation
    held_out: Evaluation

    @property
    def codec(self) -> HierarchicalVQVAE:
        """The last step."""
        return self.pipeline[-1]

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON values; errors are on the rows kept aside."""
        found = self.held_out
        return {
            "strategy": self.strategy,
            **error_figures(found),
            "utilization": self.train.used_share,
            "utilization_held_out": found.used_share,
            "perplexity_share": self.train.perplexity_share,
            "fit_seconds": round(self.seconds, 1),
            "category_nmse": found.per_category,
            "category_bits": {name: sum(bits) for name, bits in self.codec.bits_.items()},
        }


@dataclass(frozen=True)
class Demo:
    """Result of the demo.

    Attributes
    ----------
    table : pandas.DataFrame
        All rows in their order.
    n_train : int
        Rows that the pipelines were fitted on.
    held_out : pandas.DataFrame
        The rows kept aside.
    before, after : Run
        Uniform and adaptive: same rows, same categories, same budget, same seed.
    """

    table: pd.DataFrame
    n_train: int
    held_out: pd.DataFrame
    before: Run
    after: Run

    def figures(self) -> dict[str, Any]:
        """Return the figures of both runs as JSON values."""
        return {
            "n_rows": len(self.table),
            "n_columns": self.table.shape[1],
            "n_train": self.n_train,
            "n_held_out": len(self.held_out),
            "before": self.before.figures(),
            "after": self.after.figures(),
            "decisions": plain(self.after.codec.decisions_),
        }


def run_demo(
    n_rows: int = 10_000,
    bits: int | None = 64,
    strategy: str = "rate_distortion",
    random_state: int = 0,
    *,
    callbacks: Callable[[], list[Any]] = list,
    say: Callable[[str], None] = lambda _: None,
) -> Demo:
    """Fit a uniform and an adaptive pipeline on a generated table and judge both.

    Parameters
    ----------
    n_rows : int, default=10_000
        Rows of the table; a fifth is kept aside.
    bits : int or None, default=64
        Budget in bits per row, the same for both; None takes the library's default.
    strategy : str, default="rate_distortion"
        Of the adaptive selector.
    random_state : int, default=0
        Seed of the table, the split and both fits.
    callbacks : callable, default=list
        Makes the scikit-learn callbacks of a fit, for example progress bars.
    say : callable, default does nothing
        Gets a line at every step.

    Returns
    -------
    Demo

    Examples
    --------
    >>> from adaptive_vq._demo import run_demo
    >>> demo = run_demo(200, bits=32, strategy="water_filling")  # doctest: +SKIP
    """
    table = make_feature_families(n_rows, random_state=random_state).data
    train, held_out = train_test_split(table, test_size=HELD_OUT, random_state=random_state)
    pipeline = Pipeline(
        [
            # The families of the columns' names, so that both runs have the same categories.
            ("characterize", FeatureCharacterizer("prefix", random_state=random_state)),
            ("ratios", AdaptiveRatioSelector(bits=bits, random_state=random_state)),
            ("vq", HierarchicalVQVAE(random_state=random_state)),
        ]
    )
    runs = []
    for name in (BASELINE, strategy):
        say(f"Fitting with strategy={name!r} on {len(train):,} rows x {table.shape[1]} columns")
        fresh = clone(pipeline).set_params(ratios__strategy=name).set_callbacks(*callbacks())
        runs.append(_fitted(name, fresh, train, held_out))
    return Demo(table, len(train), held_out, *runs)


def _fitted(name: str, pipeline: Pipeline, train: pd.DataFrame, held_out: pd.DataFrame) -> Run:
    start = time.perf_counter()
    pipeline.fit(train)
    seconds = time.perf_counter() - start
    judged = []
    for rows in (train, held_out):
        codec, reached = codec_of(pipeline, rows)
        judged.append(codec._evaluate(reached))
    return Run(name, pipeline, seconds, *judged)


def write_codes(demo: Demo, folder: Path) -> Path:
    """Write the codes of all rows as Parquet, or as CSV where pyarrow is not installed.

    Parameters
    ----------
    demo : Demo
    folder : pathlib.Path

    Returns
    -------
    pathlib.Path
        The file written.
    """
    from adaptive_vq._tables_io import codes_frame, has_pyarrow, write_table

    path = folder / ("codes.parquet" if has_pyarrow() else "codes.csv")
    pipeline = demo.after.pipeline
    write_table(codes_frame(pipeline, pipeline.transform(demo.table)), path)
    return path


def draw(demo: Demo, path: Path) -> None:
    """Draw decisions and errors of both runs into one picture.

    Parameters
    ----------
    demo : Demo
    path : pathlib.Path
        PNG, SVG or PDF by its suffix.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    _draw_bits(axes[0, 0], demo)
    _draw_errors(axes[0, 1], demo)
    _draw_levels(axes[1, 0], demo)
    _draw_row(axes[1, 1], demo)
    budget = demo.after.codec.n_bits_
    figure.suptitle(
        f"{demo.table.shape[1]} columns in {budget:.0f} bits per row: NMSE on rows kept aside "
        f"{demo.before.held_out.nmse:.3f} {BASELINE}, {demo.after.held_out.nmse:.3f} "
        f"{demo.after.strategy}"
    )
    with replacing(path) as place:
        figure.savefig(place, dpi=120)


def _draw_bits(axis: Any, demo: Demo) -> None:
    bits = demo.after.codec.bits_
    start = np.zeros(len(bits))
    for level in range(len(next(iter(bits.values())))):
        of_level = np.array([levels[level] for levels in bits.values()])
        axis.barh(list(bits), of_level, left=start, label=f"L{level}")
        start += of_level
    uniform = [sum(demo.before.codec.bits_[name]) for name in bits]
    axis.plot(uniform, list(bits), "k|", markersize=14, label=BASELINE)
    axis.set(title=f"Bits per row: {demo.after.strategy}", xlabel="bits")
    axis.margins(x=0.05)
    axis.legend()


def _draw_errors(axis: Any, demo: Demo) -> None:
    names = list(demo.after.codec.bits_)
    place = np.arange(len(names))
    for run, shift in ((demo.before, -0.2), (demo.after, 0.2)):
        error = [run.held_out.per_category[name] for name in names]
        axis.barh(place + shift, error, height=0.38, label=run.strategy)
    axis.set_yticks(place, names)
    axis.set(title="Error per category on rows kept aside", xlabel="NMSE (1 = no better than mean)")
    axis.legend()


def _draw_levels(axis: Any, demo: Demo) -> None:
    """Error against bits when only the first levels are decoded."""
    for run in (demo.before, demo.after):
        bits, errors = level_errors(run)
        axis.plot(bits, errors, "o-", label=run.strategy)
    axis.set(title="Decoding the first levels only", xlabel="bits per row", ylabel="NMSE", ylim=0)
    axis.legend()


def level_errors(run: Run) -> tuple[list[float], list[float]]:
    """Return bits spent and NMSE on the rows kept aside of decoding 0, 1, ... levels.

    Parameters
    ----------
    run : Run

    Returns
    -------
    bits, errors : list of float
        The first entry is the training mean, at 0 bits.
    """
    found, codec = run.held_out, run.codec
    bits, errors = [0.0], [1.0]
    for level in range(1, len(next(iter(codec.bits_.values()))) + 1):
        sizes = [size for _, own, size in found.codebooks.values() if own < level]
        output = codec._decode(found.codes, level)
        bits.append(float(np.log2(sizes).sum()))
        errors.append(reconstruction_nmse(found.target, output, reference=found.reference))
    return bits, errors


def _draw_row(axis: Any, demo: Demo) -> None:
    """One smooth series of the table and what each run gives back of it."""
    columns = [c for c in demo.held_out.columns if c.startswith(SERIES)]
    complete = demo.held_out[demo.held_out[columns].notna().all(axis=1)]
    row = (complete if len(complete) else demo.held_out).iloc[:1]
    axis.plot(row[columns].to_numpy()[0], "k", label="original")
    for run in (demo.before, demo.after):
        decoded = run.pipeline.inverse_transform(run.pipeline.transform(row))
        axis.plot(decoded[columns].to_numpy()[0], "--", label=run.strategy)
    axis.set(title="A series of one row kept aside, decoded", xlabel="column", ylabel="value")
    axis.legend()
