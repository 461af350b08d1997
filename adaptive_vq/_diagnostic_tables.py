"""The tables of a diagnosis: direct computations from codes and arrays, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import entropy
from sklearn.utils.validation import check_is_fitted

from adaptive_vq._arrays import Floats, Ints
from adaptive_vq._mean_rows import at_mean, with_exact_means
from adaptive_vq._scorers import chain_of, codec_of, without_best
from adaptive_vq._stuck import equal_chance, off_constant
from adaptive_vq.metrics import Evaluation, category_nmse, reconstruction_nmse

RARE_BELOW = 5
"""Rows below which a codeword in use counts as rare."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A codec and one pass of it over some rows.

    Parameters
    ----------
    codec : HierarchicalVQVAE
        Fitted.
    names : list of str
        Columns that the codec works on.
    table : ndarray of shape (n, d)
        The rows in their own units, as a cleaner of the codec has made them; NaN is missing.
    given : ndarray of shape (n, d)
        The same before it capped any cell.
    run : Evaluation
        The rows as they are in codec units, their reconstruction and codes.
    """

    codec: Any
    names: list[str]
    table: Floats
    given: Floats
    run: Evaluation

    @cached_property
    def capped(self) -> Floats:
        """The rows in codec units, capped as in training: what the codec gets to see."""
        units = self.codec.units_
        return with_exact_means(units.targets(self.table, cap=True), units)

    @cached_property
    def own(self) -> Floats:
        """The rows in their own units, without cells that the codec has no units for."""
        units = self.codec.units_
        own = self.given
        if units.scaler in (None, "standard", "robust"):  # of others the means are not each other's
            own = np.where(at_mean(self.run.target, units), units.own_mean(), own)
        return np.where(np.isnan(self.run.target), np.nan, own)

    @cached_property
    def restored(self) -> Floats:
        """The reconstruction in the columns' own units."""
        return np.asarray(self.codec.units_.from_codec(self.run.output), dtype=np.float64)

    @property
    def training(self) -> dict[str, Any] | None:
        """Figures of the training rows; None if the codec does not hold them."""
        return getattr(self.codec, "training_", None)

    def nmse(self, groups: dict[str, Any], which: str = "as_is") -> dict[str, float]:
        """NMSE of groups of columns: as the rows are, capped, or in the columns' own units."""
        reference, output = self.run.reference, self.run.output
        if which == "capped":
            return category_nmse(self.capped, output, groups, reference=reference)
        if which == "original":
            own = self.codec.units_.own_mean()
            return category_nmse(self.own, self.restored, groups, reference=own)
        return category_nmse(self.run.target, output, groups, reference=reference)


def judge(estimator: Any, X: Any, owner: str) -> Judged:
    """Run a codec over rows once, refusing what no figure can be made of.

    Parameters
    ----------
    estimator : HierarchicalVQVAE, or Pipeline ending in one
    X : array-like of shape (n, d)
        Rows as the estimator takes them.
    owner : str
        Name of the caller, for messages.

    Returns
    -------
    Judged

    Raises
    ------
    TypeError
        If the estimator does not end in a codec.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        For other columns, fewer than two rows, or no observed cell.
    """
    codec = last_step(estimator, owner)
    check_is_fitted(codec)
    codec, rows = codec_of(estimator, X)
    codec._check_usable()
    table, given = codec._inner_and_given(rows)
    if len(table) < 2:
        raise ValueError(f"{owner} needs at least 2 rows; X has {len(table)}.")
    if np.isnan(codec.units_.to_codec(table)).all():
        raise ValueError(f"{owner} needs an observed cell; every cell of X is missing.")
    return Judged(codec, codec._inner_names(), table, given, codec._evaluation(table, given))


def last_step(estimator: Any, owner: str) -> Any:
    """Return the codec that an estimator ends in, or say that there is none."""
    codec = chain_of(estimator)[-1]
    if not hasattr(codec, "_evaluate"):
        last = codec if isinstance(codec, str) else type(codec).__name__
        raise TypeError(
            f"{owner} needs a fitted HierarchicalVQVAE, or a Pipeline ending in one; got "
            f"{type(estimator).__name__}"
            + ("." if codec is estimator else f" ending in {last}.")
            + without_best(codec)
        )
    return codec


def why_no_codebook(codec: Any) -> str:
    """Return why a fitted codec has no codebook."""
    if isinstance(codec.codebook_sizes, str) or not codec.units_.variance_.any():
        return "no column varied in the training rows"
    return "codebook_sizes gives no category more than one codeword"


# --------------------------------------------------------------------------------- columns
def column_table(judged: Judged) -> pd.DataFrame:
    """One row per column: errors, its part in them, and how its cells compare with training.

    Returns
    -------
    pandas.DataFrame
        Index ``column``, columns as :class:`~adaptive_vq.diagnosis.Diagnosis` lists them.
    """
    run, names = judged.run, judged.names
    alone = {name: [j] for j, name in enumerate(names)}
    error = np.nansum((run.target - run.output) ** 2, axis=0)
    owner = owners(judged)
    per_category = {name: error[columns].sum() for name, columns in run.categories.items()}
    table = pd.DataFrame({"category": owner}, index=pd.Index(names, name="column", dtype=object))
    for kind, key in (("as_is", "nmse"), ("capped", "nmse_capped"), ("original", "nmse_original")):
        table[key] = list(judged.nmse(alone, kind).values())
    table["mae"] = _mean(np.abs(run.target - run.output))
    table["mae_original"] = _mean(np.abs(judged.own - judged.restored))
    table["share"] = _ratio(error, error.sum())
    table["share_of_category"] = _ratio(error, np.array([per_category[name] for name in owner]))
    table["share_beyond_caps"] = _beyond_caps(judged)
    return table.join(_against_training(judged, table.index))


def _beyond_caps(judged: Judged, columns: Any = None) -> Any:
    """Part of the squared error, per column or of some columns, that capping would take away."""
    output = judged.run.output
    error = np.nansum((judged.run.target - output) ** 2, axis=0)
    capped = np.nansum((judged.capped - output) ** 2, axis=0)
    if columns is None:
        return _ratio(error - capped, error)
    return float(_ratio((error - capped)[columns].sum(), error[columns].sum()))


def owners(judged: Judged) -> list[str]:
    """Return the category of every column."""
    owner = [""] * len(judged.names)
    for name, columns in judged.run.categories.items():
        for j in columns:
            owner[j] = name
    return owner


def _against_training(judged: Judged, index: pd.Index) -> pd.DataFrame:
    """Shift of the given rows against the training rows, per column."""
    units, training = judged.codec.units_, judged.training
    observed = ~np.isnan(judged.table)
    sd = np.sqrt(units.variance_)
    table = pd.DataFrame(index=index)
    table["missing"] = 1.0 - observed.mean(axis=0)
    capped = judged.codec._count_capped(judged.table, judged.given)
    table["capped"] = _ratio(capped, observed.sum(axis=0))
    unknown = np.full(len(index), np.nan)
    table["training_missing"], table["training_capped"] = unknown, unknown
    if training is not None:
        table["training_missing"] = 1.0 - training["observed"] / training["n_rows"]
        table["training_capped"] = np.where(training["observed"] > 0, training["capped"], np.nan)
    # Of capped cells: a few extremes would move the moments of a column with long tails.
    table["mean_shift"] = _ratio(_mean(judged.capped) - judged.run.reference, sd)
    table["spread_ratio"] = _ratio(_spread(judged.capped), sd)
    table["equal_chance"] = equal_chance(units, judged.given)
    table["off_constant"] = off_constant(units, judged.run.target)
    return table


def _mean(values: Floats) -> Floats:
    """Mean over the observed cells of each column; NaN where there is none."""
    return _ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def _spread(values: Floats) -> Floats:
    return np.sqrt(_mean((values - _mean(values)) ** 2))


def _ratio(part: Any, whole: Any) -> Any:
    """Quotient; NaN, not a made-up value, where there is nothing to divide by."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


# ------------------------------------------------------------------------------ categories
def category_table(judged: Judged, columns: pd.DataFrame) -> pd.DataFrame:
    """One row per category: bits, errors in several units, predicted error, shares.

    Parameters
    ----------
    judged : Judged
    columns : pandas.DataFrame
        Of :func:`column_table`.

    Returns
    -------
    pandas.DataFrame
        Index ``category``, columns as :class:`~adaptive_vq.diagnosis.Diagnosis` lists them.
    """
    run, decisions = judged.run, judged.codec.decisions_
    index = pd.Index(list(run.categories), name="category", dtype=object)
    table = pd.DataFrame(index=index)
    table["n_columns"] = [len(c) for c in run.categories.values()]
    table["bits"] = [float(bits_of(run, name)) for name in index]
    table["nmse"] = pd.Series(run.per_category)
    table["nmse_capped"] = pd.Series(judged.nmse(dict(run.categories), "capped"))
    table["predicted_nmse"] = decisions["predicted_nmse"].reindex(index).astype(np.float64)
    table["training_nmse"] = [training_nmse(judged, c) for c in run.categories.values()]
    table["nmse_original"] = pd.Series(judged.nmse(dict(run.categories), "original"))
    absolute = np.abs(run.target - run.output)
    table["mae"] = [_mean(absolute[:, c].reshape(-1, 1))[0] for c in run.categories.values()]
    table["share"] = columns.groupby("category")["share"].sum(min_count=1).reindex(index)
    table["share_beyond_caps"] = [_beyond_caps(judged, c) for c in run.categories.values()]
    return table


def bits_of(run: Evaluation, category: str) -> float:
    """Return the bits per row that a category really takes."""
    return sum(math.log2(size) for owner, _, size in run.codebooks.values() if owner == category)


def training_nmse(judged: Judged, columns: Any = slice(None)) -> float:
    """NMSE of the training rows (capped) over some columns; NaN where it is not known."""
    record = judged.training
    if record is None:
        return math.nan
    return float(_ratio(record["error"][columns].sum(), record["energy"][columns].sum()))


# ------------------------------------------------------------------------------- codebooks
def codebook_table(judged: Judged) -> pd.DataFrame:
    """One row per codebook: how the given rows and the training rows use it.

    Returns
    -------
    pandas.DataFrame
        Index ``codebook``, columns as :class:`~adaptive_vq.diagnosis.Diagnosis` lists them.
    """
    record = judged.training
    known = {} if record is None else record["codes"]
    rows = []
    for j, (name, (category, level, size)) in enumerate(judged.run.codebooks.items()):
        hits = np.bincount(judged.run.codes[:, j], minlength=size)
        row = {"category": category, "level": level, "size": size, "bits": math.log2(size)}
        row |= usage(hits)
        before = known.get(name)
        row |= {f"training_{key}": v for key, v in usage(before, size).items()}
        row["rows_per_codeword"] = math.nan if record is None else record["n_rows"] / size
        row["unseen"] = math.nan if before is None else hits[before == 0].sum() / hits.sum()
        rows.append({"codebook": name, **row})
    if not rows:
        return pd.DataFrame(columns=["codebook", "category", "level", "size"]).set_index("codebook")
    return pd.DataFrame(rows).set_index("codebook")


def usage(hits: Ints | None, size: int = 0) -> dict[str, float]:
    """Figures of one codebook from its rows per codeword; NaN where they are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._diagnostic_tables import usage
    >>> usage(np.array([10, 10, 0, 0]))["perplexity"]
    2.0
    """
    if hits is None or not hits.sum():
        keys = ("utilization", "perplexity", "entropy", "dead", "rare", "top_share")
        return dict.fromkeys(keys, math.nan)
    bits = float(entropy(hits, base=2))
    dead = int((hits == 0).sum())
    return {
        "utilization": 1.0 - dead / len(hits),
        "perplexity": min(2.0**bits, float(len(hits))),
        "entropy": bits,
        "dead": dead,
        "rare": int((hits < RARE_BELOW).sum()) - dead,
        "top_share": float(hits.max() / hits.sum()),
    }


def unseen_rows(judged: Judged) -> float:
    """Share of rows with a code that no training row had; NaN where that is not known."""
    record = judged.training
    if record is None:
        return math.nan
    new = np.zeros(len(judged.table), dtype=bool)
    for j, name in enumerate(judged.run.codebooks):
        new |= record["codes"][name][judged.run.codes[:, j]] == 0
    return float(new.mean())


# ---------------------------------------------------------------------------------- levels
def level_table(judged: Judged) -> pd.DataFrame:
    """Coarse to fine: rate and error after no level, the first, the first two, ...

    Returns
    -------
    pandas.DataFrame
        Index ``n_levels`` from 0 (the training mean), columns ``bits``, ``entropy``, ``nmse``,
        ``nmse_capped``, ``quality``.
    """
    run, rows = judged.run, []
    n_levels = judged.codec._layout["n_levels"]
    entropies = list(run.entropy.values())
    for prefix in range(n_levels + 1):
        books = [j for j, (_, level, _) in enumerate(run.codebooks.values()) if level < prefix]
        output = np.broadcast_to(run.reference, run.output.shape)
        if prefix == n_levels:
            output = run.output
        elif prefix:
            output = judged.codec._decode(run.codes, prefix).astype(np.float64)
        error = reconstruction_nmse(run.target, output, reference=run.reference)
        rows.append(
            {
                "n_levels": prefix,
                "bits": float(np.log2(run.sizes[books]).sum()),
                "entropy": float(sum(entropies[j] for j in books)),
                "nmse": error,
                "nmse_capped": reconstruction_nmse(judged.capped, output, reference=run.reference),
                "quality": 1.0 - error,
            }
        )
    return pd.DataFrame(rows).set_index("n_levels")
