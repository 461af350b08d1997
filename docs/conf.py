"""Sphinx settings; ``python -m sphinx -W -b html docs docs/_build/html`` builds everything."""

import os
import re
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("MPLBACKEND", "Agg")

import draw_modules  # noqa: E402

import adaptive_vq  # noqa: E402

project = "adaptive-vq"
author = "The adaptive-vq developers"
project_copyright = author
version = release = adaptive_vq.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples", "auto_examples/**/*.ipynb", "**/GALLERY_HEADER.rst"]
nitpicky = False
smartquotes = False  # defaults like "auto" are code; bent quotes cannot be typed

autosummary_generate = True
autodoc_typehints = "none"  # types stand in the numpydoc sections
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"  # the list of members is narrow

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
}
# Notices of libraries, which an example can do nothing about.
warnings.filterwarnings("ignore", message=".*is non-interactive.*", category=UserWarning)

html_theme = "pydata_sphinx_theme"
html_title = f"adaptive-vq {version}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
# Pages without pages below them need no bar of navigation on the left.
html_sidebars = {page: [] for page in ("design", "extend", "trust", "results", "release")}


def escape(app, what, name, obj, options, lines):
    """Keep ``n_features_in_`` and ``|mean|`` in prose from being read as a link and a substitution.

    Code (between double backquotes, and lines of a doctest) is left alone.
    """
    for k, line in enumerate(lines):
        if line.lstrip().startswith((">>>", "...")):
            continue
        parts = line.split("``")
        parts[::2] = [
            re.sub(r"\|(\w+)\|", r"\\|\1\\|", re.sub(r"(?<![`\w])(\w+)_(?=[,)])", r"\1\\_", part))
            for part in parts[::2]
        ]
        lines[k] = "``".join(parts)


def setup(app):
    """Draw the picture and the table of modules from the imports in the source."""
    app.connect("autodoc-process-docstring", escape, priority=400)  # before numpydoc
    draw_modules.main(HERE / "generated")
    return {"parallel_read_safe": True}
