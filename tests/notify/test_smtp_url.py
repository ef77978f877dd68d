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
    [
        *("smtp://", "smtp://h:x", "smtp://h:0", "smtp://h/path", "h", "smtp://[::1", "smtp://h?x=1", "smtp://h:1#x@y"),
        *("smtp://u:p@h?tls=opportunistic", "smtp://:hidden@h", "smtp://u@h", "smtp://u:@h", "smtp://@h"),
    ],
)
def test_what_is_no_address_of_a_mail_server(url):
    with pytest.raises(ValueError, match=r"^k: "):
        smtp_server(url, "k")


@pytest.mark.parametrize("password", ["gr\u00fcn", "gr%C3%BCn", "%FFhidden", "hidden%00x", "hidden%0D%0A"])
def test_a_password_that_cannot_be_sent_is_refused_and_not_shown(password):
    with pytest.raises(ValueError, match=r"^k: .*ASCII") as caught:
        smtp_server(f"smtps://user:{password}@h", "k")
    said = str(caught.value)
    assert said.isascii()
    assert not any(part in said for part in ("gr", "hidden", "%"))
