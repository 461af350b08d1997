"""Displays of curves and points. Public in :mod:`adaptive_vq.displays`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from adaptive_vq import _plotting as draw
from adaptive_vq._diagnostic_tables import judge, last_step, level_table
from adaptive_vq._knee import frontier
from adaptive_vq._plotting import Display

if TYPE_CHECKING:
    from adaptive_vq.diagnosis import Diagnosis, LatentMap


class RateDistortionDisplay(Display):
    """Error against rate: of the whole after each level, or of every category as measured.

    Parameters
    ----------
    levels : pandas.DataFrame
        ``Diagnosis.levels``.
    frontier : pandas.DataFrame or None
        ``Diagnosis.frontier``.
    curves : mapping of str to ndarray, or None
        NMSE of each category per number of bits, where measured.
    bits : mapping of str to int
        Bits that each category got.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.displays import RateDistortionDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> vq = HierarchicalVQVAE(bits=16, max_epochs=0).fit(X)
    >>> len(RateDistortionDisplay.from_estimator(vq, X).levels)
    4
    """

    def __init__(
        self,
        levels: pd.DataFrame,
        frontier: pd.DataFrame | None,
        curves: Mapping[str, NDArray[np.float64]] | None,
        bits: Mapping[str, int],
    ) -> None:
        self.levels = levels
        self.frontier = frontier
        self.curves = curves
        self.bits = bits

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, kind: str = "total", ax: Any = None
    ) -> Self:
        """Judge a codec on rows, level by level, and draw.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, or Pipeline ending in one
        X : array-like of shape (n_samples, n_features)
        kind : {"total", "categories"}, default="total"
        ax : matplotlib Axes, default=None

        Returns
        -------
        RateDistortionDisplay
        """
        judged = judge(estimator, X, cls.__name__)
        curves = getattr(judged.codec, "curves_", None)
        bits = _bits(judged.codec.decisions_)
        return cls(level_table(judged), frontier(judged), curves, bits).plot(ax, kind=kind)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, kind: str = "total", ax: Any = None) -> Self:
        """Draw from a diagnosis; parameters as for `from_estimator`."""
        d = diagnosis
        bits = _bits(d.decisions)
        return cls(d.levels, d.frontier, d.curves, bits).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "total") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
        kind : {"total", "categories"}, default="total"
            ``"total"``: NMSE after each level, as the rows are and capped, and the least predicted
            for other budgets where curves were measured. ``"categories"``: these curves, with a
            dot at the bits that each category got; the categories with the largest error left are
            named.

        Returns
        -------
        RateDistortionDisplay
        """
        if kind not in ("total", "categories"):
            raise ValueError(f"kind={kind!r} is neither 'total' nor 'categories'.")
        ax, _ = draw.canvas(ax)
        (self._plot_total if kind == "total" else self._plot_categories)(ax)
        return self._keep(ax)

    def _plot_total(self, ax: Any) -> None:
        bits = self.levels["bits"]
        ax.plot(bits, self.levels["nmse_capped"], "o-", color=draw.BLUE, label="capped, measured")
        ax.plot(bits, self.levels["nmse"], "s--", color=draw.RED, ms=4, label="as is, measured")
        if self.frontier is not None:
            predicted = self.frontier["predicted_nmse"].where(lambda error: error > 0)
            ax.plot(predicted, color=draw.ORANGE, label="capped, predicted")
        self._name_levels(ax)
        if (self.levels["nmse_capped"] > 0).all():
            draw.log_errors(ax)
        draw.whole_bits(ax, "bits per row")
        ax.set_ylabel("NMSE")
        draw.entitle(ax, "Coarse to fine")

    def _name_levels(self, ax: Any) -> None:
        """Name every measured point; levels without bits share the point of the one before."""
        for x, same in self.levels.iloc[1:].groupby("bits"):
            first, last = same.index[0] - 1, same.index[-1] - 1
            text = f"L{first}" if first == last else f"L{first}-L{last}"
            place = (x, same["nmse_capped"].iloc[-1])
            ax.annotate(text, place, xytext=(4, 4), textcoords="offset points", fontsize=8)

    def _plot_categories(self, ax: Any) -> None:
        if self.curves is None:
            draw.nothing(ax, "The plan was not measured.")
            return
        # Bits that other categories could not use may take one beyond what was measured.
        at = {name: min(self.bits[name], len(curve) - 1) for name, curve in self.curves.items()}
        left = {name: float(curve[at[name]]) for name, curve in self.curves.items()}
        worst = sorted(left, key=lambda name: -left[name])[: len(draw.CYCLE) - 1]
        for name, curve in self.curves.items():
            named = name in worst
            color = draw.CYCLE[worst.index(name)] if named else draw.GRAY
            shown = np.where(curve > 0, curve, np.nan)
            text = draw.legend_label(name) if named else None
            ax.plot(shown, color=color, lw=1.6 if named else 0.7, label=text)
            ax.plot(self.bits[name], shown[at[name]], "o", color=color, ms=5)
        draw.log_errors(ax)
        draw.whole_bits(ax, "bits of the category")
        ax.set_ylabel("NMSE, predicted")
        draw.entitle(ax, "Measured curves, and the bits chosen")


def _bits(decisions: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(bits) for name, bits in decisions["bits"].items()}


class TrainingHistoryDisplay(Display):
    """Loss and error per epoch of training, and use of the codebooks.

    Parameters
    ----------
    history : list of dict
        ``history_`` of a codec.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.displays import TrainingHistoryDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> vq = HierarchicalVQVAE(bits=16, max_epochs=1).fit(X)
    >>> TrainingHistoryDisplay.from_estimator(vq).ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, history: list[dict[str, Any]]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the history of a fitted codec.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, or Pipeline ending in one
        ax : matplotlib Axes, default=None

        Returns
        -------
        TrainingHistoryDisplay
        """
        codec = last_step(estimator, cls.__name__)
        check_is_fitted(codec)
        return cls(codec.history_).plot(ax)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, ax: Any = None) -> Self:
        """Draw from a diagnosis; parameters as for `from_estimator`."""
        return cls(diagnosis.history).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None

        Returns
        -------
        TrainingHistoryDisplay
        """
        ax, _ = draw.canvas(ax)
        self._keep(ax)
        if not self.history:
            draw.nothing(ax, "No epoch was trained.")
            return self
        table = pd.DataFrame(self.history).set_index("epoch")
        if table.get("start_nmse") is not None and pd.notna(table["start_nmse"].iloc[0]):
            start = table["start_nmse"].iloc[0]
            ax.axhline(start, color=draw.GRAY, ls=":", label="classical start")
        lines = (("train_loss", draw.BLUE, "o-"), ("valid_nmse", draw.RED, "s-"))
        words = {"train_loss": "training loss", "valid_nmse": "NMSE, kept aside"}
        for key, color, style in lines:
            if key in table:
                ax.plot(table[key], style, color=color, ms=4, label=words[key])
        if "utilization" in table:
            use = draw.other_side(ax)
            use.plot(table["utilization"], "^--", color=draw.GREEN, ms=4, label="utilization")
            use.plot(
                table["perplexity_share"], "v--", color=draw.SKY, ms=4, label="perplexity/size"
            )
            use.set_ylim(0, 1.05)
            use.set_ylabel("share of codewords")
            use.spines["top"].set_visible(False)
            draw.entitle(ax, "Training", use)
        else:
            draw.entitle(ax, "Training")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss, NMSE")
        ax.set_xlim(0.5, len(table) + 0.5)
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return self


class LatentMapDisplay(Display):
    """Rows on a plane by their quantized latents, colored by their most frequent coarse codes.

    Parameters
    ----------
    latent_map : LatentMap
        ``Diagnosis.latent_map``.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> from adaptive_vq.displays import LatentMapDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> vq = HierarchicalVQVAE(bits=8, max_epochs=0).fit(X)
    >>> LatentMapDisplay.from_estimator(vq, X, embedding="pca").ax_.get_title(loc="left")
    'Map of the codes (PCA)'
    """

    def __init__(self, latent_map: LatentMap) -> None:
        self.latent_map = latent_map

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        embedding: str = "tsne",
        n_map_rows: int = 500,
        random_state: int | None = 0,
        ax: Any = None,
    ) -> Self:
        """Encode rows, place them on a map and draw.

        Parameters
        ----------
        estimator : HierarchicalVQVAE, or Pipeline ending in one
        X : array-like of shape (n_samples, n_features)
        embedding : {"tsne", "pca"}, default="tsne"
            How rows are placed.
        n_map_rows : int, default=500
            Rows on the map, drawn at random from more.
        random_state : int or None, default=0
            Seed of that draw and of the map.
        ax : matplotlib Axes, default=None

        Returns
        -------
        LatentMapDisplay

        Raises
        ------
        TypeError, ValueError
            As :func:`adaptive_vq.diagnose`; if these rows have no map, saying why.
        """
        # Loads the embeddings of scikit-learn, which the other displays do without.
        from adaptive_vq._latent_map import check_map, latent_map, latents_of

        if embedding is None:
            raise ValueError("embedding=None is neither 'tsne' nor 'pca'.")
        check_map(embedding, n_map_rows, random_state)
        judged = judge(estimator, X, cls.__name__)
        found = latent_map(judged, latents_of(judged), embedding, n_map_rows, random_state)
        if isinstance(found, str):
            raise ValueError(f"There is no map of the codes: {found}.")
        return cls(found).plot(ax)

    @classmethod
    def from_diagnosis(cls, diagnosis: Diagnosis, *, ax: Any = None) -> Self:
        """Draw the map of a diagnosis.

        Parameters
        ----------
        diagnosis : Diagnosis
        ax : matplotlib Axes, default=None

        Returns
        -------
        LatentMapDisplay

        Raises
        ------
        ValueError
            If the diagnosis has no map, saying why.
        """
        if diagnosis.latent_map is None:
            raise ValueError(f"There is no map of the codes: {diagnosis.notes['latent_map']}.")
        return cls(diagnosis.latent_map).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None

        Returns
        -------
        LatentMapDisplay
        """
        ax, _ = draw.canvas(ax, 12)
        found = self.latent_map
        points, frequent = found.points, found.points["code"].value_counts().index
        rest = ~points["code"].isin(frequent[: len(draw.CYCLE)])
        if rest.any():
            ax.scatter(points["x"][rest], points["y"][rest], s=7, color=draw.GRAY, label="other")
        for color, code in zip(draw.CYCLE, frequent, strict=False):
            own = points["code"] == code
            ax.scatter(points["x"][own], points["y"][own], s=12, color=color, label=str(code))
        ax.set_xticks([])
        ax.set_yticks([])
        name = {"tsne": "t-SNE", "pca": "PCA"}[found.method]
        ax.set_title(f"Map of the codes ({name})", fontsize=10, loc="left")
        ax.legend(
            title=draw.label(found.codebook), frameon=False, fontsize=8, title_fontsize=8,
            loc="center left", bbox_to_anchor=(1.0, 0.5),
        )  # fmt: skip
        return self._keep(ax)
