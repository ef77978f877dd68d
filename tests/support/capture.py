"""What a command shows on a terminal of a given size, which is a real one: tmux's.

    python -m support.capture COLUMNSxLINES COMMAND [WORDS]

A command that ends is shown at its end; one that stays, such as `gflow top`, once WORDS are on the screen and nothing
but numbers changes there any more.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from support.wait import until

_OVER = "===over==="
_NOT_THE_TERMINALS = ("COLUMNS", "LINES", "PYTHONPATH", "TMUX")


def capture(size: str, command: str, words: str = "") -> str:
    """The lines on the screen."""
    columns, lines = size.split("x")
    surroundings = {name: value for name, value in os.environ.items() if name not in _NOT_THE_TERMINALS}
    with tempfile.TemporaryDirectory(prefix="gf") as scratch:
        (Path(scratch) / "conf").write_text("set -g status off\n")
        tmux = ["tmux", "-u", "-S", f"{scratch}/s", "-f", f"{scratch}/conf"]

        def run(*argv: str) -> str:
            done = subprocess.run(
                [*tmux, *argv], env=surroundings, capture_output=True, text=True, timeout=20, check=True
            )
            return done.stdout

        shell = f"{command}\nprintf '\\n{_OVER}\\n'; exec sleep 1000"
        run("new-session", "-d", "-x", columns, "-y", lines, "sh", "-c", shell)
        seen: list[str] = []

        def shown() -> str | None:
            text = run("capture-pane", "-p")
            if _OVER in text:
                return text.partition(_OVER)[0]
            seen.append(re.sub(r"\d", "0", text))
            return text if words and words in text and seen[-3:] == [seen[-1]] * 3 else None

        try:
            return until(shown, f"{words or 'the end'} of {command}")
        finally:
            run("kill-server")


if __name__ == "__main__":
    sys.stdout.write(capture(*sys.argv[1:]))
