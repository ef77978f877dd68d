"""What commands read of the configuration file, beside the endpoint.

TOML is parsed only if the file speaks of what is wanted: the parser costs more than the whole rest of a command.
"""

from __future__ import annotations

from gflow import paths
from gflow.client.errors import BadSetting


def timezone(named: str | None = None) -> tuple[str, str | None]:
    """The path of the file, and its `timezone`. `named` is what --config said; raises `BadSetting`.

    A file that was named must exist, the default one need not.
    """
    path = named or paths.config_file()
    content = _content(path, must_exist=named is not None)
    if b"timezone" not in content:
        return path, None
    import tomllib

    try:
        value = tomllib.loads(content.decode()).get("timezone")
    except ValueError as error:
        raise BadSetting(f"{path} is not valid TOML: {error}") from error
    if value is not None and not isinstance(value, str):
        raise BadSetting(f"{path}: timezone must be the name of a time zone")
    return path, value


def _content(path: str, *, must_exist: bool) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        if must_exist:
            raise BadSetting(f"configuration file {path} does not exist") from None
        return b""
    except OSError as error:
        raise BadSetting(f"cannot read configuration file {path}: {error.strerror}") from error
