"""Looking at the snapshots and the log: each file by itself, and whether together they are one state.

Every good record counts, also behind damage, so that all that is wrong is found and not only the first of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from gflow.store.disk import open_regular
from gflow.store.errors import Damaged, Foreign, Newer, Unreadable
from gflow.store.records import decode
from gflow.store.snapshot import NAME, PREVIOUS, Snapshot, first_break, read_snapshot
from gflow.store.upkeep.finding import Finding, Verdict, amount
from gflow.store.wal import HEADER_BYTES, Frame, read_segment, salvage_segment, segment_numbers, segment_path

_PUT_BACK = (
    "put back a good copy of it; gflowd takes that up by itself, and until then serves what can be read, in recovery "
    "mode"
)
_MOVE_AWAY = f"move it away: {PREVIOUS} and the log that follows it are whole, and gflowd reads those instead"
_SPARE = "nothing is lost, as gflowd does not read it; after two 'gctl state compact' a new one is in its place"
_UPGRADE = "use a gflow that is as new as the one that wrote it"
_NOT_OURS = (
    "if it is the state of the older gflow, gflowd takes it over at its next start, or says which files of ours have "
    "to be moved away first; else move it away"
)
_MODE = "make it readable for the user that gflowd runs as"
_LEFT_OUT = "nothing: it was never acknowledged, and gflowd leaves it out"

_BLOCK_BYTES = 512


class Gap(NamedTuple):
    """Transactions that ought to be in a file, and from which byte on they are missed."""

    first: int
    last: int
    path: Path
    offset: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"transaction {self.first} is missing"
        return f"transactions {self.first} to {self.last} are missing"


@dataclass(slots=True)
class Piece:
    """A segment of the log: where its good records are, by seq.

    - first_seq: of the first record it has, or would have had; None if that cannot be told.
    - torn_at: where an unfinished write starts. size: as far as it was read. damaged: there is damage before that.
    """

    number: int
    path: Path
    finding: Finding
    first_seq: int | None = None
    offsets: dict[int, int] = field(default_factory=dict)
    torn_at: int | None = None
    size: int = 0
    damaged: bool = False

    @property
    def end(self) -> int:
        """Where the next record would go."""
        return self.size if self.torn_at is None else self.torn_at


@dataclass(frozen=True, slots=True)
class _Chain:
    """The log after a snapshot: its segments, what is missing, and whether all of it can be read."""

    pieces: list[Piece]
    gaps: list[Gap]
    whole: bool


@dataclass(slots=True)
class Files:
    """All of the state's files. `gaps`: what is missing of the log after the snapshot that counts."""

    findings: list[Finding]
    gaps: list[Gap]


def look_at_files(data_dir: Path, promised: int, *, running: bool) -> Files:
    """The snapshots and segments in `data_dir`. All transactions up to `promised` were acknowledged, if not more.

    With a daemon `running`, an unfinished write at the end of the log is one that is under way.
    """
    current, snapshot = _look_at_snapshot(data_dir / NAME)
    before, previous = _look_at_snapshot(data_dir / PREVIOUS)
    pieces = [_look_at_segment(segment_path(data_dir, number), number) for number in segment_numbers(data_dir)]
    spare = _chain(previous, pieces, promised, data_dir)
    _advise_on_snapshots(current, before, spare_is_whole=previous is not None and spare.whole)
    chain = spare if current.absent else _chain(snapshot, pieces, promised, data_dir)
    _judge(pieces, chain, running=running)
    known = snapshot is not None or current.absent
    return Files([current, before, *(piece.finding for piece in pieces)], chain.gaps if known else [])


def _advise_on_snapshots(current: Finding, before: Finding, *, spare_is_whole: bool) -> None:
    if spare_is_whole:
        _advise(current, _MOVE_AWAY)
    if not current.absent:
        _advise(before, _SPARE)
    elif not before.absent:
        current.says = "missing; the previous one and the log that follows it count instead"


def _advise(finding: Finding, advice: str) -> None:
    """What to do about damage; what else can be wrong has a remedy of its own."""
    finding.problems = [
        replace(problem, advice=advice) if problem.verdict is Verdict.DAMAGED else problem
        for problem in finding.problems
    ]


def _judge(pieces: list[Piece], chain: _Chain, *, running: bool) -> None:
    """Say of each segment what only the others tell: whether it counts, and what an unfinished write in it means."""
    counted = {piece.number for piece in chain.pieces}
    for piece in pieces:
        if piece.number not in counted:
            _advise(piece.finding, _SPARE)
            piece.finding.notes.append("from before the snapshot")
        if piece.torn_at is not None and piece.size > piece.torn_at:
            _judge_torn(piece, chain, last=piece is pieces[-1], running=running)


def _judge_torn(piece: Piece, chain: _Chain, *, last: bool, running: bool) -> None:
    size = amount(piece.size - (piece.torn_at or 0), "byte")
    if any(gap.path == piece.path and gap.offset == piece.torn_at for gap in chain.gaps):
        what = f"the last {size} cannot be read, though what should be there was acknowledged"
        piece.finding.add(Verdict.DAMAGED, what, _PUT_BACK, piece.torn_at)
    elif last and not running:
        what = f"the last {size} are a write that was never finished"
        piece.finding.add(Verdict.TORN, what, _LEFT_OUT, piece.torn_at)
    else:
        how = "is under way" if last else "was never finished, and the next segment went on instead"
        piece.finding.notes.append(f"from byte {piece.torn_at} on, a write that {how}")


# -- snapshots ---------------------------------------------------------------------------------------------------------


def _look_at_snapshot(path: Path) -> tuple[Finding, Snapshot | None]:
    finding = Finding(path.name)
    try:
        snapshot = read_snapshot(path)
    except FileNotFoundError:
        finding.absent, finding.says = True, "none yet" if path.name == NAME else "none"
    except (Unreadable, OSError) as error:
        _refused(finding, path, error)
    else:
        jobs = amount(len(snapshot.state.jobs), "job")
        finding.says = f"{jobs} as of transaction {snapshot.seq}, {amount(path.stat().st_size, 'byte')}"
        return finding, snapshot
    return finding, None


def _refused(finding: Finding, path: Path, error: Unreadable | OSError) -> None:
    match error:
        case Damaged():
            finding.add(Verdict.DAMAGED, _reason(error), _PUT_BACK, error.offset)
            for offset, what in _broken_places(path):
                finding.add(Verdict.DAMAGED, what, _PUT_BACK, offset)
        case Newer():
            finding.add(Verdict.NEWER, error.why, _UPGRADE)
        case Foreign():
            finding.add(Verdict.FOREIGN, error.why, _NOT_OURS)
        case Unreadable():
            finding.add(Verdict.UNREADABLE, error.why, _PUT_BACK)
        case OSError():
            finding.add(Verdict.UNREADABLE, error.strerror or str(error), _MODE)


def _reason(damaged: Damaged) -> str:
    """Without the place, which is told apart."""
    return damaged.why.removeprefix(f"damaged at byte {damaged.offset}: ")


def _broken_places(path: Path) -> Iterator[tuple[int, str]]:
    """Where a snapshot whose checksum is wrong shows it."""
    for start, stop in _zero_blocks(path):
        yield start, f"nothing but zeros up to byte {stop}"
    if (found := first_break(path)) is not None:
        offset, beyond = found
        yield (
            offset,
            f"the value that starts here {'goes on beyond the end of the file' if beyond else 'makes no sense'}",
        )


def _zero_blocks(path: Path) -> Iterator[tuple[int, int]]:
    """Stretches of whole disk blocks that are all zeros; no state has such."""
    nothing = bytes(_BLOCK_BYTES)
    start = at = 0
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            if block != nothing[: len(block)]:
                if at > start:
                    yield start, at
                start = at + len(block)
            at += len(block)
    if at > start:
        yield start, at


# -- segments ----------------------------------------------------------------------------------------------------------


def _look_at_segment(path: Path, number: int) -> Piece:
    piece = Piece(number, path, Finding(path.name))
    try:
        _read(piece)
    except FileNotFoundError:
        piece.finding.add(Verdict.MISSING, "it went while it was looked for", "look again")
    except (Unreadable, OSError) as error:
        _refused(piece.finding, path, error)
        piece.damaged = True
    return piece


def _read(piece: Piece) -> None:
    """Raises what `salvage_segment` raises."""
    why = ""
    try:
        contents = read_segment(piece.path, piece.number)
        piece.first_seq, piece.torn_at, piece.size = contents.first_seq, contents.torn_at, contents.size
        frames, bad = contents.frames, []
    except Damaged as damaged:
        remains = salvage_segment(piece.path, piece.number)
        piece.first_seq, frames, bad, why = remains.first_seq, remains.frames, remains.bad, _reason(damaged)
        piece.size = max([HEADER_BYTES, *(frame.end for frame in frames[-1:]), *(stop for _, stop in bad[-1:])])
    _tell_of_damage(piece, frames, bad, why)
    _decode(piece, frames)
    _describe(piece)


def _tell_of_damage(piece: Piece, frames: Sequence[Frame], bad: list[tuple[int, int]], why: str) -> None:
    """A stretch is no damage but an unfinished write if nothing follows that was written after it."""
    for start, stop in bad:
        if start == 0:
            piece.finding.add(Verdict.DAMAGED, why, _PUT_BACK, 0)
        elif any(frame.batch > start for frame in frames):
            what = f"no record can be read up to byte {stop}, and good ones follow"
            piece.finding.add(Verdict.DAMAGED, what, _PUT_BACK, start)
        else:
            piece.torn_at = start
            break
        piece.damaged = True


def _decode(piece: Piece, frames: Sequence[Frame]) -> None:
    for frame in frames:
        if piece.torn_at is not None and frame.offset >= piece.torn_at:
            break
        try:
            piece.offsets[decode(frame.record).seq] = frame.offset
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the record here makes no sense ({error!r})"
            piece.finding.add(Verdict.DAMAGED, what, _PUT_BACK, frame.offset)
            piece.damaged = True
    if piece.first_seq is None:
        piece.first_seq = min(piece.offsets, default=None)


def _describe(piece: Piece) -> None:
    first, last = min(piece.offsets, default=0), max(piece.offsets, default=0)
    count = amount(len(piece.offsets), "transaction")
    which = f" ({first} to {last})" if first < last else f" ({first})" if first else ""
    piece.finding.says = f"{count}{which}, {amount(piece.size, 'byte')}"


# -- together ----------------------------------------------------------------------------------------------------------


def _chain(snapshot: Snapshot | None, pieces: list[Piece], promised: int, data_dir: Path) -> _Chain:
    """What follows `snapshot`, or the beginning of everything."""
    start, expected = (snapshot.segment, snapshot.seq + 1) if snapshot is not None else (1, 1)
    here = [piece for piece in pieces if piece.number >= start]
    gaps: list[Gap] = []
    for piece, void_from in _with_bounds(here):
        for first, after, offset in _runs(piece, void_from):
            if first > expected:
                gaps.append(Gap(expected, first - 1, piece.path, offset))
            expected = max(expected, after)
    if promised >= expected:
        path, offset = (here[-1].path, here[-1].end) if here else (segment_path(data_dir, start), 0)
        gaps.append(Gap(expected, promised, path, offset))
    named = snapshot is None or (bool(here) and here[0].number == start)
    return _Chain(here, gaps, named and not gaps and not any(piece.damaged for piece in here))


def _runs(piece: Piece, void_from: int | None) -> Iterator[tuple[int, int, int]]:
    """What a segment has without a gap: first seq, the seq after the last, and the byte at which it starts."""
    if piece.first_seq is not None:
        yield piece.first_seq, piece.first_seq, 0
    for seq, offset in sorted(piece.offsets.items()):
        if void_from is None or seq < void_from:
            yield seq, seq + 1, offset


def _with_bounds(pieces: list[Piece]) -> list[tuple[Piece, int | None]]:
    """Each segment with the seq from which on later ones replace it."""
    bounded: list[tuple[Piece, int | None]] = []
    void_from: int | None = None
    for piece in reversed(pieces):
        bounded.append((piece, void_from))
        if piece.first_seq is not None:
            void_from = piece.first_seq if void_from is None else min(void_from, piece.first_seq)
    return bounded[::-1]
