"""Who would be told of events if notifications were enabled: what is wrong with that is found before the day they are.

Where they are enabled a daemon does not start with it, which is said of the configuration as a whole.
"""

from collections.abc import Iterator

import msgspec

from gflow.config import ConfigError, environment
from gflow.daemon.finding import NOTE, Finding, Place

_REMEDY = "notifications are off; once they are on, no daemon would start with it"


def notifications(place: Place) -> Iterator[Finding]:
    """The first target that could not be made."""
    try:
        said = place.settings().notifications
    except ConfigError:
        return
    if said.enabled or not (said.webhooks or said.emails or said.commands):
        return
    from gflow.notify import make  # and with it an HTTP client, which takes its time

    try:
        make.targets(msgspec.structs.replace(said, enabled=True), environment())
    except ValueError as error:
        yield Finding(NOTE, f"configuration: {error}", _REMEDY)
