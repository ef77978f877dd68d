"""How contrib/docs makes a site of these pages. They are Markdown that a code host shows as well: links are
relative, anchors are those a code host makes of headings, and the tree of pages is what the lists of index.md name."""

import re
from pathlib import Path

from sphinx.application import Sphinx

_version = Path(__file__).parents[1] / "src" / "gflow" / "__init__.py"

project = "gflow"
author = copyright = "The gflow authors"  # noqa: A001 - Sphinx calls it so
version = release = re.search(r'__version__ = "(.+)"', _version.read_text())[1]

extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["_static"]
highlight_language = "none"
nitpicky = True

html_theme = "alabaster"
html_theme_options = {
    "description": "A job scheduler for one machine with GPUs",
    "font_family": "system-ui, sans-serif",
    "page_width": "1100px",
    "fixed_sidebar": True,
    "show_related": False,
    "sidebar_collapse": False,
}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_title = "gflow"
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_tree)


def add_tree(_app: Sphinx, page: str, source: list[str]) -> None:
    """Below the first page, the pages that each of its parts lists, as Sphinx wants to be told."""
    if page == "index":
        _, *parts = source[0].split("\n## ")
        source[0] += "".join(map(tree, parts))


def tree(part: str) -> str:
    caption, _, text = part.partition("\n")
    pages = re.findall(r"\]\(([\w/-]+)\.md\)", text)
    lines = ["```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {caption}", "", *pages, "```"]
    return "".join(f"\n{line}" for line in ["", *lines, ""])
