"""What the displays share: matplotlib, when a picture is drawn; a canvas, colors, labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from adaptive_vq._wording import shortened

# Okabe and Ito's colors, told apart by people with any common kind of color blindness.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
)
GRAY = "#8a8a8a"
CYCLE = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW)

_WIDTH, _ROW, _FRAME = 4.4, 0.19, 1.1
_POINTS_PER_INCH = 72
_LEGEND_ROW = 12.0  # points
_LEGEND_LETTERS = 46  # of a row, the handles included, at the width of a report's picture
_FEW_DECADES = 2.0


def pyplot() -> Any:
    """Import matplotlib, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "Pictures need matplotlib: pip install 'adaptive-vq[plot]' (or matplotlib)."
        ) from None
    return plt


def canvas(ax: Any, n_rows: int = 10) -> tuple[Any, float]:
    """Axes to draw on, and a font size at which `n_rows` labels one below another fit.

    Parameters
    ----------
    ax : matplotlib Axes or None
        None makes a figure, high enough for the rows.
    n_rows : int, default=10

    Returns
    -------
    ax : matplotlib Axes
    size : float
        Points.
    """
    plt = pyplot()
    if ax is None:
        height = max(2.4, _FRAME + _ROW * n_rows)
        _, ax = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
    inches = ax.get_window_extent().height / ax.figure.dpi
    size = float(np.clip(0.75 * inches * _POINTS_PER_INCH / max(n_rows, 1), 3.0, 8.5))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax, size


def label(name: object, most: int = 22) -> str:
    """Shorten a name in the middle, and keep dollar signs from turning into formulas.

    Examples
    --------
    >>> from adaptive_vq._plotting import label
    >>> label("price in US$ of the whole market", 16)
    'price in… market'
    """
    return shortened(name, most, "…").replace("$", r"\$")


def legend_label(name: object) -> str:
    r"""Shorten a name for a legend, from which matplotlib leaves out what begins with ``_``.

    Examples
    --------
    >>> from adaptive_vq._plotting import legend_label
    >>> legend_label("rain"), legend_label("_rain")
    ('rain', '\u200b_rain')
    """
    text = label(name)
    return f"\u200b{text}" if text.startswith("_") else text  # a space of no width


def name_rows(ax: Any, names: Sequence[object], size: float) -> None:
    """Label rows from top to bottom."""
    ax.set_yticks(range(len(names)), [label(name) for name in names], fontsize=size)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def beside(ax: Any, texts: Sequence[str], size: float, x: float = 1.01) -> None:
    """Write a text to the right of each row."""
    for row, text in enumerate(texts):
        ax.annotate(
            text,
            (x, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=size,
            annotation_clip=False,
        )


def other_side(ax: Any) -> Any:
    """Axes on the same place with a scale on the right; the figure's current axes stay current."""
    current = ax.figure.gca()
    other = ax.twinx()
    ax.figure.sca(current)
    return other


def entitle(ax: Any, title: str, *others: Any) -> None:
    """Put the legend above the axes and the title above both, where they cover nothing.

    Parameters
    ----------
    ax : matplotlib Axes
    title : str
    *others : matplotlib Axes
        Axes on the same place, whose lines the legend names too.
    """
    handles: list[Any] = []
    names: list[str] = []
    for axes in (ax, *others):
        more, texts = axes.get_legend_handles_labels()
        handles, names = handles + more, names + texts
    columns = max(1, _LEGEND_LETTERS // (6 + max(map(len, names), default=0)))
    rows = -(-len(names) // columns)
    ax.set_title(title, fontsize=10, loc="left", pad=6 + _LEGEND_ROW * rows)
    ax.legend(
        handles,
        names,
        frameon=False,
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.1,
        borderpad=0.2,
        labelspacing=0.3,
        ncols=columns,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.0,
    )


def whole_bits(ax: Any, label: str) -> None:
    """Name an axis of bits, with marks at whole numbers."""
    ax.set_xlabel(label)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def log_errors(ax: Any) -> None:
    """Make the axis of errors logarithmic; over few decades with plain numbers, not powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    if np.log10(high / low) < _FEW_DECADES:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{error:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def nothing(ax: Any, why: str) -> None:
    """Say on the picture why there is none."""
    ax.text(0.5, 0.5, why, ha="center", va="center", wrap=True, transform=ax.transAxes)
    ax.set_axis_off()


class Display:
    """Keeps the axes that were drawn on."""

    ax_: Any
    figure_: Any

    def _keep(self, ax: Any) -> Self:
        self.ax_, self.figure_ = ax, ax.figure
        return self
