"""The guide's code runs and shows what it gives; the pages hang together."""

import ast
import doctest
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import adaptive_vq

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    p for p in DOCS.rglob("*.rst") if not {"generated", "_build", "auto_examples"} & set(p.parts)
)
GUIDE = [p for p in PAGES if re.search(r"^ *>>> ", p.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_guide_shows_what_its_code_gives(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert found.attempted > 0
    assert found.failed == 0, f"{page.name}: see the differences above"


def test_every_block_of_python_parses():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", text):
            ast.parse("if True:\n" + block)


@pytest.mark.parametrize("path", sorted((DOCS / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_import_what_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adaptive_vq"):
            module = importlib.import_module(node.module)
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []


PUBLIC = [
    "comparison",
    "datasets",
    "diagnosis",
    "displays",
    "metrics",
    "ratios",
    "scale",
    "streaming",
    "tuning",
]
"""Modules of which all names are public; of others those are that the pages import."""


def _named(path):
    """What stands at a place in the package."""
    module, _, name = path.rpartition(".")
    package = "adaptive_vq" + "." * bool(module) + module
    return getattr(importlib.import_module(package), name)


def _imported_by_pages():
    own = re.compile(r"^ *(?:>>> )?from adaptive_vq((?:\.[a-z]\w*)?) import (.+)$", re.MULTILINE)
    for page in [*GUIDE, ROOT / "README.md"]:
        for module, names in own.findall(page.read_text(encoding="utf-8")):
            yield from (f"{module}.{name.strip()}".strip(".") for name in names.split(","))


def _listed():
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    return re.findall(r"^(?:   |\.\. data:: )(\w+(?:\.\w+)?)$", text, re.MULTILINE)


def test_own_references_lead_to_the_reference():
    listed = _listed()
    texts = [("", page.read_text(encoding="utf-8")) for page in PAGES]
    for path in listed:
        texts.append((path.rpartition(".")[0], _named(path).__doc__ or ""))
    lost = []
    for module, text in texts:
        for target in re.findall(r":(?:func|class|mod):`~?([\w.]+)`", text):
            own = target.startswith("adaptive_vq.") or "." not in target
            name = target.removeprefix("adaptive_vq.")
            name = name if target != name else f"{module}.{name}".strip(".")
            lost += [(module, target)] if own and name not in listed else []
    assert lost == []


def test_the_reference_lists_all_public_names_once():
    listed = _listed()
    there = [id(_named(path)) for path in listed]
    assert len(listed) > 55
    assert [path for path in listed if there.count(id(_named(path))) > 1] == []
    modules = {"__version__", "datasets", "metrics", "scale"}
    public = {*adaptive_vq.__all__, *_imported_by_pages()} - modules
    assert "ratios.STRATEGIES" in public
    for name in PUBLIC:
        public |= {
            f"{name}.{own}" for own in importlib.import_module(f"adaptive_vq.{name}").__all__
        }
    assert sorted(path for path in public if id(_named(path)) not in there) == []


def test_arrows_between_modules_are_those_of_the_source():
    spec = importlib.util.spec_from_file_location("draw_modules", DOCS / "draw_modules.py")
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    uses = drawing.arrows()
    assert "classical" in uses["curves"]
    assert "quantize" in uses["classical"]
    assert uses["quantize"] == {"beam", "candidates", "kmeans"}
    assert uses["candidates"] == {"beam"}
    assert uses["beam"] == uses["kmeans"] == set()
    assert "vqvae" not in set().union(*(uses[m] for m in ("ratios", "characterize", "training")))
    depth = drawing.layers(uses)
    assert depth["vqvae"] > depth["ratios"] > depth["characterize"] > depth["units"] >= 0


def test_the_source_distribution_has_what_its_tests_and_readme_read():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packed = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"adaptive_vq", "tests", "benchmarks"} <= set(packed)
    linked = re.findall(r"\]\((\w[^):]*)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {Path(path).parts[0] for path in linked} == {"docs"} <= set(packed)
    assert [path for path in packed if not (ROOT / path).exists()] == []
