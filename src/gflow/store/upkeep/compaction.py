"""What compaction comes to, for those who ask for it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gflow.store.snapshot import NAME
from gflow.store.wal import segment_numbers, segment_path


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many jobs the new snapshot has, and how much a start had to read before and has to read now."""

    jobs: int
    bytes_before: int
    bytes_after: int


def bytes_to_read(data_dir: Path, first_segment: int) -> int:
    """The size of the snapshot, and of the log from the segment that goes on from it. Raises OSError."""
    later = (number for number in segment_numbers(data_dir) if number >= first_segment)
    total = 0
    for path in (data_dir / NAME, *(segment_path(data_dir, number) for number in later)):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
