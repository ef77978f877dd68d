"""TLS to a daemon: its certificate and its name are always verified. Loaded for https:// only: it takes its time."""

from __future__ import annotations

import _socket
import functools
import socket
import ssl

from gflow.client.errors import BadSetting, Unreachable

_UNKNOWN_ISSUER = (18, 19, 20, 21)
"""What OpenSSL calls certificates that nobody vouches for whom we know."""


def secured(sock: _socket.socket, url: str, host: str, cacert: str | None) -> _socket.socket:
    """The connected socket with TLS around it; `sock` itself is of no use any more. Raises `Unreachable`."""
    patience = sock.gettimeout()
    plain = socket.socket(fileno=sock.detach())
    plain.settimeout(patience)
    try:
        return _context(cacert).wrap_socket(plain, server_hostname=host)
    except BadSetting:
        plain.close()
        raise
    except ssl.SSLCertVerificationError as error:
        plain.close()
        hint = "; --cacert FILE names the CA it is from" if error.verify_code in _UNKNOWN_ISSUER else ""
        raise Unreachable(f"cannot trust gflowd at {url}: {error.verify_message.rstrip('.')}{hint}") from error
    except TimeoutError as error:
        plain.close()
        raise Unreachable(f"what listens at {url} does not answer; does it speak TLS, or is it http://?") from error
    except OSError as error:
        plain.close()
        raise Unreachable(f"what listens at {url} does not speak TLS ({_why(error)}); is it http://?") from error
    except ValueError as error:  # a name that no certificate can have
        plain.close()
        raise BadSetting(f"cannot use {url} as an endpoint: {error}") from error


def _why(error: OSError) -> str:
    said = getattr(error, "reason", None) or error.strerror or str(error)
    return said.lower().replace("_", " ")


@functools.lru_cache(maxsize=4)
def _context(cacert: str | None) -> ssl.SSLContext:
    """What is trusted: the CAs in `cacert`, else those of this system. At least TLS 1.2 is spoken."""
    try:
        context = ssl.create_default_context(cafile=cacert)
    except (OSError, ValueError) as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", str(error))
        raise BadSetting(f"cannot use the CA file {cacert}: {why}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
