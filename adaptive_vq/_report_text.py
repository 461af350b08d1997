"""A diagnosis as JSON and as text for terminals."""

from __future__ import annotations

import json
import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from adaptive_vq import __version__
from adaptive_vq._json import plain
from adaptive_vq._wording import counted, shortened

if TYPE_CHECKING:
    from adaptive_vq.comparison import Comparison
    from adaptive_vq.diagnosis import Diagnosis

SCHEMA, VERSION = "adaptive_vq.diagnosis", 1
WIDTH = 100
_MOST_CATEGORIES = 12


# -------------------------------------------------------------------------------------- JSON
def as_json(diagnosis: Diagnosis) -> str:
    """Diagnosis as the JSON document that `Diagnosis.to_json` describes."""
    d = diagnosis
    tables = {
        name: _records(getattr(d, name))
        for name in ("categories", "columns", "codebooks", "levels", "decisions", "frontier")
    }
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "library": __version__,
        "summary": d.summary,
        **tables,
        "curves": d.curves,
        "history": d.history,
        "latent_map": None
        if d.latent_map is None
        else {
            "method": d.latent_map.method,
            "codebook": d.latent_map.codebook,
            "points": _records(d.latent_map.points.rename_axis("row")),
            "scores": _records(d.latent_map.scores),
        },
        "recommendations": [vars(r) for r in d.recommendations],
        "notes": d.notes,
    }
    return json.dumps(plain(document), ensure_ascii=False, allow_nan=False, indent=1)


def _records(table: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    if table is None:
        return None
    return [{str(k): v for k, v in row.items()} for row in table.reset_index().to_dict("records")]


# -------------------------------------------------------------------------------------- text
def number(value: Any, digits: int = 3) -> str:
    """Write a figure: few digits, as many for 0.1 as for 0.123; a dash where there is none.

    Examples
    --------
    >>> from adaptive_vq._report_text import number
    >>> number(0.123456), number(0.1), number(float("nan")), number(3), number("a")
    ('0.123', '0.100', '-', '3', 'a')
    >>> number(100.4), number(999.96), number(12345.6), number(1e11)
    ('100', '1000', '12346', '1.00e+11')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(value)
    if math.isnan(value):
        return "-"
    if 10**digits - 0.5 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def percent(share: float) -> str:
    """Write a share in percent, a dash where there is none."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def headline(diagnosis: Diagnosis) -> list[str]:
    """Return the figures of the whole in a few lines."""
    s = diagnosis.summary
    return [
        (
            f"Quality {s['quality']:.4f} (NMSE {number(s['nmse'])}; capped "
            f"{number(s['nmse_capped'])}, training rows {number(s['training_nmse'])}) on "
            f"{counted(s['n_rows'], 'row')} of {counted(s['n_columns'], 'column')}"
        ),
        (
            f"Rate {s['bits']:.2f} of {number(s['budget'])} bits per row (entropy "
            f"{s['entropy']:.2f}) in {counted(s['n_codebooks'], 'codebook')} on "
            f"{counted(s['n_levels'], 'level')}; "
            f"{percent(s['utilization'])} of codewords in use"
        ),
        (
            f"Worst of {counted(s['n_categories'], 'category', 'categories')}: "
            f"{s['worst_category']} with NMSE "
            f"{number(s['worst_nmse'])}; max/median {number(s['max_median'])}, max/min "
            f"{number(s['max_min'])}, Gini {number(s['gini'])}"
        ),
        (
            f"Cells beyond the caps {percent(s['capped'])}, missing {percent(s['missing'])} "
            f"(training {percent(s['training_missing'])}); rows with new codes "
            f"{percent(s['new_code_rows'])}; topographic similarity "
            f"{number(s['topographic_before'])} before, {number(s['topographic_after'])} after "
            "quantization"
        ),
    ]


def as_text(diagnosis: Diagnosis) -> str:
    """Diagnosis in a screen or two."""
    d = diagnosis
    parts = ["Diagnosis of a codec", *(_wrapped(line) for line in headline(d)), ""]
    shown = d.categories.sort_values("nmse", ascending=False).head(_MOST_CATEGORIES)
    table = shown[["n_columns", "bits", "nmse", "nmse_capped", "predicted_nmse", "training_nmse"]]
    table = table.assign(share=shown["share"])
    left_out = len(d.categories) - len(shown)
    parts += [_grid(table), *([f"... and {left_out} more categories"] if left_out else []), ""]
    parts += ["After each level:", _grid(d.levels[["bits", "nmse", "quality"]]), ""]
    parts += [f"Recommendations: {len(d.recommendations) or 'none'}"]
    parts += [_wrapped(f"- {found}", "  ") for found in d.recommendations]
    if d.notes:
        parts += ["Notes:", *(_wrapped(f"- {k}: {why}", "  ") for k, why in d.notes.items())]
    return "\n".join(parts)


def _wrapped(line: str, indent: str = "  ") -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False)


def _grid(table: pd.DataFrame) -> str:
    shown = table.map(number)
    shown.index = shown.index.map(lambda name: shortened(name, 28))
    return shown.rename_axis(None).to_string()


def comparison_text(comparison: Comparison) -> str:
    """Comparison as a table with intervals."""
    c = comparison
    draws = "no intervals"
    if c.n_bootstrap:
        draws = f"95 % intervals of {counted(c.n_bootstrap, 'draw')} of rows"
    head = (
        f"Comparison on {counted(c.n_rows, 'row')}, errors in codec units of {c.units!r}, {draws}"
    )
    return f"{_wrapped(head)}\n\n{_grid(comparison_cells(c))}\n\n{_wrapped(verdict(c))}"


def comparison_cells(comparison: Comparison) -> pd.DataFrame:
    """Return the main columns of a comparison as text, intervals in brackets."""
    t = comparison.table
    shown = pd.DataFrame({"bits": t["bits"].map("{:.2f}".format)}, index=t.index)
    for key in ("nmse", "nmse_over_best", "worst_nmse", "max_median"):
        shown[key] = [
            number(v) + ("" if math.isnan(low) else f" [{number(low)}, {number(high)}]")
            for v, low, high in zip(t[key], t[f"{key}_low"], t[f"{key}_high"], strict=True)
        ]
    shown["utilization"] = t["utilization"].map(percent)
    return shown


def verdict(comparison: Comparison) -> str:
    """Say in a sentence which codec is best and whether the rows can tell."""
    t = comparison.table
    first = comparison.first
    names = ", ".join(map(repr, first))
    alone = len(first) == 1
    if len(first) == len(t):
        return f"{names} have the same NMSE."
    least = f"{names} {'has the' if alone else 'have the same,'} least NMSE"
    if not comparison.n_bootstrap:
        return f"{least}."
    close = [name for name in t.index[len(first) :] if not t.loc[name, "nmse_over_best_low"] > 0]
    them = "it" if alone else "them"
    if not close:
        return f"{least}; the rows tell {them} from all others."
    others = ", ".join(map(repr, close))
    return f"{least}, but these rows do not tell {them} from {others}."
