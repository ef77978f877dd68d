"""TLS on what is accepted over TCP: the certificate and its key, the handshake, and the names we go by.

Whatever is wrong with the files is said before anything is served. What is wrong with a handshake concerns one client.
"""

import logging
import os
import socket
import ssl
import stat
from pathlib import Path

import trio

log = logging.getLogger(__name__)

HANDSHAKE_SECS = 10.0
"""A client that takes longer to begin, or to get done, is hung up on."""

_RECORD = b"\x16"
"""The first byte of every handshake, and of no request."""

_PLAIN = b'{"error":"This port speaks TLS: write https:// in place of http://","code":"malformed"}'
_ANSWER_TO_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_PLAIN), _PLAIN)
)


class UnusableCertificate(Exception):
    """TLS cannot be served with these files; the message is one line."""


class _HasPassphrase(Exception):
    """Nobody is there to type it."""


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What TLS is served with: at least TLS 1.2, HTTP/1.1. Raises UnusableCertificate."""
    _check_readable(cert, "daemon.tls_cert")
    _check_readable(key, "daemon.tls_key")
    _check_private(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # they would make a socket readable when there is nothing to be read of an answer
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_refuse_passphrase)
    except _HasPassphrase:
        raise UnusableCertificate(
            f"daemon.tls_key: {key} has a passphrase, and nobody is there to type it; use a key without one"
        ) from None
    except ssl.SSLError as error:
        what = "is not the key of the certificate" if "MISMATCH" in (error.reason or "") else "cannot be used with"
        raise UnusableCertificate(f"daemon.tls_key: {key} {what} {cert} ({_why(error)})") from None
    return context


def _refuse_passphrase() -> str:
    raise _HasPassphrase


def _check_readable(path: Path, setting: str) -> None:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # of a pipe there is no end
            raise UnusableCertificate(f"{setting}: {path} is not a file")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UnusableCertificate(f"{setting}: cannot read {path}: {error.strerror}") from None


def _check_private(key: Path) -> None:
    """Others may not read the key; a group may, if the file is somebody else's, who then means it so."""
    found = key.stat()
    barred = 0o077 if found.st_uid == os.geteuid() else 0o007
    if stat.S_IMODE(found.st_mode) & barred:
        raise UnusableCertificate(f"daemon.tls_key: others may read {key}; run: chmod 600 {key}")


def names_of(cert: Path, context: ssl.SSLContext) -> frozenset[str]:
    """The DNS names in the certificate, in lower case. Raises UnusableCertificate if no client could accept it.

    Its fields are told to nobody but a client that has verified it. So here is one, that trusts in this very file.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), context.wrap_bio(to_server, to_client, server_side=True))
    try:
        for _ in range(3):
            for end in ends:
                _go_on(end)
    except ssl.SSLError as error:
        raise UnusableCertificate(f"daemon.tls_cert: clients will refuse {cert}: {_why(error)}") from None
    found = (ends[0].getpeercert() or {}).get("subjectAltName", ())
    return frozenset(str(name[1]).lower() for name in found if name[0] == "DNS")


def _go_on(end: ssl.SSLObject) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return


def _why(error: ssl.SSLError) -> str:
    said: str | None = getattr(error, "verify_message", None) or error.reason
    return (said or str(error)).lower().replace("_", " ")


async def secured(stream: trio.SocketStream, context: ssl.SSLContext) -> "trio.SSLStream[trio.SocketStream] | None":
    """The stream with TLS around it; None if the client would not or could not. The caller closes what it gave."""
    sock = stream.socket
    try:
        with trio.fail_after(HANDSHAKE_SECS):
            first = await sock.recv(1, socket.MSG_PEEK)
            if first != _RECORD:
                log.debug("no TLS: the client %s", "spoke without it" if first else "hung up")
                await _explain(stream)
                return None
            secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await secure.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError, OSError) as error:
        log.debug("no TLS: %s", str(error.__cause__ or error) or "the client took too long")
        return None
    return secure


async def _explain(stream: trio.SocketStream) -> None:
    """Answer a request that came without TLS, and take in the rest of it: else the answer may get lost."""
    await stream.send_all(_ANSWER_TO_PLAIN)
    await stream.send_eof()
    while await stream.receive_some():
        pass
