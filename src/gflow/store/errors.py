"""What can be wrong with a file of the store. Each error names the file and where in it the trouble is.

None of them changes a file: whoever catches one still has everything that was there.
"""

from pathlib import Path


class Unreadable(Exception):
    """Base: the state cannot be read as it stands. The message is one line for a person."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class Damaged(Unreadable):
    """Something that was safely on disk has changed or is gone. `offset` is in bytes."""

    def __init__(self, path: Path, offset: int, why: str) -> None:
        super().__init__(path, f"damaged at byte {offset}: {why}")
        self.offset = offset


class Newer(Unreadable):
    """Written by a later version, in a format this one does not know."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(path, f"has format version {version}; this gflow reads up to {known}: use a newer gflow")
        self.version = version


class Foreign(Unreadable):
    """A file of the right name that this program has not written."""
