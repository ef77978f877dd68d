"""The example of a receiver takes what a webhook sends, once, and nothing else."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import httpx
import pytest

from gflow.notify.base import DeliveryFailed
from gflow.notify.subscription import Subscription
from gflow.notify.webhook import Webhook, signature
from support.told import delivery, told

PROGRAM = pathlib.Path(__file__).parents[2] / "contrib" / "examples" / "receiver.py"


@pytest.fixture
def receiver():
    """(its address, the lines it prints)."""
    environment = os.environ | {"GFLOW_WEBHOOK_SECRET": "s3cret"}
    command = [sys.executable, str(PROGRAM), "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        port = process.stdout.readline().split()[-1]
        yield f"http://127.0.0.1:{port}/", process.stdout
        process.kill()
        assert "Traceback" not in process.stderr.read()


def webhook(url, secret):
    return Webhook(httpx.URL(url), url, Subscription(["*"]), secret=secret)


async def test_it_takes_what_is_genuine_once(receiver):
    url, printed = receiver
    target = webhook(url, b"s3cret")
    await target.deliver(delivery())
    await target.deliver(delivery(attempt=2))
    await target.deliver(delivery(told("gpu_available"), number=18))
    await target.aclose()
    assert [printed.readline() for _ in range(2)] == ["job_failed 42\n", "gpu_available -\n"]


@pytest.mark.parametrize("secret", [b"other", None])
async def test_it_takes_nothing_that_is_not_signed_with_its_secret(receiver, secret):
    target = webhook(receiver[0], secret)
    with pytest.raises(DeliveryFailed, match="answered 403"):
        await target.deliver(delivery())
    await target.aclose()


def test_it_takes_nothing_old(receiver):
    headers = {"X-Gflow-Timestamp": "1000", "X-Gflow-Signature": signature(b"s3cret", "1000", b"{}")}
    request = urllib.request.Request(receiver[0], b"{}", headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 403
    caught.value.close()


def post(url, body, headers):
    """The status of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_what_was_caught_on_the_way_is_not_taken_under_another_id(receiver):
    url, printed = receiver
    now = str(int(time.time()))
    bodies = [b'{"event":"test","delivery":"%d-k"}' % number for number in (1, 1, 2)]
    for at, body in enumerate(bodies):
        signed = {"X-Gflow-Timestamp": now, "X-Gflow-Signature": signature(b"s3cret", now, body)}
        assert post(url, body, signed | {"X-Gflow-Delivery": f"other-{at}", "X-Gflow-Event": "job_failed"}) == 204
    assert post(url, bodies[0].replace(b"1-k", b"3-k"), signed) == 403
    assert [printed.readline() for _ in range(2)] == ["test -\n", "test -\n"]
    last = b'{"event":"job_held","delivery":"4-k"}'
    signed = {"X-Gflow-Timestamp": now, "X-Gflow-Signature": signature(b"s3cret", now, last)}
    assert post(url, last, signed) == 204
    assert printed.readline() == "job_held -\n", "so there were two lines, not three"


@pytest.mark.parametrize(
    ("length", "status"),
    [("-1", 400), ("", 400), ("ten", 400), ("1048577", 413), ("9" * 5000, 413)],
)
def test_it_does_not_begin_to_read_what_it_will_not_take(receiver, length, status):
    host, _, port = receiver[0].removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()
