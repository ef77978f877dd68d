"""Where one daemon listens: on its Unix socket, and on TCP if that is configured; opened anew, or taken over."""

import logging
import os
import socket

from gflow.api.callers import user_name
from gflow.daemon import configured
from gflow.daemon.endpoints import bind_unix
from gflow.daemon.handover import HandedOver
from gflow.daemon.loopback import bind_tcp, is_loopback
from gflow.daemon.settings import Settings

log = logging.getLogger(__name__)


class Listening:
    """The listening sockets of a daemon. `handed` are those that the program before, or systemd, has opened."""

    def __init__(self, settings: Settings, handed: HandedOver | None) -> None:
        self._settings = settings
        self._handed = handed
        self.sockets: list[socket.socket] = []

    def open(self) -> None:
        """Listen. The Unix socket comes last: where it is, the daemon is about to answer. Raises CannotListen, …"""
        listeners = self._tcp()
        try:
            self.sockets = [*listeners, self._handed.unix.dup() if self._handed is not None else self._bind()]
        except BaseException:
            for listener in listeners:
                listener.close()
            raise

    def _tcp(self) -> list[socket.socket]:
        config, handed = self._settings.config, self._handed
        tcp = config.tcp()
        if handed is not None and handed.tcp == tcp:
            return [sock.dup() for sock in handed.tcp_sockets]
        if handed is not None:
            handed.close()
        return [] if tcp is None else bind_tcp(*tcp, inside=configured.inside(config))

    def _bind(self) -> socket.socket:
        return bind_unix(self._settings.socket, 0o666 if self._settings.system else 0o600)

    def connections(self) -> list[socket.socket]:
        """Those that the program before has left, to go on with; once."""
        return self._handed.take_connections() if self._handed is not None else []

    @property
    def seen_outside(self) -> bool:
        """Whether other machines can reach one of the sockets."""
        return any(map(_is_seen_outside, self.sockets))

    def handed_on(self) -> HandedOver:
        """The sockets, for a program that takes this one's place."""
        *tcp_sockets, unix = (listener.dup() for listener in self.sockets)
        return HandedOver(unix, self._of_systemd, self._settings.config.tcp(), tuple(tcp_sockets))

    @property
    def _of_systemd(self) -> bool:
        return self._handed is not None and self._handed.of_systemd

    def unlink(self) -> None:
        """Remove the Unix socket. One of systemd's stays: whoever calls next is answered by the next daemon."""
        if not self._of_systemd:
            self._settings.socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open; whom it was handed on to has it open, too."""
        for listener in self.sockets:
            listener.close()

    def tell(self, *, outside: bool) -> None:
        """Say in the log where the daemon listens, and what is to be known about that."""
        log.info("listening on %s", self._settings.socket)
        config = self._settings.config
        url = configured.url(config)
        if url is None:
            return
        whom = "" if config.auth() == "none" else ", for whoever has a token (gctl token create)"
        log.info("listening on %s%s", url, whom)
        if config.auth() == "none":
            log.warning(
                'on %s there is no authentication (daemon.auth = "none"): every user of this machine can run'
                " programs as %s there, and act on every job, reservation and quota under any name",
                url,
                user_name(os.geteuid()),
            )
        elif outside and config.tls() is None:
            log.warning(
                "on %s there is no TLS (daemon.allow_plaintext = true): whoever is on the way to a client can read its"
                " token, its jobs and their environments, and act under that token",
                url,
            )


def _is_seen_outside(listener: socket.socket) -> bool:
    return listener.family != socket.AF_UNIX and not is_loopback(listener.getsockname()[0])
