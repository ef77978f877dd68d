"""gctl token create: a new token. Its text is shown here and never again."""

from __future__ import annotations

from gflow.cli.command import Command, Option
from gflow.cli.kinds import lifetime, not_empty
from gflow.cli.output import TEXT, print_document
from gflow.cli.render.table import harmless
from gflow.cli.token.data import described, entry
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]


def run(values: Values) -> int:
    wanted = {
        "user": values["user"],
        "name": values["name"],
        "expires_secs": values["expires"],
        "read_only": values["read_only"],
        "admin": values["admin"],
    }
    made = Client(find(values["url"], values["config"])).create_token(wanted)
    if not made["user_is_known"]:
        say(harmless(f"this machine has no user {made['user']}"))
    if values["output"] != "text":
        print_document({"token": made["token"], **entry(made)}, values["output"])
        return 0
    say(harmless(f"{described(made)}; it is not shown again"))
    print(made["token"])
    return 0


COMMAND = Command(
    "create",
    "Make a token by which somebody can use gflow over TCP. Stdout has the token and nothing else.",
    run,
    options=(
        Option("--user", convert=not_empty, metavar="NAME", help="Who it stands for (default: you)."),
        Option(
            "--expires", convert=lifetime, metavar="SPAN", help="How long it is good: 12h, 30d, 4w (default: ever)."
        ),
        Option("--read-only", help="It may look, and change nothing."),
        Option("--admin", help="It has the rights of an administrator, as long as its user is one."),
        Option("--name", convert=not_empty, metavar="LABEL", help="What to call it in lists."),
        TEXT,
    ),
    exclusive=(("read_only", "admin"),),
    examples=(
        ("gctl token create --user alice --expires 30d", "one for alice; with >FILE into a file, for its user only"),
        ("gctl token create --read-only --name laptop", "one of your own that can only look"),
    ),
)
