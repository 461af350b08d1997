"""Diagnosis: what a codec does on given rows, and why each ratio was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar

from adaptive_vq._advice import ROWS_FOR_SHIFT
from adaptive_vq._diagnostic_tables import (
    Judged,
    category_table,
    codebook_table,
    column_table,
    judge,
    level_table,
    training_nmse,
    unseen_rows,
    why_no_codebook,
)
from adaptive_vq._files import written
from adaptive_vq._knee import frontier
from adaptive_vq._latent_map import LatentMap, check_map, latent_map, latents_of, similarities
from adaptive_vq._wording import counted
from adaptive_vq.comparison import Comparison, compare
from adaptive_vq.recommendations import Recommendation, recommend

__all__ = ["Comparison", "Diagnosis", "LatentMap", "Recommendation", "compare", "diagnose"]

_TABLES = ("categories", "columns", "codebooks", "levels", "decisions", "frontier")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Figures of a codec on given rows; made by :func:`adaptive_vq.diagnose`.

    Every error is in codec units unless its name says otherwise. NMSE divides the squared error by
    the squared deviation from the training mean, over observed cells: 0 is perfect, 1 no better
    than the mean. ``nmse`` takes the rows as they are, ``nmse_capped`` capped as in training (what
    the codec gets to see, and what plans predict), ``nmse_original`` in the columns' own units, in
    which columns with large numbers dominate their category. NaN stands for what cannot be
    computed; `notes` says why.

    Attributes
    ----------
    summary : dict of str to int, float or str
        Figures of the whole: rows, bits, NMSE, quality, imbalance over categories (``max_min``,
        ``max_median``, ``gini``), use of the codebooks, training against given rows
        (``new_code_rows``: share of rows with a code that no training row had), topographic
        similarity to the rows before and after quantization.
    categories : pandas.DataFrame
        Index ``category``: ``n_columns``, ``bits`` (spent), ``nmse``, ``nmse_capped``,
        ``predicted_nmse`` (``decisions_``), ``training_nmse`` (capped), ``nmse_original``, ``mae``,
        ``share`` (of the total squared error), ``share_beyond_caps`` (of the category's error: what
        capping its cells would take away).
    columns : pandas.DataFrame
        Index ``column``: ``category``, the errors, ``mae_original``, ``share``,
        ``share_of_category``, ``share_beyond_caps``, ``missing`` and ``capped`` (shares of cells)
        beside ``training_missing`` and ``training_capped``; of capped cells, so that a few extremes
        do not decide, ``mean_shift`` (against the training mean, in training standard deviations)
        and ``spread_ratio`` (standard deviation over that of training). A column that has left the
        caps shows in ``capped``. ``equal_chance``: where all cells are equal, at most how likely
        that is in rows like those of training; ``off_constant``: of a column constant in training,
        the share of other cells.
    codebooks : pandas.DataFrame
        Index ``codebook``: ``category``, ``level``, ``size``, ``bits``; ``utilization``,
        ``perplexity``, ``entropy`` (bits), ``dead`` (codewords without a row), ``rare`` (1 to 4
        rows) and ``top_share`` (rows of the most frequent code), the same of the training rows as
        ``training_*``; ``rows_per_codeword`` (training rows over size); ``unseen`` (share of rows
        with a code that no training row had).
    levels : pandas.DataFrame
        Index ``n_levels``: ``bits``, ``entropy``, ``nmse``, ``nmse_capped``, ``quality`` after that
        many levels; 0 is the training mean.
    decisions : pandas.DataFrame
        The codec's ``decisions_`` with ``measured_nmse`` (capped) beside the prediction.
    frontier : pandas.DataFrame or None
        Index ``bits``: least total NMSE predicted from measured curves at other budgets. None for a
        plan that was not measured.
    curves : dict of str to ndarray or None
        Measured NMSE of each category per number of bits.
    history : list of dict
        One record per epoch of training.
    latent_map : LatentMap or None
        Map of the codes.
    recommendations : list of Recommendation
        What stands out, and which parameter to change.
    notes : dict of str to str
        For every figure that could not be computed: why.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, diagnose
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.normal(size=(200, 2)), 3, axis=1) + 0.1 * rng.normal(size=(200, 6))
    >>> vq = HierarchicalVQVAE(bits=12, max_epochs=0).fit(X[:150])
    >>> report = diagnose(vq, X[150:], embedding="pca")
    >>> list(report.categories.index), report.summary["quality"] > 0.9
    (['cluster_1', 'cluster_2'], True)
    """

    summary: dict[str, Any]
    categories: pd.DataFrame
    columns: pd.DataFrame
    codebooks: pd.DataFrame
    levels: pd.DataFrame
    decisions: pd.DataFrame
    frontier: pd.DataFrame | None
    curves: dict[str, NDArray[np.float64]] | None
    history: list[dict[str, Any]]
    latent_map: LatentMap | None
    recommendations: list[Recommendation] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def worst_columns(self, n: int = 10) -> pd.DataFrame:
        """Return the columns with the largest errors of each category.

        Parameters
        ----------
        n : int, default=10
            Columns per category at most.

        Returns
        -------
        pandas.DataFrame
            Rows of `columns`, by category and then largest ``share_of_category`` first.

        Raises
        ------
        TypeError, ValueError
            If `n` is not an integer, or negative.
        """
        check_scalar(n, "n", Integral, min_val=0)
        order = {name: place for place, name in enumerate(self.categories.index)}
        table = self.columns.sort_values("share_of_category", ascending=False, kind="stable")
        table = table.sort_values("category", key=lambda c: c.map(order), kind="stable")
        return table.groupby("category", sort=False).head(n)

    def to_frame(self, table: str = "categories") -> pd.DataFrame:
        """Return one of the tables.

        Parameters
        ----------
        table : {"categories", "columns", "codebooks", "levels", "decisions", "frontier", \
"recommendations", "summary"}, default="categories"

        Returns
        -------
        pandas.DataFrame
            A copy.

        Raises
        ------
        ValueError
            For another name, or a table that could not be computed, saying why.
        """
        if table == "summary":
            return pd.DataFrame({"value": pd.Series(self.summary, dtype=object)})
        if table == "recommendations":
            keys = ["rule", "subject", "value", "threshold", "parameter", "message"]
            return pd.DataFrame([vars(r) for r in self.recommendations], columns=keys)
        if table not in _TABLES:
            raise ValueError(
                f"table={table!r} is none of {[*_TABLES, 'recommendations', 'summary']}."
            )
        found = getattr(self, table)
        if found is None:
            raise ValueError(f"There is no table {table!r}: {self.notes[table]}.")
        return found.copy()

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the diagnosis as JSON, and write it if a path is given.

        The document is an object with ``"schema": "adaptive_vq.diagnosis"``, ``"version"`` (of the
        schema: 1) and ``"library"`` (version of adaptive_vq). ``summary`` and ``notes`` are objects
        of figures; ``categories``, ``columns``, ``codebooks``, ``levels``, ``decisions``,
        ``frontier`` and ``recommendations`` are lists of objects, one per row of the table of that
        name, with its index as the first key; ``curves`` is an object of lists, ``history`` a list
        of objects; ``latent_map`` has ``method``, ``codebook``, ``points`` and ``scores``. A figure
        that could not be computed, or a table there is not, is null; infinity is the string
        ``"inf"``. A key is never renamed or removed within a version.

        Parameters
        ----------
        path : str or Path, default=None
            File to write.

        Returns
        -------
        str
            The JSON document.
        """
        from adaptive_vq._report_text import as_json

        return written(as_json(self), path)

    def to_text(self) -> str:
        """Return a short report for a terminal, at most 100 characters wide.

        Returns
        -------
        str
        """
        from adaptive_vq._report_text import as_text

        return as_text(self)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the report as one self-contained HTML page, and write it if a path is given.

        Pictures are inline; nothing is loaded from elsewhere. Needs matplotlib.

        Parameters
        ----------
        path : str or Path, default=None
            File to write.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ImportError
            Without matplotlib, saying how to install it.
        """
        from adaptive_vq._report_html import page

        return written(page(self), path)

    def _repr_html_(self) -> str:
        """Report without pictures, for notebooks."""
        from adaptive_vq._report_html import fragment

        return fragment(self)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        s = self.summary
        return (
            f"<Diagnosis of {counted(s['n_rows'], 'row')}: quality {s['quality']:.4f} at "
            f"{s['bits']:.1f} bits, {counted(len(self.recommendations), 'recommendation')}>"
        )


def diagnose(
    estimator: Any,
    X: ArrayLike,
    *,
    embedding: str | None = "tsne",
    n_map_rows: int = 500,
    random_state: int | None = 0,
) -> Diagnosis:
    """Judge a fitted codec on given rows, best rows it was not fitted on.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
        Fitted; the very object that is judged, or a fitted search, for its best estimator.
    X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        At least two rows, as the estimator takes them.
    embedding : {"tsne", "pca"} or None, default="tsne"
        How rows are placed on the map of the codes; None draws no map.
    n_map_rows : int, default=500
        Rows on the map, drawn at random from more.
    random_state : int or None, default=0
        Seed of that draw, of the map, and of the pairs of rows for topographic similarity; with
        None they differ from call to call.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError
        If the estimator is no codec and does not end in one, or a number is not an integer.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If X has other columns, fewer than two rows or no observed cell, or `embedding`,
        `n_map_rows` or `random_state` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE, diagnose
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> report = diagnose(HierarchicalVQVAE(bits=16, max_epochs=0).fit(X), X, embedding=None)
    >>> report.notes["latent_map"]
    'embedding=None'
    """
    check_map(embedding, n_map_rows, random_state)
    judged = judge(estimator, X, "diagnose")
    codec, columns = judged.codec, column_table(judged)
    categories = category_table(judged, columns)
    notes: dict[str, str] = {}
    latents = latents_of(judged)
    placed: LatentMap | str = "embedding=None"
    if embedding is not None:
        placed = latent_map(judged, latents, embedding, n_map_rows, random_state)
    if isinstance(placed, str):
        notes["latent_map"] = placed
    else:
        notes |= placed.notes
    if not codec.codebooks_:
        notes["codebooks"] = f"the codec has no codebook: {why_no_codebook(codec)}"
    curves = getattr(codec, "curves_", None)
    if curves is None:
        notes["frontier"] = (
            "the plan was not measured; strategies 'rate_distortion', 'minimax' and 'learned' "
            "measure"
        )
    elif not isinstance(codec.codebook_sizes, str):
        notes["frontier"] = "codebook_sizes were given in place of the bits that the plan measured"
    found = Diagnosis(
        summary=_summary(judged, columns, categories) | similarities(latents, random_state),
        categories=categories,
        columns=columns,
        codebooks=codebook_table(judged),
        levels=level_table(judged),
        decisions=codec.decisions_.assign(
            measured_nmse=categories["nmse_capped"].reindex(codec.decisions_.index)
        ),
        frontier=frontier(judged),
        curves=curves,
        history=[dict(record) for record in codec.history_],
        latent_map=None if isinstance(placed, str) else placed,
        notes=notes,
    )
    found.notes.update(_why_unknown(found))
    return replace(found, recommendations=recommend(found))


def _summary(judged: Judged, columns: pd.DataFrame, categories: pd.DataFrame) -> dict[str, Any]:
    run, codec = judged.run, judged.codec
    everything = {"all": np.arange(len(judged.names))}
    record = judged.training
    weight = 1.0 - columns["missing"]  # capped shares are per observed cell
    return {
        "n_rows": len(judged.table),
        "n_columns": len(judged.names),
        "n_categories": len(categories),
        "n_codebooks": len(run.codebooks),
        "n_levels": int(codec._layout["n_levels"]),
        "bits": run.bits,
        "budget": getattr(codec, "budget_", math.nan),
        "entropy": float(sum(run.entropy.values())),
        "nmse": run.nmse,
        "quality": run.quality,
        "nmse_capped": judged.nmse(everything, "capped")["all"],
        "nmse_original": judged.nmse(everything, "original")["all"],
        "training_nmse": training_nmse(judged),
        "mae": float(np.nanmean(np.abs(run.target - run.output))),
        "worst_category": run.worst_category,
        "worst_nmse": run.per_category[run.worst_category],
        **run.imbalance,
        "utilization": run.used_share,
        "perplexity_share": run.perplexity_share,
        "capped": float((columns["capped"] * weight).sum() / weight.sum()),
        "missing": float(columns["missing"].mean()),
        "training_missing": float(columns["training_missing"].mean()),
        "n_training_rows": math.nan if record is None else record["n_rows"],
        "new_code_rows": unseen_rows(judged),
    }


def _why_unknown(found: Diagnosis) -> dict[str, str]:
    """Reasons for the figures that are NaN."""
    notes = {}
    if math.isnan(found.summary["n_training_rows"]):
        notes["training"] = "the codec holds no figures of its training rows; fit it again"
    if math.isnan(found.summary["topographic_after"]):
        notes["topographic_after"] = "fewer than 3 rows, no codebook, or all codes are equal"
    unknown = found.columns.index[found.columns["nmse"].isna()].tolist()
    if unknown:
        notes["nmse"] = (
            f"no observed cell, here or in training, in {counted(len(unknown), 'column')}, such as "
            f"{unknown[0]!r}"
        )
    if math.isinf(found.summary["nmse"]):
        notes["quality"] = (
            "these rows never leave the training mean, so there is nothing that an error could be "
            "a share of"
        )
    known = found.columns[found.columns["nmse"].notna()]
    still = known.index[known["mean_shift"].isna()].tolist()
    if still:
        notes["mean_shift"] = (
            f"{counted(len(still), 'column')} without spread in training, such as {still[0]!r}: "
            "shifts are in training standard deviations"
        )
    if found.categories["predicted_nmse"].isna().any():
        notes["predicted_nmse"] = (
            "no row was kept aside in the fit to predict by, and the plan predicts for other bits"
        )
    if found.summary["n_rows"] < ROWS_FOR_SHIFT:
        notes["shift"] = (
            f"fewer than {ROWS_FOR_SHIFT} rows: that columns differ from training is not told, "
            "since means and spreads of so few vary by chance"
        )
    if not found.history:
        notes["history"] = "no epoch was trained (max_epochs=0)"
    return notes
