"""Addresses of mail servers, and what of them is never sent in the clear."""

import pytest

from gflow.notify.smtp_url import Server, smtp_server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://h", Server("h", 25, "never")),
        ("smtp://h:2525/", Server("h", 2525, "never")),
        ("smtp://h?tls=required", Server("h", 587, "required")),
        ("smtp://h?tls=opportunistic", Server("h", 25, "opportunistic")),
        ("smtps://h", Server("h", 465, "wrapper")),
        ("smtps://us%40er:p%3Aw@h:1", Server("h", 1, "wrapper", ("us@er", "p:w"))),
        ("smtp://u:p@h", Server("h", 587, "required", ("u", "p"))),
        ("smtp://u:p@127.0.0.1", Server("127.0.0.1", 25, "never", ("u", "p"))),
        ("smtp://u:p@[::1]", Server("::1", 25, "never", ("u", "p"))),
        ("smtp://u:p@localhost?tls=required", Server("localhost", 587, "required", ("u", "p"))),
    ],
)
def test_addresses_of_mail_servers(url, server):
    assert smtp_server(url, "k") == server


@pytest.mark.parametrize(
    "url",
    ["smtp://", "smtp://h:x", "smtp://h/path", "h", "smtp://[::1", "smtp://h?x=1", "smtp://u:p@h?tls=opportunistic"],
)
def test_what_is_no_address_of_a_mail_server(url):
    with pytest.raises(ValueError, match=r"^k: "):
        smtp_server(url, "k")
