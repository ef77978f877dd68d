"""The example of a receiver takes what a webhook sends, once, and nothing else."""

import os
import pathlib
import subprocess
import sys
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
