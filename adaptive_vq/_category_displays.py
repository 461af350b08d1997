"""Displays with one row per category. Public in :mod:`adaptive_vq.displays`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from adaptive_vq import _plotting as draw
from adaptive_vq._advice import WORST_OVER_MEDIAN
from adaptive_vq._diagnostic_tables import (
    category_table,
    codebook_table,
    column_table,
    judge,
    last_step,
)
from adaptive_vq._plotting import Display
from adaptive_vq._report_text import number
from adaptive_vq._scorers import chain_of
from adaptive_vq.ratios import AdaptiveRatioSelector

if TYPE_CHECKING:
    from adaptive_vq.diagnosis import Diagnosis


class CategoryErrorDisplay(Display):
    """Error of every category, worst first, beside what its plan predicted.

    Bars are capped NMSE (the rows as the codec gets to see them), red beyond three times the median
    category; a mark shows the prediction. The numbers beside them are capped NMSE and NMSE of the
    rows as they are.

    Parameters
    ----------
    categories : pandas.DataFrame
        ``Diagnosis.categories``.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.displays import CategoryErrorDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> vq = HierarchicalVQVAE(bits=16, max_epochs=0).fit(X)
    >>> CategoryErrorDisplay.from_estimator(vq, X).ax_.get_xlabel()
    'NMSE, capped'
    """

    def __init__(self, categories: pd.DataFrame) -> None:
        self.categories = categories

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, ax: Any = None) -> Self:
        """Judge a codec on rows and draw.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, or Pipeline ending in one
        X : array-like of shape (n_samples, n_features)
        ax : matplotlib Axes, default=None

        Returns
        -------
        CategoryErrorDisplay
        """
        judged = judge(estimator, X, cls.__name__)
        return cls(category_table(judged, column_table(judged))).plot(ax)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, ax: Any = None) -> Self:
        """Draw from a diagnosis; parameters as for `from_estimator`."""
        return cls(diagnosis.categories).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure high enough for all categories.

        Returns
        -------
        CategoryErrorDisplay
        """
        table = self.categories.sort_values("nmse_capped", ascending=False)
        ax, size = draw.canvas(ax, len(table))
        errors = table["nmse_capped"].replace(math.inf, math.nan)
        beyond = errors > WORST_OVER_MEDIAN * errors.median()
        rows = np.arange(len(table))
        colors = np.where(beyond, draw.RED, draw.BLUE)
        ax.barh(rows, errors.fillna(0.0), color=colors, height=0.7)
        predicted = table["predicted_nmse"]
        ax.plot(predicted, rows, "|", color=draw.ORANGE, ms=9, mew=2.2, label="predicted")
        draw.name_rows(ax, list(table.index), size)
        texts = [
            f"{number(a, 2)}  ({number(b, 2)})"
            for a, b in zip(table["nmse_capped"], table["nmse"], strict=True)
        ]
        draw.beside(ax, texts, size)
        ax.set_xlim(left=0)
        ax.locator_params(axis="x", nbins=5)  # more would run into one another
        ax.set_xlabel("NMSE, capped")
        draw.entitle(ax, "Error: capped (as is)")
        return self._keep(ax)


def _place(code: str) -> tuple[int, int, str]:
    """Order of code columns: level, then ``a`` to ``z``, then ``aa`` and so on."""
    level, split = re.fullmatch(r"L(\d+)([a-z]*)", code).groups()  # type: ignore[union-attr]
    return int(level), len(split), split


class CodebookUsageDisplay(Display):
    """How evenly each codebook is used: perplexity / size.

    One row per category, one column per level (``L2a``, ``L2b`` where a level is split). 100 means
    that all codewords are equally frequent; empty cells have no codebook.

    Parameters
    ----------
    codebooks : pandas.DataFrame
        ``Diagnosis.codebooks``.
    rows : {"given", "training"}, default="given"
        Whose use is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.displays import CodebookUsageDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> vq = HierarchicalVQVAE(bits=16, max_epochs=0).fit(X)
    >>> "L0" in CodebookUsageDisplay.from_estimator(vq, X).shares.columns
    True
    """

    def __init__(self, codebooks: pd.DataFrame, rows: str = "given") -> None:
        if rows not in ("given", "training"):
            raise ValueError(f"rows={rows!r} is neither 'given' nor 'training'.")
        self.codebooks = codebooks
        self.rows = rows

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, rows: str = "given", ax: Any = None
    ) -> Self:
        """Encode rows and draw.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, or Pipeline ending in one
        X : array-like of shape (n_samples, n_features)
        rows : {"given", "training"}, default="given"
        ax : matplotlib Axes, default=None

        Returns
        -------
        CodebookUsageDisplay
        """
        return cls(codebook_table(judge(estimator, X, cls.__name__)), rows).plot(ax)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, rows: str = "given", ax: Any = None) -> Self:
        """Draw from a diagnosis; parameters as for `from_estimator`."""
        return cls(diagnosis.codebooks, rows).plot(ax)

    @property
    def shares(self) -> pd.DataFrame:
        """Perplexity / size: index category, one column per level (``L2a``, ``L2b``: split)."""
        prefix = "" if self.rows == "given" else "training_"
        books = self.codebooks
        if books.empty:
            return pd.DataFrame()
        place = [str(name).rsplit("__", 1)[1] for name in books.index]
        flat = pd.DataFrame(
            {
                "category": books["category"].to_numpy(),
                "level": place,
                "share": (books[f"{prefix}perplexity"] / books["size"]).to_numpy(),
            }
        )
        wide = flat.pivot(index="category", columns="level", values="share")
        order = sorted(wide.columns, key=_place)
        return wide.reindex(index=list(dict.fromkeys(flat["category"])), columns=order)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure high enough for all categories.

        Returns
        -------
        CodebookUsageDisplay
        """
        shares = self.shares
        ax, size = draw.canvas(ax, len(shares))
        self._keep(ax)
        if shares.empty:
            draw.nothing(ax, "The codec has no codebook.")
            return self
        cells = np.ma.masked_invalid(shares.to_numpy(dtype=np.float64))
        image = ax.pcolormesh(100 * cells, vmin=0, vmax=100, cmap="cividis", edgecolors="none")
        for (i, j), share in np.ndenumerate(shares.to_numpy(dtype=np.float64)):
            if not np.isnan(share):
                tone = "white" if share < 0.5 else "black"
                text = f"{100 * share:.0f}"
                ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", color=tone, fontsize=size)
        ax.set_xticks(np.arange(shares.shape[1]) + 0.5, list(shares.columns), fontsize=8)
        ax.set_yticks(
            np.arange(len(shares)) + 0.5, [draw.label(n) for n in shares.index], fontsize=size
        )
        ax.invert_yaxis()
        ax.tick_params(length=0)
        ax.set_title(f"Perplexity / size in %, {self.rows} rows", fontsize=10, loc="left")
        ax.figure.colorbar(image, ax=ax, fraction=0.04, pad=0.02).outline.set_visible(False)
        return self


class RatioDecisionDisplay(Display):
    """Bits that every category got on each level, most first, with its ratios beside them.

    Parameters
    ----------
    decisions : pandas.DataFrame
        ``decisions_`` of a codec or of an `AdaptiveRatioSelector`.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import AdaptiveRatioSelector
    >>> from adaptive_vq.displays import RatioDecisionDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> selector = AdaptiveRatioSelector("uniform", bits=16).fit(X)
    >>> RatioDecisionDisplay.from_estimator(selector).ax_.get_xlabel()
    'bits per row'
    """

    def __init__(self, decisions: pd.DataFrame) -> None:
        self.decisions = decisions

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the decisions of a fitted codec, selector, or pipeline ending in one.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, AdaptiveRatioSelector, or Pipeline ending in one
        ax : matplotlib Axes, default=None

        Returns
        -------
        RatioDecisionDisplay
        """
        last = chain_of(estimator)[-1]
        if not hasattr(last, "decisions_"):
            made = isinstance(last, AdaptiveRatioSelector)
            check_is_fitted(last if made else last_step(estimator, cls.__name__))
        return cls(last.decisions_).plot(ax)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, ax: Any = None) -> Self:
        """Draw from a diagnosis; parameters as for `from_estimator`."""
        return cls(diagnosis.decisions).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure high enough for all categories.

        Returns
        -------
        RatioDecisionDisplay
        """
        table = self.decisions.sort_values("bits", ascending=False, kind="stable")
        levels = [c.removeprefix("bits_") for c in table.columns if c.startswith("bits_L")]
        ax, size = draw.canvas(ax, len(table))
        rows, start = np.arange(len(table)), np.zeros(len(table))
        plt = draw.pyplot()
        tones = plt.get_cmap("cividis")(np.linspace(0.15, 0.95, len(levels)))
        # The darkest tone is lost on a dark page and the brightest on a white one without an edge.
        edge = plt.rcParams["axes.edgecolor"]
        ax.use_sticky_edges = False  # the longest bar ends before the ratios begin
        for level, tone in zip(levels, tones, strict=True):
            width = table[f"bits_{level}"].to_numpy(dtype=np.float64)
            line = np.where(width > 0, 0.6, 0.0)
            ax.barh(
                rows, width, 0.7, start, color=tone, label=level, edgecolor=edge, linewidth=line
            )
            start = start + width
        draw.name_rows(ax, list(table.index), size)
        ratios = table[[f"ratio_{level}" for level in levels]].to_numpy(dtype=np.float64)
        draw.beside(ax, [":".join(f"{r:.2g}" for r in row) for row in ratios], size)
        ax.set_xlim(left=0)
        draw.whole_bits(ax, "bits per row")
        draw.entitle(ax, "Bits, and ratios")
        return self._keep(ax)
