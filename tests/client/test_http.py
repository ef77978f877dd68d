"""The client's verbs: the routes they use, what they do with answers, and when they ask again."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.client import unix
from gflow.client.errors import ClientError, ConnectionLost, Declined, Misanswered, NoAnswer
from gflow.client.http import Client, quote, target
from gflow.client.voice import say, speak_as
from support.fake_daemon import reply


@pytest.fixture
def client(daemon):
    return Client(str(daemon.path))


@given(st.text(st.characters(codec="utf-8")))
def test_quoting_is_undone_by_the_standard_library(text):
    from urllib.parse import unquote

    quoted = quote(text)
    assert unquote(quoted) == text
    assert not set(quoted) & set(" &=?#+\r\n/%".replace("%", ""))


def test_targets_leave_out_what_is_not_given():
    assert target("/jobs", {"state": "Queued,Hold", "user": None, "limit": 3}) == "/jobs?state=Queued,Hold&limit=3"
    assert target("/jobs", {"user": None}) == "/jobs"


def test_every_verb_uses_its_route(client, daemon):
    verbs = [
        (lambda: client.job(7), "GET", "/jobs/7", {}),
        (lambda: client.why(7), "GET", "/jobs/7/why", {}),
        (client.info, "GET", "/info", {}),
        (client.status, "GET", "/status", {}),
        (client.health, "GET", "/health", {}),
        (lambda: client.stats(user="ann", since=5), "GET", "/stats", {"user": "ann", "since": "5"}),
        (lambda: client.cancel(7), "POST", "/jobs/7/cancel", {}),
        (lambda: client.cancel(7, "no more"), "POST", "/jobs/7/cancel", {"reason": "no more"}),
        (lambda: client.cancel_many([7, 8], dry_run=True), "POST", "/jobs/cancel", {}),
        (lambda: client.signal(7, 10), "POST", "/jobs/7/signal", {}),
        (lambda: client.redo(7, {}), "POST", "/jobs/7/redo", {}),
        (lambda: client.processes(7), "GET", "/jobs/7/processes", {}),
        (lambda: client.close_terminal(7), "DELETE", "/jobs/7/terminal", {}),
        (lambda: client.hold(7), "POST", "/jobs/7/hold", {}),
        (lambda: client.release(7, 99), "POST", "/jobs/7/release", {"at": "99"}),
        (lambda: client.finish(7), "POST", "/jobs/7/finish", {}),
        (lambda: client.fail(7), "POST", "/jobs/7/fail", {}),
        (lambda: client.wait(7), "GET", "/jobs/7/wait", {"retries": "1"}),
        (lambda: client.update(7, {"priority": 3}), "PATCH", "/jobs/7", {}),
        (lambda: client.set_group_limit("g", 2), "POST", "/groups/g/max-concurrency", {}),
        (lambda: client.reserve({"user": "ann"}), "POST", "/reservations", {}),
        (lambda: client.reservation(3), "GET", "/reservations/3", {}),
        (lambda: client.cancel_reservation(3), "DELETE", "/reservations/3", {}),
    ]
    for verb, method, path, query in verbs:
        daemon.on(method, path, reply({}))
        verb()
        asked = daemon.asked[-1]
        assert (asked.method, asked.path, asked.query) == (method, path, query)


def test_the_queue_is_rows_and_a_total(client, daemon):
    daemon.on("GET", "/queue", reply("1\x1fa b\x1f\n2\x1fü\x1fx\n", headers={"X-Total": "9"}))
    assert client.queue(("JOBID", "NAME", "PROJECT"), mine=1, users=None) == ([["1", "a b", ""], ["2", "ü", "x"]], 9)
    assert daemon.asked[0].query == {"columns": "JOBID,NAME,PROJECT", "mine": "1"}


def test_an_empty_queue_has_no_rows(client, daemon):
    daemon.on("GET", "/queue", reply("", headers={"X-Total": "0"}))
    assert client.queue(("JOBID",)) == ([], 0)


def test_a_refusal_keeps_its_sentence_status_and_code(client, daemon):
    daemon.on("POST", "/jobs/7/hold", reply({"error": "Job 7 is Running", "code": "wrong_state"}, 409))
    with pytest.raises(Declined, match=r"^Job 7 is Running$") as caught:
        client.hold(7)
    assert (caught.value.status, caught.value.code) == (409, "wrong_state")


@pytest.mark.parametrize("body", [b"", b"plain\nwords", b"[1]", b'{"detail": 1}', b"\xff"])
def test_a_refusal_in_another_shape_is_still_one_line(client, daemon, body):
    daemon.on("GET", "/info", reply(body, 500))
    with pytest.raises(Declined, match="gflowd answered 500") as caught:
        client.info()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff"])
def test_an_answer_that_is_not_a_record_is_an_error(client, daemon, body):
    daemon.on("GET", "/info", reply(body))
    with pytest.raises(ConnectionLost):
        client.info()


class _FailsFirst:
    """Loses the connection on the first request, after having taken it."""

    def __init__(self, answer):
        self.answer = answer
        self.count = 0

    def __call__(self, asked):
        self.count += 1
        return b"" if self.count == 1 else self.answer


def test_a_submission_with_a_key_is_repeated_once_with_the_same_key(client, daemon):
    daemon.on("POST", "/jobs", _FailsFirst(reply({"id": 1}, 201)))
    assert client.submit({"command": "x", "submit_key": "k"}) == {"id": 1}
    assert [asked.json["submit_key"] for asked in daemon.asked] == ["k", "k"]


def test_a_submission_that_fails_twice_is_given_up(client, daemon):
    daemon.on("POST", "/jobs", b"")
    with pytest.raises(ConnectionLost):
        client.submit({"submit_key": "k"})
    assert len(daemon.asked) == 2


def test_what_has_no_key_is_not_repeated(client, daemon):
    for method, path in (("POST", "/jobs"), ("PATCH", "/jobs/1"), ("POST", "/jobs/batch")):
        daemon.on(method, path, b"")
    for verb in (lambda: client.submit({}), lambda: client.update(1, {}), lambda: client.submit_batch({}, [{}])):
        with pytest.raises(ConnectionLost):
            verb()
    assert len(daemon.asked) == 3


@pytest.mark.parametrize(
    ("ask", "shows"),
    [
        (lambda client: client.hold(7), "gjob show 7"),
        (lambda client: client.submit({"submit_key": "k"}), "gqueue -a"),
        (lambda client: client.cancel_many([7]), "gqueue -a"),
        (lambda client: client.set_quota("user", "a", {}), "gctl quota list"),
        (lambda client: client.cancel_reservation(3), "gctl reserve list"),
        (lambda client: client.drain(), "ginfo"),
    ],
)
def test_what_may_have_been_done_says_how_to_look(client, daemon, ask, shows):
    for method, path in (("POST", "/jobs/7/hold"), ("POST", "/jobs"), ("POST", "/jobs/cancel"), ("POST", "/drain")):
        daemon.on(method, path, b"")
    daemon.on("PUT", "/quotas", b"")
    daemon.on("DELETE", "/reservations/3", b"")
    with pytest.raises(ConnectionLost, match=rf"answered; it may have been done nevertheless: {shows} tells$"):
        ask(client)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.info(),
        lambda client: client.cancel_many([7], dry_run=True),
        lambda client: client.submit_batch({}, [{}], dry_run=True),
    ],
)
def test_what_changes_nothing_leaves_no_doubt(client, daemon, ask):
    for method, path in (("GET", "/info"), ("POST", "/jobs/cancel"), ("POST", "/jobs/batch")):
        daemon.on(method, path, b"")
    with pytest.raises(ConnectionLost, match=r"had answered$"):
        ask(client)


def test_a_daemon_that_is_silent_is_not_asked_twice(client, daemon, monkeypatch):
    hung = threading.Event()
    daemon.on("POST", "/jobs", lambda _asked: (hung.wait(20), b"")[1])
    ask = unix.ask
    monkeypatch.setattr(unix, "ask", lambda *words, **options: ask(*words, **{**options, "timeout_secs": 0.05}))
    try:
        with pytest.raises(NoAnswer):
            client.submit({"submit_key": "k"})
    finally:
        hung.set()
    assert len(daemon.asked) == 1


def test_text_that_is_not_utf8_is_refused_before_sending(client, daemon):
    with pytest.raises(ClientError, match="UTF-8"):
        client.submit({"argv": ["\udcff"]})
    assert daemon.asked == []


def test_waiting_for_any_returns_the_first_to_end(client, daemon):
    never = threading.Event()

    def hangs(asked):
        assert never.wait(30)
        return reply({})

    daemon.on("GET", "/jobs/1/wait", hangs)
    daemon.on("GET", "/jobs/2/wait", reply({"id": 2, "state": "Finished"}))
    try:
        assert client.wait_any([1, 2])["id"] == 2
    finally:
        never.set()


def test_waiting_outlives_a_daemon_that_stops(daemon, client, capsys):
    answers = iter([reply({"error": "The daemon is stopping", "code": "unavailable"}, 503), reply({"id": 7})])
    daemon.on("GET", "/jobs/7/wait", lambda _request: next(answers))
    speak_as("gjob wait")
    assert client.wait(7) == {"id": 7}
    assert (
        capsys.readouterr().err == "gjob wait: gflowd went away; waiting for it to come back ('gflowd up' starts it)\n"
    )


@pytest.mark.parametrize("act", [lambda c: c.cancel(7), lambda c: c.queue(("JOBID",)), lambda c: c.job(7)])
def test_a_redirection_is_no_success(client, daemon, act):
    moved = reply("", 302, {"Location": "https://login.example.com/"})
    for route in (("POST", "/jobs/7/cancel"), ("GET", "/queue"), ("GET", "/jobs/7")):
        daemon.on(*route, moved)
    with pytest.raises(Declined, match=r"is not gflowd: it answered 302 and sends us to https://login\.example\.com/;"):
        act(client)
    assert len(daemon.asked) == 1


@pytest.mark.parametrize(
    ("method", "route", "act"),
    [
        ("POST", "/jobs/7/cancel", lambda c: c.cancel(7)),
        ("POST", "/jobs/7/hold", lambda c: c.hold(7)),
        ("DELETE", "/reservations/3", lambda c: c.cancel_reservation(3)),
        ("GET", "/queue", lambda c: c.queue(("JOBID",))),
        ("GET", "/jobs/7", lambda c: c.job(7)),
        ("GET", "/jobs", lambda c: c.jobs()),
        ("GET", "/jobs/7/log/stream", lambda c: c.log(7)),
        ("GET", "/jobs/7/wait", lambda c: c.wait(7)),
        ("POST", "/jobs", lambda c: c.submit({"submit_key": "k"})),
    ],
)
@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b"[" * 200_000, b"[3]"])
def test_what_is_no_answer_of_gflow_is_no_success(client, daemon, method, route, act, page):
    daemon.on(method, route, b"HTTP/1.1 200 OK\r\n\r\n" + page)
    said = rf"^the daemon at unix:{daemon.path} answered with something else: is it gflow\?$"
    with pytest.raises(Misanswered, match=said):
        act(client)
    assert len(daemon.asked) == 1, "it would say the same once more"


@pytest.mark.parametrize("status", [300, 304, 399, 600, 999])
def test_no_other_status_is_success(client, daemon, status):
    daemon.on("POST", "/jobs/7/hold", reply(None, status))
    with pytest.raises(Declined, match=f"answered {status}"):
        client.hold(7)


def test_a_refusal_has_an_end(client, daemon):
    daemon.on("GET", "/info", reply(b"x" * 2_000_000, 500))
    with pytest.raises(Misanswered, match="something else without end"):
        client.info()


def test_a_sentence_of_the_server_does_not_steer_the_terminal(client, daemon, capsys):
    daemon.on("GET", "/jobs/7", reply({"error": "\x1b]0;OWNED\x07\x9b31m \u202egpj", "code": "x"}, 404))
    with pytest.raises(Declined) as declined:
        client.job(7)
    speak_as("gjob")
    say(str(declined.value))
    assert capsys.readouterr().err == "gjob: ?]0;OWNED??31m ?gpj\n"


def test_rows_of_the_queue_do_not_steer_the_terminal(client, daemon):
    daemon.on("GET", "/queue", reply("1\x1fa\x1b[2J\u202eb\x1f\n", headers={"X-Total": "1"}))
    assert client.queue(("JOBID", "NAME", "PROJECT")) == ([["1", "a?[2J?b", ""]], 1)
