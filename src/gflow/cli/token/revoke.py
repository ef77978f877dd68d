"""gctl token revoke: from now on it is no token any more."""

from __future__ import annotations

from gflow.cli.command import Argument, Command
from gflow.cli.each import each
from gflow.cli.kinds import positive
from gflow.cli.render.table import harmless
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))

    def revoke(token_id: int) -> None:
        token = client.revoke_token(token_id)
        print(harmless(f"Token {token['id']} of {token['user']} is revoked"))

    return each(values["ids"], revoke)


COMMAND = Command(
    "revoke",
    "Have tokens be none any more; what they are used for just now ends, too.",
    run,
    arguments=(Argument("ids", "ID", positive, variadic=True),),
    examples=(("gctl token revoke 3 5", "two of them; gctl token list has their ids"),),
)
