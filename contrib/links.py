#!/usr/bin/env python3
"""Say which links of the documents lead nowhere: README and its like at the top, and all pages below docs/.

contrib/links.py [TOP]    exit status 1 if there are any; needs markdown-it-py, which comes with Sphinx's myst-parser

Files and anchors are looked up as a code host does it. Addresses elsewhere are looked at only, never called.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

READ = MarkdownIt("commonmark").enable("table")


def pages(top: Path) -> list[Path]:
    """All that people read."""
    return [*sorted(top.glob("*.md")), *sorted((top / "docs").rglob("*.md")), *sorted((top / "contrib").rglob("*.md"))]


def dead(top: Path) -> Iterator[str]:
    """A line for each link that leads nowhere."""
    for page in pages(top):
        for line, target in links(page):
            if trouble := trouble_with(target, page, top):
                yield f"{page.relative_to(top)}:{line}: {target}: {trouble}"


def links(page: Path) -> Iterator[tuple[int, str]]:
    """(line, target) of links and images."""
    for block in READ.parse(page.read_text(encoding="utf-8")):
        line = block.map[0] + 1 if block.map else 0
        for token in block.children or ():
            if token.type in ("link_open", "image"):
                yield line, str(token.attrs.get("href") or token.attrs.get("src") or "")


def trouble_with(target: str, page: Path, top: Path) -> str:
    """What is wrong with a link, nothing if it is right."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        right = (parts.scheme == "https" and parts.hostname) or (parts.scheme == "mailto" and "@" in parts.path)
        return "" if right else "write https://HOST/… or mailto:NAME@HOST"
    to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not to.is_relative_to(top) or not to.exists():
        return "there is no such file"
    if parts.fragment and (to.suffix != ".md" or unquote(parts.fragment) not in anchors(to)):
        return "there is no such heading"
    return ""


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of the headings of a page; one that comes again gets a number."""
    found, seen = set(), Counter[str]()
    tokens = READ.parse(page.read_text(encoding="utf-8"))
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            slug = slug_of(tokens[at + 1])
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(found)


def slug_of(heading: Token) -> str:
    """The anchor of a heading: its text in small letters, with hyphens for blanks and without marks."""
    text = "".join(part.content for part in heading.children or () if part.type in ("text", "code_inline"))
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def main(words: list[str]) -> int:
    found = list(dead(Path(words[0] if words else Path(__file__).parents[1]).resolve()))
    print("".join(f"{line}\n" for line in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
