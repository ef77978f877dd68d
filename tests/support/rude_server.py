"""A server on a real socket that does to each connection whatever it is told to, and counts those who have hung up."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Talk = Callable[[socket.socket], None]


def drips(text: bytes, pause_secs: float = 0.02) -> Talk:
    """Say this again and again, a little at a time, whatever the other side says, until it hangs up."""

    def talk(peer: socket.socket) -> None:
        while True:
            for at in range(0, len(text), 10):
                peer.sendall(text[at : at + 10])
                readable, _, _ = select.select([peer], [], [], pause_secs)
                if readable and not peer.recv(65536):
                    return

    return talk


def endless_answer(peer: socket.socket) -> None:
    """Greet, and answer what is said then with more lines than anybody wants."""
    peer.sendall(b"220 here\r\n")
    peer.recv(1000)
    while True:
        peer.sendall(b"250-aaaaaaaa\r\n" * 5000)


@dataclass
class RudeServer:
    """Listens on `port` of 127.0.0.1. `left`: connections that the other side has ended."""

    talk: Talk
    left: int = 0
    _peers: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._serve)
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                self._start(self._talk_to, peer)

    def _talk_to(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            self.talk(peer)
        self.left += 1
