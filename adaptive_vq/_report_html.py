"""The HTML report: one self-contained page, light and dark, for desks and phones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from adaptive_vq import __version__
from adaptive_vq._report_style import STYLE
from adaptive_vq._report_text import comparison_cells, number, percent, verdict
from adaptive_vq._report_words import GLOSSARY, heading, is_share
from adaptive_vq._wording import counted

if TYPE_CHECKING:
    from adaptive_vq.comparison import Comparison
    from adaptive_vq.diagnosis import Diagnosis
    from adaptive_vq.recommendations import Recommendation


# ------------------------------------------------------------------------------ building blocks
def table_html(table: pd.DataFrame, bars: Iterable[str] = ()) -> str:
    """Table as HTML, figures shortened; `bars` are columns of shares drawn as bars behind them."""
    marked = set(bars)
    head = f'<th scope="col">{escape(heading(table.index.name))}</th>'
    head += "".join(
        f'<th scope="col"{_kind(table[key])}>{escape(heading(key))}</th>' for key in table
    )
    body = []
    for name, row in zip(table.index, table.to_dict("records"), strict=True):
        cells = "".join(_cell(str(key), value, key in marked) for key, value in row.items())
        row_head = f'<th scope="row"><div class="name">{escape(str(name))}</div></th>'
        body.append(f"<tr>{row_head}{cells}</tr>")
    rows = "\n".join(body)
    table_only = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide">{table_only}</div>'


def _kind(column: pd.Series) -> str:
    return "" if pd.api.types.is_numeric_dtype(column) else ' class="text"'


def _cell(key: str, value: Any, bar: bool) -> str:
    if isinstance(value, str):
        kind = ' class="text"' if len(value) > 24 else ' class="word"'
        return f"<td{kind}>{escape(value)}</td>"
    text = percent(value) if is_share(key) else number(value)
    if not bar or not math.isfinite(value):
        return f"<td>{text}</td>"
    width = 100 * min(max(float(value), 0.0), 1.0)
    return f'<td class="bar" style="--w:{width:.1f}%">{text}</td>'


def tiles(diagnosis: Diagnosis) -> str:
    """Headline figures as tiles."""
    s = diagnosis.summary
    found = [
        ("quality", f"{s['quality']:.4f}", f"1 - NMSE of {number(s['nmse'])}"),
        ("NMSE, capped", number(s["nmse_capped"]), f"training rows {number(s['training_nmse'])}"),
        (
            "bits per row",
            f"{s['bits']:.1f}",
            f"budget {number(s['budget'])}; entropy {s['entropy']:.1f}",
        ),
        ("worst category", number(s["worst_nmse"]), f"NMSE of {s['worst_category']}"),
        (
            "imbalance",
            number(s["max_median"]),
            f"max / median category; max / min {number(s['max_min'])}",
        ),
        (
            "codewords used",
            percent(s["utilization"]),
            f"in {counted(s['n_codebooks'], 'codebook')}",
        ),
        ("cells beyond caps", percent(s["capped"]), f"missing {percent(s['missing'])}"),
        (
            "topographic similarity",
            number(s["topographic_after"]),
            f"{number(s['topographic_before'])} before quantization",
        ),
    ]
    cards = [
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<small>{escape(str(more))}</small></div>"
        for name, value, more in found
    ]
    return f'<div class="tiles">{"".join(cards)}</div>'


def advice(recommendations: Iterable[Recommendation]) -> str:
    """Recommendations as a list."""
    items = [
        f"<li><b>{escape(heading(r.rule))}</b> "
        f"<small>to change: <code>{escape(r.parameter)}</code></small>"
        f"<p>{escape(r.message)}</p></li>"
        for r in recommendations
    ]
    if not items:
        return '<p class="good">Nothing stands out.</p>'
    return f'<ul class="advice">{"".join(items)}</ul>'


def glossary() -> str:
    """Words of the report and what they mean, folded up."""
    items = "".join(
        f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in GLOSSARY.items()
    )
    return _details("What the words mean", f"<dl>{items}</dl>")


def _notes(notes: dict[str, str]) -> str:
    if not notes:
        return ""
    items = "".join(
        f"<li><b>{escape(heading(k))}</b>: {escape(why)}</li>" for k, why in notes.items()
    )
    return f'<section><h2>Notes</h2><ul class="notes">{items}</ul></section>'


def _whole(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f'<body><main class="avq">{body}'
        f"<footer>adaptive-vq {escape(__version__)}</footer></main></body></html>\n"
    )


def _section(title: str, body: str, lead: str = "") -> str:
    lead = f"<p>{lead}</p>" if lead else ""
    return f"<section><h2>{title}</h2>{lead}{body}</section>"


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


# ---------------------------------------------------------------------------------- diagnosis
def page(diagnosis: Diagnosis) -> str:
    """Return the whole report as an HTML page."""
    from adaptive_vq._pictures import pictures

    d = diagnosis
    drawn = "".join(
        f"<figure>{svg}<figcaption>{escape(t)}</figcaption></figure>" for t, svg in pictures(d)
    )
    body = [
        _header(d),
        tiles(d),
        glossary(),
        f'<section class="pictures">{drawn}</section>',
        _section(f"Recommendations ({len(d.recommendations)})", advice(d.recommendations)),
        _categories(d),
        _decisions(d),
        _columns(d),
        _codebooks(d),
        _section(
            "Coarse to fine",
            table_html(d.levels),
            "Error if only the first levels are decoded: none (the training mean), L0, L0 and "
            "L1, ...",
        ),
        _map_scores(d),
        _notes(d.notes),
    ]
    return _whole("Diagnosis of a codec", "\n".join(body))


def fragment(diagnosis: Diagnosis) -> str:
    """Return tiles, recommendations and categories as an HTML fragment for notebooks."""
    d = diagnosis
    body = tiles(d) + advice(d.recommendations) + _categories(d)
    return f'<style>{STYLE}</style><div class="avq">{body}</div>'


def _header(d: Diagnosis) -> str:
    s = d.summary
    known = not math.isnan(s["n_training_rows"])
    fitted = counted(int(s["n_training_rows"]), "row") if known else "rows not on record"
    return (
        f"<header><h1>Diagnosis of a codec</h1><p>{counted(s['n_rows'], 'row')}, "
        f"{counted(s['n_columns'], 'column')} in "
        f"{counted(s['n_categories'], 'category', 'categories')}; fitted on "
        f"{fitted}. Errors are in codec units; an NMSE of 0 is perfect, "
        "1 no better than the training mean.</p></header>"
    )


def _categories(d: Diagnosis) -> str:
    table = d.categories.sort_values("nmse", ascending=False)
    lead = (
        "Worst first. <i>Capped</i>: the rows as the codec gets to see them, which is what plans "
        "predict; <i>own units</i>: columns with large numbers dominate; <i>share of error</i>: of "
        "the total; <i>error beyond caps</i>: part of the category's error that capping its cells "
        "takes away."
    )
    return _section("Categories", table_html(table, bars=["share", "share_beyond_caps"]), lead)


def _decisions(d: Diagnosis) -> str:
    first = ["reason", "bits", "predicted_nmse", "measured_nmse"]
    main = table_html(d.decisions[first])
    rest = table_html(d.decisions.drop(columns=first))
    return _section(
        "Why each ratio was chosen",
        main + _details("Scores, ratios and bits per level", rest),
        "Sentences quote the figures that the plan was made from, before training. "
        "<i>Predicted</i>: the fitted codec on rows kept aside, where there were any; "
        "<i>measured</i>: on the rows given here; both capped.",
    )


def _columns(d: Diagnosis) -> str:
    worst = d.worst_columns(10)
    rare = [c for c in ("equal_chance", "off_constant") if worst[c].isna().all()]
    keys = [c for c in worst.columns if c not in ("category", *rare)]
    parts = [
        _details(
            f"{name} - {counted(d.categories['n_columns'][str(name)], 'column')}, NMSE "
            f"{number(d.categories['nmse'][str(name)])}",
            table_html(group[keys], bars=["share_of_category"]),
        )
        for name, group in worst.groupby("category", sort=False)
    ]
    lead = (
        "The ten largest errors of each category. <i>Cells beyond caps</i>: share of the column's "
        "cells; <i>error beyond caps</i>: part of its error that capping takes away. Shifts "
        "compare capped cells with training: <i>mean shift</i> in standard deviations, <i>spread "
        "ratio</i> of standard deviations."
    )
    return _section("Columns", "".join(parts), lead)


def _codebooks(d: Diagnosis) -> str:
    if d.codebooks.empty:
        return _section("Codebooks", "<p>The codec has no codebook.</p>")
    given = [
        "size",
        "bits",
        "utilization",
        "training_utilization",
        "perplexity",
        "training_perplexity",
    ]
    given += ["entropy", "training_entropy", "dead", "training_dead", "rare", "training_rare"]
    given += ["top_share", "training_top_share", "rows_per_codeword", "unseen"]
    table = table_html(d.codebooks[given], bars=["utilization", "training_utilization"])
    lead = (
        "The rows given here beside the training rows. <i>Dead</i>: codewords without a row; "
        "<i>rare</i>: with 1 to 4; <i>top share</i>: rows of the most frequent code; <i>rows with "
        "new codes</i>: codes that no training row had."
    )
    return _section("Codebooks", _details(counted(len(d.codebooks), "codebook"), table), lead)


def _map_scores(d: Diagnosis) -> str:
    if d.latent_map is None:
        return ""
    lead = (
        "How well the rows of each coarse code (L0) stand apart from the others as clusters: a "
        "silhouette of 1 and a Davies-Bouldin index of 0 are perfectly separate. Categories with "
        "finer levels have clusters that touch, which is no fault."
    )
    table = table_html(d.latent_map.scores)
    return _section("Latents", _details("Silhouette and Davies-Bouldin", table), lead)


# --------------------------------------------------------------------------------- comparison
def comparison_fragment(comparison: Comparison) -> str:
    """Comparison as an HTML fragment."""
    return f'<style>{STYLE}</style><div class="avq">{_comparison(comparison)}</div>'


def comparison_page(comparison: Comparison) -> str:
    """Comparison as a self-contained HTML page."""
    title = "Comparison of codecs"
    return _whole(title, f"<h1>{title}</h1>{_comparison(comparison)}{glossary()}")


def _comparison(c: Comparison) -> str:
    intervals = (
        f" In brackets: 95&nbsp;% intervals of {counted(c.n_bootstrap, 'draw')} of rows."
        if c.n_bootstrap
        else ""
    )
    lead = (
        f"{counted(c.n_rows, 'row')} as they are; errors in the codec units of "
        f"{escape(repr(c.units))}.{intervals} <i>NMSE over best</i>: what a codec's NMSE has on "
        "top of the best one's, on the same draws."
    )
    cells = table_html(comparison_cells(c))
    rest = ["quality", "worst_category", "max_min", "gini", "perplexity_share", "entropy"]
    more = _details("More figures", table_html(c.table[rest]))
    verdict_first = f"<p><b>{escape(verdict(c))}</b></p>"
    return f"<section>{verdict_first}<p>{lead}</p>{cells}{more}</section>"
