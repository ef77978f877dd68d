"""Mail, through a real server: who gets which, how the connection is secured, and what each refusal means."""

import logging
import os
import socket
import ssl

import pytest
import trio
import trustme

from gflow.notify import allowance, email
from gflow.notify.base import DeliveryFailed
from gflow.notify.email import THREADS, Email
from gflow.notify.smtp_url import smtp_server
from gflow.notify.subscription import Subscription
from support.hanging import hanging
from support.mail_server import MailServer
from support.rude_server import RudeServer, drips, endless_answer
from support.told import delivery, told


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def serving(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def mailer(url, *to, events=("*",), users=(), **fields):
    return Email(
        server=smtp_server(url, "k"),
        address=url,
        subscription=Subscription(events, users),
        sender="gflow <gflow@example.com>",
        envelope_from="gflow@example.com",
        to=list(to),
        **fields,
    )


async def failure_of(target, made=None):
    with pytest.raises(DeliveryFailed) as caught:
        await target.deliver(made or delivery())
    return caught.value


async def test_each_recipient_gets_a_mail_that_says_all():
    with MailServer() as server:
        await mailer(f"smtp://localhost:{server.port}", "a@b.org", "c@d.org").deliver(delivery())
    assert [(mail.sender, mail.recipients) for mail in server.mails] == [
        ("gflow@example.com", ["a@b.org"]),
        ("gflow@example.com", ["c@d.org"]),
    ]
    first, second = server.mails
    assert first.subject == (
        "[gflow gpu-server-01] job 42 train failed: exit code 3 after 01:10:05; tried again as job 43"
    )
    assert (first.message["From"], first.message["To"]) == ("gflow <gflow@example.com>", "a@b.org")
    assert first.message["Message-ID"] != second.message["Message-ID"]
    assert "Exit code:     3\n" in first.text
    assert "Run time:      01:10:05\n" in first.text
    assert not first.encrypted
    assert server.said_hello == 1, "one conversation"


@pytest.mark.parametrize("option", ["tls=required", "starttls=required", "tls=opportunistic"])
async def test_starttls(option, serving, trusting):
    with MailServer(starttls=serving) as server:
        await mailer(f"smtp://localhost:{server.port}?{option}", "a@b", tls_context=trusting).deliver(delivery())
    assert server.mails[0].encrypted


async def test_tls_from_the_start(serving, trusting):
    with MailServer(wrapper=serving) as server:
        await mailer(f"smtps://localhost:{server.port}", "a@b", tls_context=trusting).deliver(delivery())
    assert server.mails[0].encrypted


@pytest.mark.parametrize("how", ["starttls", "wrapper"])
async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(how, serving):
    with MailServer(**{how: serving}) as server:
        url = f"smtps://localhost:{server.port}" if how == "wrapper" else f"smtp://localhost:{server.port}?tls=required"
        failure = await failure_of(mailer(url, "a@b"))
    assert "certificate verify failed" in str(failure)
    assert not failure.final
    assert server.mails == []


async def test_a_server_without_starttls_gets_no_mail_that_requires_it_and_any_other():
    with MailServer() as server:
        failure = await failure_of(mailer(f"smtp://localhost:{server.port}?tls=required", "a@b"))
        assert (str(failure), failure.final) == ("the mail server offers no STARTTLS, or no log-in", True)
        assert server.mails == []
        await mailer(f"smtp://localhost:{server.port}?tls=opportunistic", "a@b").deliver(delivery())
    assert len(server.mails) == 1


async def test_a_log_in(caplog, serving, trusting):
    caplog.set_level(logging.DEBUG, logger="gflow")
    with MailServer(login=("us@er", "hid den"), starttls=serving) as server:
        url = f"smtp://us%40er:hid%20den@localhost:{server.port}?tls=required"
        target = mailer(url, "a@b", tls_context=trusting)
        await target.deliver(delivery())
        wrong = mailer(url.replace("den", "hidden"), "a@b", tls_context=trusting)
        failure = await failure_of(wrong)
    assert len(server.mails) == 1
    assert (str(failure), failure.final) == ("the mail server refused the user name or password (535)", True)
    assert "hid" not in f"{target.name} {target!r} {failure!r} {caplog.text}"


async def test_of_several_recipients_a_retry_is_for_those_who_were_not_served():
    with MailServer(refuse={"b@x": "451 later", "c@x": "550 nobody"}) as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@x", "b@x", "c@x", "d@x")
        failure = await failure_of(target)
        assert str(failure) == "2 not taken: the mail server answered 550 nobody, and 451 later"
        assert (failure.final, failure.target_is_fine) == (False, False)
        assert recipients(server) == ["a@x", "d@x"]
        server.refuse.pop("b@x")
        failure = await failure_of(target, delivery(attempt=2))
        assert str(failure) == "1 not taken: the mail server answered 550 nobody"
        assert (failure.final, failure.target_is_fine) == (True, True)
    assert recipients(server) == ["a@x", "d@x", "b@x"]


async def test_who_was_refused_is_written_to_when_somebody_asks_for_it_anew():
    with MailServer(refuse={"b@x": "550 nobody", "c@x": "550 nobody"}) as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@x", "b@x", "c@x")
        await failure_of(target)
        server.refuse.pop("b@x")
        failure = await failure_of(target)
        assert (str(failure), failure.final) == ("1 not taken: the mail server answered 550 nobody", True)
        server.refuse.clear()
        await target.deliver(delivery())
    assert recipients(server) == ["a@x", "b@x", "c@x"]


async def test_a_text_that_one_server_does_not_like_is_no_reason_not_to_write_to_others():
    with MailServer(refuse_text={"a@x": "554 spam"}) as server:
        failure = await failure_of(mailer(f"smtp://localhost:{server.port}", "a@x", "b@x"))
    assert str(failure) == "1 not taken: the mail server answered 554 spam"
    assert (failure.final, failure.target_is_fine) == (True, True)
    assert recipients(server) == ["b@x"]


async def test_a_refusal_for_good_is_final_and_does_not_speak_against_the_server():
    with MailServer(refuse={"c@x": "550 nobody"}) as server:
        failure = await failure_of(mailer(f"smtp://localhost:{server.port}", "c@x"))
    assert str(failure) == "1 not taken: the mail server answered 550 nobody"
    assert (failure.final, failure.target_is_fine) == (True, True)


async def test_a_server_that_closes_down_after_a_refusal_has_not_refused_the_others():
    with MailServer(refuse={"a@x": "550 nobody", "b@x": "421 closing"}) as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@x", "b@x", "c@x")
        failure = await failure_of(target)
        assert (str(failure), failure.final) == ("the mail server answered 421 closing", False)
        server.refuse.clear()
        await failure_of(target, delivery(attempt=2))
    assert recipients(server) == ["b@x", "c@x"]


def recipients(server):
    return [address for mail in server.mails for address in mail.recipients]


async def test_nobody_there():
    with MailServer() as server:
        url = f"smtp://localhost:{server.port}"
    failure = await failure_of(mailer(url, "a@b"))
    assert "refused" in str(failure)
    assert not failure.final


async def test_a_server_that_says_nothing_has_a_time_limit():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = mailer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", "a@b", timeout_secs=0.3)
        with trio.fail_after(10):
            failure = await failure_of(target)
    assert "0.3 s" in str(failure) or "timed out" in str(failure)
    assert not failure.final


@pytest.mark.parametrize(
    ("scheme", "said"), [("smtp", b"220-wait\r\n"), ("smtps", b"\x16\x03\x03\x40\x00" + b"x" * 16384)]
)
async def test_a_server_that_says_a_little_for_ever_is_left(scheme, said):
    with RudeServer(drips(said)) as server:
        target = mailer(f"{scheme}://127.0.0.1:{server.port}", "a@b", timeout_secs=0.2)
        with trio.fail_after(10):
            for _ in range(THREADS + 1):
                assert str(await failure_of(target)) == "the mail server did not take it within 0.2 s"
            while server.left <= THREADS:
                await trio.sleep(0.01)


async def test_an_answer_without_an_end_is_not_listened_to():
    with RudeServer(endless_answer) as server:
        failure = await failure_of(mailer(f"smtp://127.0.0.1:{server.port}", "a@b"))
    assert "it answers more than 64 KiB" in str(failure)
    assert not failure.final


# -- tests -------------------------------------------------------------------------------------------------------------

TEST = {"event": "test", "timestamp": "2026-02-04T12:30:45Z", "text": "A test", "scheduler": {"host": "h"}}


async def test_a_test_is_a_mail():
    with MailServer() as server:
        assert await mailer(f"smtp://localhost:{server.port}", "a@b").deliver(delivery(TEST)) is None
    assert [mail.subject for mail in server.mails] == ["[gflow h] A test"]


async def test_a_test_to_nobody_sees_whether_the_server_would_take_mail(serving, trusting):
    with MailServer(login=("u", "p"), starttls=serving) as server:
        url = f"smtp://u:p@localhost:{server.port}?tls=required"
        said = await mailer(url, tls_context=trusting).deliver(delivery(TEST))
        assert said == "nobody was written to, for 'to' is empty"
        failure = await failure_of(mailer(url.replace(":p@", ":q@"), tls_context=trusting), delivery(TEST))
        assert "refused the user name or password" in str(failure)
    assert server.mails == []


# -- about one job -----------------------------------------------------------------------------------------------------

ASKED = {"notify_emails": ("me@x", "A@x"), "notify_on": ("job_failed",)}


async def test_whom_the_job_names_is_written_to_once_and_by_one_target_only():
    with MailServer() as server:
        url = f"smtp://localhost:{server.port}"
        first = mailer(url, "a@x", events=["job_started"], users=["bob"], jobs_too=True)
        second = mailer(url, "z@x", events=["job_started"])
        payload = told("job_failed", **ASKED)
        assert first.wants(payload)
        assert not second.wants(payload)
        assert not first.wants(told("job_completed", **ASKED))
        await first.deliver(delivery(payload))
        subscribed = mailer(url, "a@x", "b@x", jobs_too=True)
        await subscribed.deliver(delivery(payload))
    to = [mail.recipients[0] for mail in server.mails]
    assert to == ["me@x", "A@x", "me@x", "a@x", "b@x"], "case tells nobody apart"


@pytest.mark.parametrize(("event", "quoted"), [("job_failed", True), ("job_timeout", True), ("job_completed", False)])
async def test_a_failure_quotes_the_end_of_the_log(tmp_path, event, quoted):
    (tmp_path / "42.log").write_bytes(b"line\n" * 10_000 + b"\x1b[31mTraceback\x1b[0m \xff\r\n10%\r100%\nlast\n\n")
    with MailServer() as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@b", log_path=lambda job_id: tmp_path / f"{job_id}.log")
        await target.deliver(delivery(told(event)))
    (mail,) = server.mails
    assert ("The last 30 lines of its log:\n\n  line\n" in mail.text) is quoted
    assert ("  Traceback \ufffd\n  100%\n  last\n\n" in mail.text) is quoted
    assert "\x1b" not in mail.text


async def test_a_job_without_a_log_is_written_about_too(tmp_path):
    with MailServer() as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@b", log_path=lambda job_id: tmp_path / "none")
        await target.deliver(delivery())
    assert "of its log" not in server.mails[0].text


async def test_a_log_on_a_disk_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(email, "TAIL_SECS", 0.02)
    with MailServer() as server, hanging() as read:
        monkeypatch.setattr(Email, "_tail", read)
        target = mailer(f"smtp://localhost:{server.port}", "a@b", log_path=lambda job_id: tmp_path / "log")
        for _ in range(THREADS + 1):
            await target.deliver(delivery())
    assert [mail for mail in server.mails if "of its log" in mail.text] == []
    assert len(server.mails) == THREADS + 1


async def test_a_pipe_in_place_of_a_log_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "log")
    with MailServer() as server:
        target = mailer(f"smtp://localhost:{server.port}", "a@b", log_path=lambda job_id: tmp_path / "log")
        await target.deliver(delivery())
    assert "of its log" not in server.mails[0].text


async def test_beyond_what_a_user_is_allowed_only_subscribers_are_written_to(monkeypatch, caplog):
    monkeypatch.setattr(allowance, "OF_ONE", 2)
    payload = told(notify_emails=("v1@x", "v2@x", "V3@x", "Admin@x"), notify_on=("*",))
    with MailServer() as server:
        target = mailer(f"smtp://localhost:{server.port}", "admin@x", jobs_too=True)
        await target.deliver(delivery(payload))
        assert [mail.recipients for mail in server.mails] == [["v1@x"], ["v2@x"], ["admin@x"]]
        await target.deliver(delivery(payload, number=18))
        assert [mail.recipients for mail in server.mails[3:]] == [["admin@x"]]
    assert (target.withheld(), caplog.text.count("the jobs of alice have had 2 mails sent")) == ({"alice": 4}, 1)


async def test_another_try_is_not_counted_again(monkeypatch):
    monkeypatch.setattr(allowance, "OF_ONE", 1)
    payload = told(notify_emails=("v1@x",), notify_on=("*",))
    target = mailer("smtp://localhost:1", jobs_too=True)
    await failure_of(target, delivery(payload))
    with MailServer() as server:
        target.server = smtp_server(f"smtp://localhost:{server.port}", "k")
        await target.deliver(delivery(payload, attempt=2))
        assert [mail.recipients for mail in server.mails] == [["v1@x"]]
    assert target.withheld() == {}


async def test_jobs_may_have_written_only_to_whom_is_allowed():
    payload = told(notify_emails=("me@Lab.org", "you@evil-lab.org", "boss@x"), notify_on=("*",))
    with MailServer() as server:
        target = mailer(f"smtp://localhost:{server.port}", jobs_too=True, may_mail=("*@lab.org", "Boss@x"))
        await target.deliver(delivery(payload))
        assert [mail.recipients for mail in server.mails] == [["me@Lab.org"], ["boss@x"]]
    nobody = mailer("smtp://localhost:1", jobs_too=True, may_mail=())
    assert (nobody.wants(payload), nobody.may_write_to("me@lab.org")) == (False, False)
