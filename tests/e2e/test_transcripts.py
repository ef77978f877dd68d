"""Pages still print what they show. `python -m support.transcripts PAGE` writes them anew."""

from pathlib import Path

import pytest

from support import transcripts

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if transcripts.FENCE in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_is_printed(page: Path):
    """What commands print depends now and then on which job was faster; on a busy machine it may be another one."""
    shown = page.read_text()
    for _ in range(3):
        printed = transcripts.masked(transcripts.run(shown))
        if printed == transcripts.masked(shown):
            break
    assert printed == transcripts.masked(shown)


PAGE = """<!-- setup
echo "made before" >file
-->

```console
$ cat file
made long ago
$ echo 2020-01-01T00:00:00Z; false
2019-01-01T00:00:00Z
[exit 1]
```

<!-- setup
echo "made between" >file
-->

```console
$ cat <<'END'
> $(cat file)
>
> END
$ cat file
```
"""


def test_a_command_may_be_on_a_terminal_wherever_it_stands():
    head = "<!-- no daemon -->\n<!-- terminal 40x5 test -->\n"
    page = f"{head}```console\n$ test -t 1 && echo seen\n$ [ -t 1 ] || echo piped\n```\n"
    assert transcripts.run(page) == page.replace("seen\n", "seen\nseen\n").replace("piped\n", "piped\npiped\n")


def test_a_page_that_is_wrong_is_put_right_and_what_still_holds_is_left_alone():
    right = PAGE.replace("made long ago", "made before")
    right = right.replace("> END\n", "> END\n$(cat file)\n").replace("$ cat file\n```", "$ cat file\nmade between\n```")
    assert transcripts.run(PAGE) == right
    assert transcripts.masked(PAGE) != transcripts.masked(right)
