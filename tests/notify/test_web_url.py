"""Addresses of webhooks: what could never be reached is refused at the start, without being shown."""

import pytest

from gflow.notify.web_url import web_url


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://h", "h", None),
        (" https://api.example.com:8443/hidden?hidden ", "api.example.com", 8443),
        ("http://user:hidden@my_host./x", "my_host.", None),
        ("http://127.0.0.1:1/", "127.0.0.1", 1),
        ("http://[2001:db8::1]:65535/", "2001:db8::1", 65535),
        ("https://bücher.example/", "bücher.example", None),
        (f"http://{'a' * 63}.example/", f"{'a' * 63}.example", None),
    ],
)
def test_what_can_be_an_address(text, host, port):
    url = web_url(text, "k")
    assert (url.host, url.port) == (host, port)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://hidden:99999/", "k: its port is not from 1 to 65535"),
        ("http://hidden:0/", "k: its port is not from 1 to 65535"),
        ("http://256.1.1.1/", "k: it is no address of the web"),
        ("http://hidden:port/", "k: it is no address of the web"),
        ("ftp://hidden/", "k: write http://HOST/PATH or https://HOST/PATH"),
        ("http:///hidden", "k: write http://HOST/PATH or https://HOST/PATH"),
        *(
            (f"http://{host}/", "k: its host is neither a name, of letters, digits and hyphens, nor an IP address")
            for host in (
                *(".hidden", "hidden..b", "a" * 64, "$HIDDEN", "hid den", "hid%24den", "-hidden", "hidden-", "."),
                *("1.2.3.4.5", ".".join(["a" * 50] * 6)),
            )
        ),
    ],
)
def test_what_cannot(text, said):
    with pytest.raises(ValueError, match=r"^k: ") as caught:
        web_url(text, "k")
    assert str(caught.value) == said
