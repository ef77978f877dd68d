"""The terminal of a job on another machine: gjob attach there, by way of ssh.

ssh joins its words by blanks and has the shell over there read them, so every word that is not our own is quoted.
"""

from __future__ import annotations

from gflow.client import tcp
from gflow.client.errors import BadSetting, ClientError


def attach(url: str, endpoint: object, job_id: int, *, read_only: bool = False) -> list[str]:
    """The command. `endpoint` is where the daemon says that it listens over there, as `unix:/path`."""
    words = ["gjob", "attach", str(int(job_id))]
    if read_only:
        words.append("--read-only")
    if isinstance(endpoint, str) and endpoint.startswith("unix:/"):
        words += ["--url", quote(endpoint)]
    return ["ssh", "-t", "--", _host(url), *words]


def line(argv: list[str]) -> str:
    """The command as people have to type it: the shell here takes its quotes, and leaves those for the one there."""
    return " ".join(map(quote, argv))


def _host(url: str) -> str:
    """What ssh is to connect to. Raises ClientError."""
    named = tcp.remote(url).ssh_host
    host = named or tcp.host_of(url)
    if not named and tcp.is_here(host):
        raise ClientError(
            f"a terminal does not come over {url}: use the Unix socket of this machine, or, if this is a tunnel,"
            " name the machine behind it with GFLOW_SSH_HOST"
        )
    if host.startswith("-") or not host.isprintable() or " " in host:
        raise BadSetting(f"cannot use {host!r} as the host of ssh: write host or user@host")
    return host


def quote(word: str) -> str:
    """The word as a shell has to be given it."""
    plain = word.isascii() and all(char.isalnum() or char in "/:._-@" for char in word)
    return word if plain and word else "'" + word.replace("'", "'\"'\"'") + "'"
