"""Targets from a configuration, and every mistake in one line that names the key and shows no secret."""

import tomllib

import msgspec
import pytest

from gflow import config
from gflow.notify.make import targets
from support.told import told

ALL = """
enabled = true
[[webhooks]]
url = "https://${HOST}/hidden"
headers = { Authorization = "Bearer ${TOKEN}" }
secret = "${TOKEN}"
timeout_secs = 2
max_retries = 0
[[webhooks]]
url = "https://${HOST}/hidden"
format = "slack"
events = ["job_failed"]
filter_users = ["Alice"]
[[emails]]
smtp_url = "smtp://user:hidden@localhost"
from = "gflow <gflow@example.com>"
to = ["Admin <admin@example.com>"]
[[emails]]
smtp_url = "smtps://mail.example.com"
from = "gflow@example.com"
to = []
[[commands]]
argv = ["/usr/bin/logger", "x"]
[[commands]]
command = "TOKEN=hidden cat"
"""
ENVIRON = {"HOST": "api.example.com", "TOKEN": "hidden"}


def notifications(text):
    return msgspec.convert(tomllib.loads(text), config.Notifications)


def complaint(text):
    with pytest.raises(ValueError, match=r"^notifications\.") as caught:
        targets(notifications(f"enabled = true\n{text}"), ENVIRON)
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    return str(caught.value)


def test_all_kinds_in_order():
    made = targets(notifications(ALL), ENVIRON)
    assert [target.kind for target in made] == ["webhook", "webhook", "email", "email", "command", "command"]
    assert len({target.key for target in made}) == 6
    first, second = made[:2]
    assert (str(first.url), first.headers, first.secret) == (
        "https://api.example.com/hidden",
        {"Authorization": "Bearer hidden"},
        b"hidden",
    )
    assert (first.timeout_secs, first.max_retries, second.max_retries) == (2, 0, 3)
    assert [target.wants(told("job_completed")) for target in made] == [True, False, True, False, True, True]
    assert [target.wants(told("job_failed")) for target in made[:2]] == [True, True]
    assert "hidden" not in " ".join(f"{target.name} {target.key} {target!r}" for target in made)
    assert [target.name.rpartition(" ")[0] for target in made] == [
        *("webhook api.example.com", "webhook api.example.com"),
        *("email localhost", "email mail.example.com"),
        *("command logger", "command shell"),
    ]


def test_only_the_first_way_of_mail_is_for_jobs():
    first, second = targets(notifications(ALL), ENVIRON)[2:4]
    payload = told("job_failed", notify_emails=("me@x",), notify_on=("*",))
    assert (first.jobs_too, second.jobs_too, second.wants(payload)) == (True, False, False)
    assert first.sender == '"gflow" <gflow@example.com>'
    assert list(first.to) == ["admin@example.com"]
    assert (first.may_write_to("me@x"), second.may_write_to("me@x")) == (True, False)
    (chosen, _) = targets(
        notifications(ALL.replace("enabled = true", 'enabled = true\njobs_may_mail = [" *@X "]')), ENVIRON
    )[2:4]
    assert (chosen.may_write_to("me@x"), chosen.may_write_to("me@y")) == (True, False)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a@b.c", "a@b.c"),
        ("<a@b.c>", "a@b.c"),
        (" The lab <a@b.c> ", '"The lab" <a@b.c>'),
        ('"Lab, the" <a@b.c>', '"Lab, the" <a@b.c>'),
        ('"lab@home" <a@b.c>', '"lab@home" <a@b.c>'),
        ("B\u00fcro <a@b.c>", "=?utf-8?b?QsO8cm8=?= <a@b.c>"),
        ("=?utf-8?q?=0D=0AX:_y?= <a@b.c>", "=?utf-8?b?PT91dGYtOD9xPz0wRD0wQVg6X3k/PQ==?= <a@b.c>"),
    ],
)
def test_who_sends(text, header):
    (target,) = targets(notifications("enabled = true\n" + EMAIL.replace("'a@b'", f"'''{text}'''")), {})
    assert (target.sender, target.envelope_from) == (header, "a@b.c")


def test_nothing_is_told_unless_it_is_switched_on():
    assert targets(notifications(ALL.replace("true", "false", 1)), {}) == []
    assert targets(config.Notifications(), {}) == []


def test_targets_with_one_address_have_names_of_their_own():
    made = targets(notifications("enabled = true\n" + WEBHOOK * 3 + EMAIL), ENVIRON)
    short = made[0].key[:4]
    assert [target.name for target in made[:3]] == [
        f"webhook h ({short})",
        f"webhook h ({short}-2)",
        f"webhook h ({short}-3)",
    ]
    assert [target.key for target in made[1:3]] == [f"{made[0].key}-2", f"{made[0].key}-3"]


def test_keys_stay_when_others_come_and_go():
    keys = [target.key for target in targets(notifications(ALL), ENVIRON)]
    other = [target.key for target in targets(notifications(ALL), {"HOST": "moved.example.com", "TOKEN": "other"})]
    assert other == keys, "a new token is no new target"
    shorter = ALL.replace(
        '[[webhooks]]\nurl = "https://${HOST}/hidden"\nformat', '[[webhooks]]\nurl = "http://h"\nformat'
    )
    assert [target.key for target in targets(notifications(shorter), ENVIRON)][2:] == keys[2:]


WEBHOOK = "[[webhooks]]\nurl = 'http://h'\n"
EMAIL = "[[emails]]\nsmtp_url = 'smtp://h'\nfrom = 'a@b'\nto = ['c@d']\n"
COMMAND = "[[commands]]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEBHOOK + "events = ['job_done']", "notifications.webhooks[0].events: unknown event 'job_done': use job_sub"),
        (EMAIL + "events = ['job_done']", "notifications.emails[0].events: unknown event"),
        (COMMAND + "argv = ['x']\nevents = ['job_done']", "notifications.commands[0].events: unknown event"),
        (WEBHOOK + "timeout_secs = 0", "notifications.webhooks[0].timeout_secs: use more than 0, at most 3600"),
        (WEBHOOK + "max_retries = -1", "notifications.webhooks[0].max_retries: use 0 to 100"),
        (
            WEBHOOK + "format = 'teams'",
            "notifications.webhooks[0].format: 'teams' is unknown; use json, slack, discord",
        ),
        (WEBHOOK + "headers = { 'X Y' = 'hidden' }", "notifications.webhooks[0].headers: 'X Y' is no header"),
        (WEBHOOK + "headers = { Host = 'hidden' }", "notifications.webhooks[0].headers: 'Host' is no header"),
        (WEBHOOK + 'headers = { X = "hidden\\r\\nY: z" }', "notifications.webhooks[0].headers.X: use printable ASCII"),
        (WEBHOOK + "headers = { X = 'hidden ${NO}' }", "notifications.webhooks[0].headers.X: ${NO} is not set"),
        (WEBHOOK + "secret = '${NO}'", "notifications.webhooks[0].secret: ${NO} is not set"),
        (
            WEBHOOK + "secret_file = '/no/such'",
            "notifications.webhooks[0].secret_file: /no/such cannot be read: No such",
        ),
        (WEBHOOK + "secret = 'hidden'\nsecret_file = 'f'", "notifications.webhooks[0]: give secret or secret_file"),
        ("[[webhooks]]\nurl = 'ftp://hidden'", "notifications.webhooks[0].url: write http://HOST/PATH"),
        ("[[webhooks]]\nurl = 'hidden'", "notifications.webhooks[0].url: write http://HOST/PATH"),
        ("[[webhooks]]\nurl = 'http://hidden:port'", "notifications.webhooks[0].url: it is no address"),
        ("[[webhooks]]\nurl = 'http://${'", "notifications.webhooks[0].url: a ${ in it begins no name of a variable"),
        (WEBHOOK + "events = []", "notifications.webhooks[0].events: it is empty; name events, or leave it out"),
        (EMAIL + "events = []", "notifications.emails[0].events: it is empty"),
        (WEBHOOK + "filter_users = ['hidden', ' ']", "notifications.webhooks[0].filter_users: one of the names is em"),
        (COMMAND + "command = '  '", "notifications.commands[0]: the program has no name"),
        (COMMAND + "argv = [' ', 'x']", "notifications.commands[0]: the program has no name"),
        (COMMAND + 'argv = ["x", "\\u0000"]', "notifications.commands[0]: a word has a NUL character in it"),
        ("[[webhooks]]\nurl = '${NO}'", "notifications.webhooks[0].url: ${NO} is not set"),
        (WEBHOOK + WEBHOOK + "max_retries = 101", "notifications.webhooks[1].max_retries"),
        (EMAIL.replace("smtp://h", "http://hidden"), "notifications.emails[0].smtp_url: write smtp://HOST"),
        (
            EMAIL.replace("smtp://h", "smtp://h?tls=hidden"),
            "notifications.emails[0].smtp_url: after ? there may be tls=",
        ),
        (EMAIL.replace("smtp://h", "smtp://u:hidden@h?tls=never"), "notifications.emails[0].smtp_url: a password is"),
        (EMAIL.replace("a@b", "gflow"), "notifications.emails[0].from: 'gflow' is no e-mail address"),
        (EMAIL.replace("a@b", "a@b.c, d@e.f"), "notifications.emails[0].from: 'a@b.c, d@e.f' is no e-mail address"),
        (EMAIL.replace("a@b", "a@b.c, D <d@e.f>"), "notifications.emails[0].from: 'a@b.c, D <d@e.f>' is no e-mail add"),
        (EMAIL.replace("a@b", "<a@b> <c@d>"), "notifications.emails[0].from: '<a@b> <c@d>' is no e-mail address"),
        (EMAIL.replace("a@b", "x" * 101 + " <a@b>"), "notifications.emails[0].from: use printable characters, and at"),
        (EMAIL.replace("a@b", "=?utf-8?q?=0D=0A?=@b"), "notifications.emails[0].from: '=?utf-8?q?=0D=0A?=@b' is no"),
        (EMAIL.replace("c@d", "c"), "notifications.emails[0].to: 'c' is no e-mail address"),
        (EMAIL.replace("c@d", ""), "notifications.emails[0].to: '' is no e-mail address"),
        (EMAIL.replace("c@d", "c@d, e@f"), "notifications.emails[0].to: 'c@d, e@f' is no e-mail address"),
        (EMAIL.replace("//h", "//:hidden@h"), "notifications.emails[0].smtp_url: before @ there must be both, USER"),
        (EMAIL.replace("//h", "//u:hidden\u00fc@h"), "notifications.emails[0].smtp_url: user name and password can be"),
        (COMMAND, "notifications.commands[0]: give argv"),
        (COMMAND + "argv = ['x']\ncommand = 'x'", "notifications.commands[0]: give argv"),
        (COMMAND + "argv = []", "notifications.commands[0]: the program has no name"),
        (COMMAND + "command = ''", "notifications.commands[0]: the program has no name"),
    ],
)
def test_mistakes_are_named(text, said):
    assert complaint(text).startswith(said)


def test_a_token_may_have_blanks_around_it():
    (made,) = targets(notifications(f"enabled = true\n{WEBHOOK}headers = {{ X = ' ${{TOKEN}} ' }}"), {"TOKEN": "t\n"})
    assert made.headers == {"X": "t"}
