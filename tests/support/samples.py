"""Write the samples of payloads and put them into docs/notifications.md: `python -m support.samples`, in tests/."""

import json
import re
from pathlib import Path

from support.told import EVENTS, sample

TESTS = Path(__file__).parents[1]


def write() -> None:
    """Make the samples anew."""
    document = TESTS.parent / "docs" / "notifications.md"
    text = document.read_text(encoding="utf-8")
    for event in EVENTS:
        written = json.dumps(sample(event), indent=2, ensure_ascii=False) + "\n"
        (TESTS / "data" / "payloads" / f"{event}.json").write_text(written, encoding="utf-8")
        shown = f"### {event}\n\n```json\n{written}```"
        text = re.sub(rf"### {event}\n\n```json\n.*?```", lambda _, shown=shown: shown, text, flags=re.DOTALL)
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
