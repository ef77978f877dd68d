"""Addresses of the web as people write them in a configuration: checked for all that can be seen without a look-up.

What a look-up finds out is a failure of a delivery, which is met at night; what can be seen is one of the start. No
message has the address in it, as that may be a secret.
"""

import re
from ipaddress import ip_address

import httpx

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MOST_HOST = 253


def web_url(text: str, key: str) -> httpx.URL:
    """The address. Raises ValueError, with `key` in front."""
    try:
        url = httpx.URL(text.strip())
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"{key}: it is no address of the web") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError(f"{key}: write http://HOST/PATH or https://HOST/PATH")
    if not is_host(host):
        raise ValueError(f"{key}: its host is neither a name, of letters, digits and hyphens, nor an IP address")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ValueError(f"{key}: its port is not from 1 to 65535")
    return url


def is_host(text: str) -> bool:
    """Whether it could be a host's name (RFC 1123, section 2.1; underscores are met in practice) or address."""
    try:
        return bool(ip_address(text))
    except ValueError:
        name = text.removesuffix(".")
    labels = name.split(".")
    return len(name) <= _MOST_HOST and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
