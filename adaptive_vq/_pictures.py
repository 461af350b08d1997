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


def pictures(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Draw all pictures that a diagnosis has: caption and SVG."""
    d = diagnosis
    displays: list[tuple[str, Any, dict[str, str]]] = [
        (
            (
                "Bars: rows as the codec gets to see them; red: beyond 3 times the median; orange: "
                "predicted. In brackets: rows as they are."
            ),
            CategoryErrorDisplay,
            {},
        ),
        (
            "Budget of each category, coarse to fine, and its compression ratios.",
            RatioDecisionDisplay,
            {},
        ),
        ("Error left after each level.", RateDistortionDisplay, {}),
        ("100: all codewords equally frequent.", CodebookUsageDisplay, {}),
    ]
    if d.curves is not None:
        text = "What each category's error would be at other bits; gray: the rest."
        displays.append((text, RateDistortionDisplay, {"kind": "categories"}))
    if d.history:
        displays.append(
            ("Per epoch, on all training rows and rows kept aside.", TrainingHistoryDisplay, {})
        )
    if d.latent_map is not None:
        text = f"{len(d.latent_map.points)} rows; colors: the most frequent codes."
        displays.append((text, LatentMapDisplay, {}))
    plt = draw.pyplot()
    for number, (caption, display, arguments) in enumerate(displays):
        with plt.rc_context(_SETTINGS), warnings.catch_warnings():
            # Text stays text: the reader's fonts have letters that matplotlib's lacks.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure = display.from_diagnosis(d, **arguments).figure_
            yield caption, _svg(figure, f"p{number}")
        plt.close(figure)


def _svg(figure: Any, prefix: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Several pictures share a page: identifiers are made distinct.
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
