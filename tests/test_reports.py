"""Reports: JSON after its schema, text for terminals, one self-contained HTML page."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import style

from adaptive_vq import FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq._report_html import table_html
from adaptive_vq._report_style import STYLE
from adaptive_vq.comparison import Comparison, compare
from adaptive_vq.diagnosis import Diagnosis, diagnose

mpl.use("Agg")


def quick(**parameters) -> HierarchicalVQVAE:
    settings = {"max_epochs": 0, "early_stopping": False, "random_state": 0}
    return HierarchicalVQVAE(**settings | parameters)


@pytest.fixture(scope="module")
def report() -> Diagnosis:
    """Diagnosis with all pictures, of a table with an odd family name."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(400, 3))
    X = factors[:, np.arange(9) // 3] + 0.3 * rng.normal(size=(400, 9))
    families = ("wave", "level", "price in US$ <b>")
    table = pd.DataFrame(X, columns=[f"{families[j // 3]}__{j}" for j in range(9)])
    note = FeatureCharacterizer(categories="prefix").fit_transform(table)
    vq = HierarchicalVQVAE(bits=24, max_epochs=1, random_state=0).fit(note.iloc[:200])
    return diagnose(vq, table.iloc[200:], n_map_rows=40)


@pytest.fixture(scope="module")
def whole_page(report: Diagnosis) -> str:
    return report.to_html()


def test_json_follows_its_schema(report, tmp_path):
    text = report.to_json(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert json.loads(text) == document
    assert (document["schema"], document["version"]) == ("adaptive_vq.diagnosis", 1)
    assert document["summary"]["nmse"] == report.summary["nmse"]
    assert document["categories"][0]["category"] == report.categories.index[0]
    assert document["categories"][0]["nmse"] == report.categories["nmse"].iloc[0]
    expected = {"schema", "version", "library", "summary", "categories", "columns", "codebooks"}
    expected |= {"levels", "decisions", "frontier", "curves", "history", "latent_map", "notes"}
    assert set(document) == expected | {"recommendations"}


def test_text_is_short_and_narrow(report):
    text = str(report)
    assert max(map(len, text.splitlines())) <= 100
    assert f"Quality {report.summary['quality']:.4f}" in text
    assert repr(report).startswith("<Diagnosis of 200 rows")


def test_text_tells_long_names_apart():
    names = [f"pressure_at_the_measuring_station_{i}" for i in range(3)]
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(80, 3)), 2, axis=1) + 0.1 * rng.normal(size=(80, 6))
    given = FeatureCharacterizer({name: [2 * i, 2 * i + 1] for i, name in enumerate(names)})
    vq = quick(bits=12).fit(given.fit_transform(X))
    text = diagnose(vq, X, embedding=None).to_text()
    assert all(f"pressure_at_t...ng_station_{i} " in text for i in range(3))
    compared = compare(dict.fromkeys(names, vq), X, n_bootstrap=0).to_text()
    assert all(f"pressure_at_t...ng_station_{i} " in compared for i in range(3))


class Page(HTMLParser):
    """Counts what matters of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_self_contained_page(report, tmp_path):
    text = report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    page = Page(text)
    assert not page.open
    assert page.tags.count("svg") >= 4
    assert page.tags.count("th") == len([k for k, _ in page.attributes if k == "scope"])
    assert not {"script", "link", "img", "iframe", "base", "object"} & set(page.tags)
    loaded = [v for k, v in page.attributes if k in ("src", "href", "xlink:href", "srcset")]
    assert all(v.startswith(("#", "data:image/png;base64,")) for v in loaded)
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [v for k, v in page.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in loaded if v.startswith("#")} <= set(ids)


def test_html_has_two_color_schemes_and_a_phone_width(whole_page):
    text = whole_page
    assert "prefers-color-scheme:dark" in text
    assert "width=device-width" in text
    assert "#010203" not in text
    assert "currentColor" in text


def test_names_are_escaped(report, whole_page):
    assert "price in US$ &lt;b&gt;" in whole_page
    assert "<b>__" not in whole_page
    assert "US$ <b>" not in report._repr_html_()


def test_names_in_any_script():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["日本", "ñ", "$x_$"])
    vq = quick(compression_ratios="0.5:1", bits=16, n_levels=2).fit(
        FeatureCharacterizer(categories=["日本", "日本", "$\\frac{$"]).fit_transform(X)
    )
    text = diagnose(vq, X, embedding=None).to_html()
    assert ">日本<" in text
    assert ">$\\frac{$<" in text


def test_page_does_not_follow_the_style_of_other_pictures(report, whole_page):
    looks = "ggplot", {"text.usetex": True, "savefig.bbox": "tight", "font.size": 30}
    with style.context(looks):
        before = dict(mpl.rcParams)
        assert report.to_html() == whole_page
        assert dict(mpl.rcParams) == before


def test_names_that_look_like_markup_stay_as_they_are_in_pictures():
    names = ['id="a"', "url(#b)", "#010203"]
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(80, 3)), 2, axis=1) + 0.1 * rng.normal(size=(80, 6))
    given = FeatureCharacterizer({name: [2 * i, 2 * i + 1] for i, name in enumerate(names)})
    vq = quick(bits=12).fit(given.fit_transform(X))
    texts = re.findall(r"<text[^>]*>([^<]*)<", diagnose(vq, X, embedding=None).to_html())
    assert set(names) <= set(texts)


def test_repr_html_has_no_pictures(report):
    text = report._repr_html_()
    assert "<svg" not in text
    assert Page(text).tags.count("table") == 1


def test_names_are_shown_in_full():
    """On a phone nothing tells what an ellipsis has cut off, and column names share beginnings."""
    name = "measurement_" * 6 + "7"
    text = table_html(pd.DataFrame({"nmse": [0.1]}, index=pd.Index([name], name="column")))
    assert f'<div class="name">{name}</div>' in text
    assert "ellipsis" not in STYLE


def test_heads_are_words(whole_page):
    page = Heads(whole_page)
    assert {
        "NMSE, capped",
        "error beyond caps",
        "cells beyond caps",
        "levels decoded",
    } <= page.heads
    assert not [head for head in page.heads if "_" in head]


class Heads(Page):
    """Collects the heads of the columns."""

    def __init__(self, text: str) -> None:
        self.heads: set[str] = set()
        super().__init__(text)

    def handle_data(self, data):
        if self.open[-2:] == ["tr", "th"]:
            self.heads.add(data)


def test_reason_stands_beside_its_category(report, whole_page):
    """A narrow screen shows the first columns; the section is there for the reason."""
    text = whole_page
    start = text.index("<table", text.index("Why each ratio was chosen"))
    first_cell = re.search(r"<td.*?</td>", text[start:])
    assert first_cell
    assert first_cell.group() == f'<td class="text">{report.decisions["reason"].iloc[0]}</td>'


def test_style_stands_in_the_head_of_a_page(whole_page):
    runs = {"a": 1.0, "b": 2.0}
    table = pd.DataFrame({"nmse": runs}).rename_axis("codec")
    keys = ["nmse", "nmse_over_best", "worst_nmse", "max_median"]
    table = table.assign(**{f"{k}{end}": 0.5 for k in keys for end in ("", "_low", "_high")})
    rest = ["bits", "quality", "utilization", "max_min", "gini", "perplexity_share", "entropy"]
    table = table.assign(worst_category="x", **dict.fromkeys(rest, 1.0))
    for text in (whole_page, Comparison(table, 10, 5, "a").to_html()):
        assert not Page(text).open
        # A picture may have a style of its own.
        assert "<style" not in re.sub(r"<svg.*?</svg>", "", text.split("</head>")[1], flags=re.S)


def test_words_of_the_page_are_explained(whole_page):
    for word in ("NMSE", "codec units", "capped", "level", "perplexity", "topographic similarity"):
        assert f"<dt>{word}</dt>" in re.sub(r"<dt>([^,<]+),[^<]*</dt>", r"<dt>\1</dt>", whole_page)


def test_matplotlib_is_loaded_for_pictures_only():
    code = (
        "import sys, numpy as np\n"
        "from adaptive_vq import HierarchicalVQVAE, diagnose\n"
        "import adaptive_vq.displays\n"
        "X = np.random.default_rng(0).normal(size=(40, 4))\n"
        "report = diagnose(HierarchicalVQVAE(bits=8, max_epochs=0).fit(X), X)\n"
        "str(report), report.to_json(), report._repr_html_()\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib.pyplot'] = None\n"
        "try:\n    report.to_html()\n"
        "except ImportError as error:\n    assert 'adaptive-vq[plot]' in str(error)\n"
        "else:\n    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
