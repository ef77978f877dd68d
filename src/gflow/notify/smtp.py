"""A conversation with a mail server that can be ended from another thread, and that no answer makes large.

`smtplib` blocks, and each of its waits has a time limit, but the whole has none: a server that says a little now and
then would keep a thread for good. So the line is in other hands as well, from before the first byte is read, and is cut
there.
"""

import smtplib
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

from gflow.notify.smtp_url import Server

MOST_ANSWER_BYTES = 64 * 1024
"""Of one answer, all its lines together."""


class Line:
    """The connection of one conversation. `cut` may be called by any thread and at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self.is_cut = False

    def hold(self, sock: socket.socket) -> None:
        """Take the connection; a second handle of it, since TLS takes the first one over. Raises OSError if cut."""
        with self._lock:
            if self.is_cut:
                raise OSError("its time is up")
            self._held = sock.dup()

    def cut(self) -> None:
        """End all waiting for the server."""
        with self._lock:
            self.is_cut = True
            if self._held is not None:
                with suppress(OSError):
                    self._held.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the handle back."""
        with self._lock:
            if self._held is not None:
                self._held.close()
                self._held = None


class Conversation(smtplib.SMTP):
    """`smtplib.SMTP`, over TLS from the start if the server is one of those. `here`: our name.

    Raises what smtplib raises: SMTPException, OSError.
    """

    def __init__(self, server: Server, here: str, *, line: Line, tls: ssl.SSLContext, timeout_secs: float) -> None:
        self._line = line
        self._wrapper = tls if server.tls == "wrapper" else None
        try:
            super().__init__(server.host, server.port, here, timeout=timeout_secs)
        except BaseException:
            self.close()
            raise

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:
        """Connect and hear the greeting."""
        sock = socket.create_connection((host, port), self.timeout, source_address)
        self.sock = sock
        self._line.hold(sock)
        if self._wrapper is not None:
            self.sock = self._wrapper.wrap_socket(sock, server_hostname=host)
        return self.getreply()

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer, of a bounded size."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        if self.file is not None:
            self.file.left = MOST_ANSWER_BYTES
        return super().getreply()

    def leave(self) -> None:
        """Say good-bye, whatever the answer to that is, and hang up."""
        try:
            with suppress(smtplib.SMTPException, OSError):
                self.quit()
        finally:
            self.close()
            self._line.release()


class _Bounded:
    """What smtplib reads answers from; `left` is how many bytes this one may still have."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = MOST_ANSWER_BYTES

    def readline(self, most: int) -> bytes:
        if self.left <= 0:
            raise OSError(f"it answers more than {MOST_ANSWER_BYTES // 1024} KiB")
        line: bytes = self._file.readline(most)
        self.left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()
