"""The application class: bodies, limits, hang-ups, errors; with a server that can cancel and with one that cannot."""

import math

import pytest
import trio
import trio.testing
from quart import Response, request
from quart_trio import QuartTrio

from gflow.api.framework import Framework
from gflow.daemon.hangup import HANG_UP

idle = trio.testing.wait_all_tasks_blocked


def application():
    app = Framework("test", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.config["BODY_TIMEOUT"] = 5
    app.cancelled = []

    @app.post("/echo")
    async def echo():
        return Response(await request.get_data(cache=False), content_type="text/plain")

    @app.get("/wait")
    async def wait():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            app.cancelled.append(request.path)
            raise

    @app.get("/stream")
    async def stream():
        async def lines():
            yield b"one"
            yield b"two"

        response = Response(lines())
        response.timeout = None
        return response

    @app.get("/crash")
    async def crash():
        raise ZeroDivisionError

    @app.errorhandler(ZeroDivisionError)
    async def on_crash(problem):
        return Response("divided", status=500)

    return app


class Server:
    """Carries one request to the application; `cancels` says whether it knows the extension."""

    def __init__(self, cancels):
        self.app = application()
        self.cancels = cancels
        self.scope_to_cancel = None
        self.sent = []
        self.put, self.take = trio.open_memory_channel(math.inf)

    def _note(self, scope):
        self.scope_to_cancel = scope

    async def serve(self, method, path, **headers):
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": None,
            "server": None,
            "state": {},
            "extensions": {HANG_UP: self._note} if self.cancels else {},
        }
        await self.app(scope, self.take.receive, self.send)

    async def send(self, message):
        self.sent.append(message)

    def say(self, body, more=False):
        self.put.send_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self):
        if self.scope_to_cancel is not None:
            self.scope_to_cancel.cancel()
        self.put.send_nowait({"type": "http.disconnect"})

    @property
    def answer(self):
        """Status and body."""
        start, *bodies = self.sent
        assert not bodies[-1]["more_body"]
        return start["status"], b"".join(body["body"] for body in bodies)


@pytest.fixture(params=[True, False], ids=["with the extension", "without"])
def server(request):
    return Server(request.param)


async def test_a_body_in_one_piece(server):
    server.say(b"hello")
    await server.serve("POST", "/echo", content_length="5")
    assert server.answer == (200, b"hello")


async def test_a_body_in_pieces_that_come_later(server, nursery):
    nursery.start_soon(server.serve, "POST", "/echo")
    for part in (b"he", b"l", b"", b"lo"):
        await idle()
        server.say(part, more=True)
    await idle()
    assert server.sent == []
    server.say(b"")
    await idle()
    assert server.answer == (200, b"hello")


async def test_a_body_announced_too_large_is_refused_at_once(server):
    await server.serve("POST", "/echo", content_length="11")
    assert server.answer[0] == 413


async def test_a_body_that_turns_out_too_large_is_refused(server):
    server.say(b"123456", more=True)
    server.say(b"123456", more=True)
    await server.serve("POST", "/echo", transfer_encoding="chunked")
    assert server.answer[0] == 413


async def test_a_body_that_does_not_come_is_not_waited_for(server, autojump_clock):
    server.say(b"he", more=True)
    await server.serve("POST", "/echo", content_length="5")
    assert server.answer[0] == 408


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nowhere", 404), ("POST", "/wait", 405)])
async def test_what_is_no_route_is_answered_before_the_body_is_there(server, method, path, status):
    server.say(b"he", more=True)
    await server.serve(method, path, content_length="5")
    assert server.answer[0] == status


async def test_a_client_that_hangs_up_cancels_its_answer(server, nursery):
    server.say(b"")
    nursery.start_soon(server.serve, "GET", "/wait")
    await idle()
    server.hang_up()
    await idle()
    assert server.app.cancelled == ["/wait"]
    assert server.sent == []


async def test_a_client_that_hangs_up_in_the_middle_of_its_body_gets_no_answer(server, nursery):
    nursery.start_soon(server.serve, "POST", "/echo")
    await idle()
    server.say(b"he", more=True)
    await idle()
    server.hang_up()
    await idle()
    assert server.sent == []


async def test_a_stream(server):
    server.say(b"")
    await server.serve("GET", "/stream")
    assert server.answer == (200, b"onetwo")


async def test_a_client_that_does_not_take_its_answer_is_left(server, autojump_clock):
    async def stuck(message):
        await trio.sleep_forever()

    server.send = stuck
    server.say(b"hello")
    before = trio.current_time()
    await server.serve("POST", "/echo")
    assert trio.current_time() - before == server.app.config["RESPONSE_TIMEOUT"]


async def test_errors_reach_their_handlers(server):
    server.say(b"")
    await server.serve("GET", "/crash")
    assert server.answer == (500, b"divided")


async def test_a_host_that_is_none_does_not_matter(server):
    server.say(b"hello")
    await server.serve("POST", "/echo", content_length="5", host="..")
    assert server.answer == (200, b"hello")


def test_it_is_quart_otherwise():
    assert isinstance(application(), QuartTrio)
