"""Jobs as a tree: below each what waits for it, and what was made again from it. Pure.

A job is drawn once; where it would come a second time, one line refers to it. So does the line at which a branch gets
too deep: the rest of that follows as a tree of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Links = Sequence[tuple[str, bool]]
    Branch = tuple[str, int, bool]

MOST_DEEP = 24

_DRAWN = ((("├─", "╰─"), ("├┄", "╰┄")), "│ ", "→ see job ")
_PLAIN = ((("|-", "`-"), ("|.", "`.")), "| ", "-> see job ")


def branches(ids: Sequence[str], links: Sequence[Links], *, symbols: bool, most_deep: int = MOST_DEEP) -> list[Branch]:
    """The lines of the tree: what is in front, the place of the job in `ids`, and whether it only refers to it.

    `links` has for each job the ids it hangs below, each with whether that is because it was made again from it;
    those that are not among `ids` do not count.
    """
    children = _children(ids, links)
    below = {child for found in children for child, _ in found}
    lines: list[Branch] = []
    drawn: set[int] = set()
    for top in (*(at for at in range(len(ids)) if at not in below), *range(len(ids))):
        if top not in drawn:
            _draw(top, children, drawn, lines, symbols=symbols, most_deep=most_deep)
    return lines


def reference(job_id: str, *, symbols: bool, short: bool = False) -> str:
    """What stands in place of a job that is drawn elsewhere."""
    words = (_DRAWN if symbols else _PLAIN)[2]
    return (words.replace("see job ", "") if short else words) + job_id


def depth_within(columns: int, id_width: int) -> int:
    """How deep a tree may get for a terminal that has so many columns for it, with short references; at least 1."""
    return max(1, (columns - len(_PLAIN[2].replace("see job ", "")) - id_width) // 2 - 1)


def _children(ids: Sequence[str], links: Sequence[Links]) -> list[list[tuple[int, bool]]]:
    place = {job_id: at for at, job_id in enumerate(ids)}
    children: list[list[tuple[int, bool]]] = [[] for _ in ids]
    for at, found in enumerate(links):
        above = {place[job_id]: again for job_id, again in reversed(found) if job_id in place and job_id != ids[at]}
        for parent, again in above.items():
            children[parent].append((at, again))
    return children


def _draw(
    top: int,
    children: list[list[tuple[int, bool]]],
    drawn: set[int],
    lines: list[Branch],
    *,
    symbols: bool,
    most_deep: int,
) -> None:
    corners, bar, _ = _DRAWN if symbols else _PLAIN
    todo = [(top, "", "", 0)]
    while todo:
        at, prefix, lead, depth = todo.pop()
        refers = at in drawn or depth > most_deep
        lines.append((prefix, at, refers))
        if refers:
            continue
        drawn.add(at)
        last = len(children[at]) - 1
        for number, (child, again) in reversed(list(enumerate(children[at]))):
            corner = corners[again][number == last]
            todo.append((child, lead + corner, lead + ("  " if number == last else bar), depth + 1))
