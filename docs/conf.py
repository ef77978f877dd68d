"""How contrib/docs makes a site of these pages. They are Markdown that a code host shows as well: links are
relative, and anchors are those a code host makes of headings."""

import re
from pathlib import Path

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
