"""Displays of a diagnosis as inline SVG that follows the page's colors."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from adaptive_vq import _plotting as draw
from adaptive_vq.displays import (
    CategoryErrorDisplay,
    CodebookUsageDisplay,
    LatentMapDisplay,
    RateDistortionDisplay,
    RatioDecisionDisplay,
    TrainingHistoryDisplay,
)

if TYPE_CHECKING:
    from adaptive_vq.diagnosis import Diagnosis

# Stands for the color of the page's text; no display draws with it.
_INK = "#010203"
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
    "svg.hashsalt": "adaptive-vq",  # the same figures give the same bytes
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}


_ERROR = (
    "Which category the error comes from. Bars: NMSE of the rows as the codec gets to see them "
    "(capped), red beyond 3 times the median category; orange: predicted. In brackets: rows as "
    "they are."
)
_BITS = (
    "What the budget was spent on: bits of each category, level by level (L0 is the coarsest). "
    "Beside them: its compression ratios, one per level."
)
_LEVELS = "Error left when only the first levels are decoded."
_FRONTIER = " Orange: the least error predicted for a codec with that budget in all."
_USE = (
    "How evenly codewords are used. 100: all are equally frequent; low: a few carry most rows. "
    "No cell: no codebook."
)
_CURVES = (
    "Error of each category at other bits, as measured for the plan; dots: the bits it got. "
    "Colored: the largest errors left; gray: the rest, if any."
)
_TRAINING = (
    "Loss on the training rows and NMSE on rows kept aside, per epoch; dotted: NMSE before "
    "training. On the right: use of the codewords."
)
_MAP = (
    "{n} rows; those with similar codes are near one another. Colors: the most frequent codes of "
    "{codebook}."
)


def pictures(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Draw all pictures that a diagnosis has: caption and SVG."""
    plt = draw.pyplot()
    for number, (display, arguments, caption) in enumerate(_displays(diagnosis)):
        # A reader gets the same page whatever style, or LaTeX, is set for other pictures.
        with plt.style.context(["default", _SETTINGS]), warnings.catch_warnings():
            # Text stays text: the reader's fonts have letters that matplotlib's lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure = display.from_diagnosis(diagnosis, **arguments).figure_
            yield caption, _svg(figure, f"p{number}")
        plt.close(figure)


def _displays(d: Diagnosis) -> Iterator[tuple[Any, dict[str, str], str]]:
    """Displays, how to draw them, and captions for readers who do not know the code."""
    yield CategoryErrorDisplay, {}, _ERROR
    yield RatioDecisionDisplay, {}, _BITS
    yield RateDistortionDisplay, {}, _LEVELS + ("" if d.frontier is None else _FRONTIER)
    yield CodebookUsageDisplay, {}, _USE
    if d.curves is not None:
        yield RateDistortionDisplay, {"kind": "categories"}, _CURVES
    if d.history:
        yield TrainingHistoryDisplay, {}, _TRAINING
    if d.latent_map is not None:
        yield (
            LatentMapDisplay,
            {},
            _MAP.format(n=len(d.latent_map.points), codebook=d.latent_map.codebook),
        )


def _svg(figure: Any, prefix: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Tags only: what stands between them are names, which stay as they are.
    return re.sub(r"<[^>]*>", lambda tag: _placed(tag[0], prefix), text)


def _placed(tag: str, prefix: str) -> str:
    """Color a tag as the page, and make identifiers distinct: several pictures share the page."""
    tag = re.sub(r'\bid="', f'id="{prefix}-', tag.replace(_INK, "currentColor"))
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", tag)
