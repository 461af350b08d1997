"""Reports in a browser: nothing wider than a phone, cut off or fetched. Skips without chromium."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from adaptive_vq import FeatureCharacterizer, HierarchicalVQVAE
from adaptive_vq.comparison import compare
from adaptive_vq.diagnosis import diagnose

mpl.use("Agg")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--dump-dom",
]
# The page is put into a frame, since headless windows do not get as narrow as a phone.
FRAME = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="frame" style="width:%dpx;height:900px;border:0"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("frame");
frame.onload = () => {
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach(folded => { folded.open = true; });
  const out = [], sizes = [];
  page.querySelectorAll("svg text").forEach(text => {
    const own = text.getBoundingClientRect();
    const picture = text.closest("svg").getBoundingClientRect();
    const scale = text.getScreenCTM();
    sizes.push(parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.b, scale.d));
    if (own.left < picture.left - 2 || own.right > picture.right + 2 ||
        own.top < picture.top - 2 || own.bottom > picture.bottom + 2) out.push(text.textContent);
  });
  const tall = [...page.querySelectorAll("figure")].map(f => f.getBoundingClientRect().right);
  document.getElementById("found").textContent = JSON.stringify({
    "width": page.documentElement.scrollWidth, "cut": out, "letters": Math.min(...sizes, 99),
    "fetched": frame.contentWindow.performance.getEntriesByType("resource").map(r => r.name),
    "figures": tall.length, "right": Math.max(...tall, 0)
  });
};
frame.srcdoc = %s;
</script>"""

Look = Callable[[str, int], dict]


def dumped(browser: str, page: Path, profile: Path) -> str:
    command = [browser, *QUIET, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


@pytest.fixture(scope="module")
def look(tmp_path_factory) -> Look:
    """Open a page in a frame of some width, all folds open, and tell what is seen."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no chromium to look with")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "page.html"
    page.write_text("<!DOCTYPE html><p>seen", encoding="utf-8")
    try:
        works = "seen" in dumped(browser, page, folder / "profile")
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        pytest.skip(f"{browser} does not start here")

    def found(text: str, width: int) -> dict:
        quoted = json.dumps(text).replace("</", "<\\/")
        page.write_text(FRAME % (width, quoted), encoding="utf-8")
        shown = dumped(browser, page, folder / "profile")
        said = re.search(r'<pre id="found">(.+?)</pre>', shown, flags=re.DOTALL)
        assert said, "the page did not load"
        return json.loads(unescape(said.group(1)))

    return found


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Fourteen columns of seven categories, some with long names."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 7))[:, np.arange(14) // 2] + 0.3 * rng.normal(size=(300, 14))
    family = "the_average_monthly_income_of_households_in_district"
    names = [f"{family}_{j // 2}__{'measurement_' * 5}{j}" for j in range(14)]
    return pd.DataFrame(X, columns=names)


@pytest.fixture(scope="module")
def codec(table) -> HierarchicalVQVAE:
    note = FeatureCharacterizer("prefix").fit_transform(table.iloc[:200])
    codec = HierarchicalVQVAE(bits=28, max_epochs=1, beam_width=4, random_state=0)
    return codec.fit(note)


def test_it_sees_what_is_cut_off_too_wide_or_fetched(look):
    """A page with every fault: the looks below are able to fail."""
    bad = (
        '<!DOCTYPE html><img src="http://127.0.0.1:9/missing.png"><p style="width:900px">wide</p>'
        '<svg width="50" height="20"><text x="20" y="10" font-size="4">longer than it</text>'
        '<text x="45" y="10" font-size="20">beyond</text></svg>'
    )
    found = look(bad, 400)
    assert found["width"] >= 900
    assert found["cut"] == ["beyond"]
    assert found["letters"] == pytest.approx(4)
    assert len(found["fetched"]) == 1


@pytest.mark.parametrize("width", [400, 1280])
def test_diagnosis(look, codec, table, width):
    page = diagnose(codec, table.iloc[200:], n_map_rows=40).to_html()
    found = look(page, width)
    assert found["figures"] >= 6
    assert found["width"] <= width
    assert found["right"] <= width
    assert found["cut"] == []
    assert found["fetched"] == []
    assert found["letters"] > 7  # pixels of the screen


def test_comparison(look, codec, table):
    page = compare({"one": codec, "other": codec}, table, n_bootstrap=20).to_html()
    found = look(page, 400)
    assert found["width"] <= 400
    assert found["fetched"] == []


def test_notebook(look, codec, table):
    report = diagnose(codec, table.iloc[200:], embedding=None)
    page = f'<!DOCTYPE html><meta charset="utf-8"><title>notebook</title>{report._repr_html_()}'
    assert look(page, 400)["width"] <= 400
