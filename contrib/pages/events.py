"""The events, of their names in the core and of what they are about."""

from gflow.core.events import EventKind
from pages.markdown import meaning, meanings, page, table

ABOUT = """\
What the daemon tells of: to programs, by mail and by HTTP as [notifications](../notifications.md), and to whoever
follows `GET /events` of [the API](../api.md). Each change makes exactly one. In a list of events `*` is all of them."""


def made() -> str:
    """The text of the page."""
    told = meanings(EventKind)
    rows = ((f"[{kind}](../notifications.md#{kind})", meaning(EventKind, kind.name, told)) for kind in EventKind)
    return page("Events", ABOUT, table(("event", ""), rows), "A sample of each is behind its name.")
