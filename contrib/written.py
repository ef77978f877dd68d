"""Files that scripts make of the source and that are kept beside it: writing them, and telling which are stale."""

import sys
from pathlib import Path


def main(files: dict[Path, str], arguments: list[str]) -> int:
    """Write `files`, in directories without other files, or with --check name those that differ; the exit status."""
    if arguments not in ([], ["--check"]):
        print("the only option is --check", file=sys.stderr)
        return 2
    there = {path for directory in {path.parent for path in files} for path in directory.glob("*") if path.is_file()}
    stale = [path for path, text in files.items() if path not in there or path.read_text(encoding="utf-8") != text]
    extra = sorted(there - files.keys())
    if arguments:
        print("".join(f"{path}: not what it would be made now\n" for path in [*stale, *extra]), end="")
        return 1 if stale or extra else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    for path in extra:
        path.unlink()
    return 0
