"""Many clients at once, from one thread: requests are prepared beforehand, so that the client costs next to nothing."""

import json
import selectors
import socket
import time
from typing import NoReturn

from connection import Endpoint


def request(path: str, body: object) -> bytes:
    """The bytes of a POST of `body` as JSON."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def dial(endpoint: Endpoint) -> socket.socket:
    """A connected socket."""
    if isinstance(endpoint, tuple):
        link = socket.create_connection(endpoint)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link
    link = socket.socket(socket.AF_UNIX)
    link.connect(endpoint)
    return link


def is_complete(answer: bytes) -> bool:
    """Whether the answer, which has a length, is there in full. Raises RuntimeError if it is not a 201."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    if b" 201" not in head.partition(b"\r\n")[0]:
        raise RuntimeError(f"refused: {answer.decode(errors='replace')[:300]}")
    length = head.lower().partition(b"content-length:")[2].split()[0]
    return len(body) >= int(length)


def hung_up() -> NoReturn:
    """The connection ended before its answer was there."""
    raise RuntimeError("the daemon hung up")


def post_all(endpoint: Endpoint, requests: list[bytes], clients: int, timeout: float = 60.0) -> float:
    """Send the requests over so many connections, each waiting for its answer before its next; return the seconds.

    Raises RuntimeError if one is refused, TimeoutError if nothing comes for `timeout` seconds.
    """
    waiting, answers = list(requests), {}
    with selectors.DefaultSelector() as selector:
        links = [dial(endpoint) for _ in range(clients)]
        begun = time.perf_counter()
        for opened in links:
            opened.sendall(waiting.pop())
            answers[opened] = b""
            selector.register(opened, selectors.EVENT_READ)
        while answers:
            if not (ready := selector.select(timeout)):
                raise TimeoutError(f"no answer within {timeout:g} s")
            for key, _ in ready:
                link = key.fileobj
                assert isinstance(link, socket.socket)
                answers[link] += link.recv(65536) or hung_up()
                if is_complete(answers[link]) and waiting:
                    answers[link] = b""
                    link.sendall(waiting.pop())
                elif is_complete(answers[link]):
                    del answers[link]
                    selector.unregister(link)
        secs = time.perf_counter() - begun
    for opened in links:
        opened.close()
    return secs
