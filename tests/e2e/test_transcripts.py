"""The tutorial and the examples still print what they show. `python -m support.transcripts PAGE` writes them anew."""

from pathlib import Path

import pytest

from support import transcripts

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "examples").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_is_printed(page: Path):
    shown = page.read_text()
    assert transcripts.masked(transcripts.run(shown)) == transcripts.masked(shown)
