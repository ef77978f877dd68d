"""What commands of this user need to reach daemons on other machines: a token, and whom to trust."""

import ssl
from collections.abc import Iterator

from gflow.client import token
from gflow.client.errors import BadSetting
from gflow.config import ConfigError
from gflow.daemon.finding import OK, PROBLEM, Finding, Place


def client(place: Place) -> Iterator[Finding]:
    """The token and the authorities that are configured; nothing where there are none."""
    yield from _token()
    yield from _authorities(place)


def _token() -> Iterator[Finding]:
    try:
        found = token.find()
    except BadSetting as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding(PROBLEM, what, remedy or "ask for another on the daemon's machine: gctl token create")
        return
    if found is not None:
        yield Finding(OK, f"the token for other machines is in {found.origin}")


def _authorities(place: Place) -> Iterator[Finding]:
    """What is wrong with the configuration is said elsewhere."""
    try:
        named = place.settings().client.cacert
    except ConfigError:
        return
    if named is None:
        return
    try:
        ssl.create_default_context(cafile=named)
    except OSError as error:
        why = "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        remedy = "name a PEM file with the authorities to trust, or leave it out for those of the system"
        yield Finding(PROBLEM, f"client.cacert: cannot read {named}: {why}", remedy)
        return
    yield Finding(OK, f"the authorities to trust are in {named}")
