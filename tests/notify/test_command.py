"""Programs that are told: what they get, and that none can hold anything up."""

import json
import logging
import os
import signal
import sys
import time

import pytest
import trio

from gflow.notify.base import DeliveryFailed
from gflow.notify.command import Command
from gflow.notify.payloads import public
from gflow.notify.subscription import Subscription
from support import wait
from support.told import delivery, told


def command(*argv, **fields):
    return Command(list(argv), Subscription(["*"]), dict(os.environ), **fields)


def shell(line, **fields):
    return command("/bin/sh", "-c", line, **fields)


async def failure_of(target):
    with pytest.raises(DeliveryFailed) as caught:
        await target.deliver(delivery())
    return caught.value


async def test_it_gets_the_json_and_the_name_of_the_event(tmp_path, monkeypatch):
    monkeypatch.setenv("MINE", "m")
    made = delivery(told("job_failed", notify_emails=("a@b",), notify_on=("*",)))
    await shell(f'cat >{tmp_path}/json; echo "$GFLOW_EVENT $GFLOW_DELIVERY $MINE" >{tmp_path}/said').deliver(made)
    assert json.loads((tmp_path / "json").read_text()) == {**public(made.payload), "delivery": made.id}
    assert (tmp_path / "said").read_text() == f"job_failed {made.id} m\n"


async def test_arguments_are_not_for_a_shell(tmp_path):
    program = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    await command(sys.executable, "-c", program, str(tmp_path / "f"), "$HOME; *").deliver(delivery())
    assert (tmp_path / "f").read_text() == "$HOME; *"


async def test_one_that_does_not_read_is_no_failure():
    made = delivery(told(command="x" * 4000, argv=None))
    large = {**made.payload, "text": "x" * 1_000_000}
    await command("true").deliver(delivery(large))


@pytest.mark.parametrize(("line", "why"), [("exit 3", "exit code 3"), ("kill -9 $$", "killed by SIGKILL")])
async def test_an_end_that_is_not_well_is_tried_again(line, why):
    failure = await failure_of(shell(line))
    assert (str(failure), failure.final) == (why, False)


async def test_a_program_that_is_not_there_never_will_be():
    failure = await failure_of(command("/no/such/program"))
    assert (str(failure), failure.final) == ("cannot be started: No such file or directory", True)


async def test_much_output_is_dropped_and_the_end_of_what_is_kept_logged(caplog):
    caplog.set_level(logging.DEBUG, logger="gflow")
    await shell("head -c 1000000 /dev/zero; echo; echo hello >&2").deliver(delivery())
    await shell("printf 'a\\033[1mb\\n'").deliver(delivery())
    (said,) = [message for message in caplog.messages if "a [1mb" in message]
    assert len(said) < 300


async def test_one_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    line = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >{tmp_path}/child; exec sleep 600'"
    target = shell(line, timeout_secs=0.5)
    with trio.fail_after(20):
        failure = await failure_of(target)
    assert (str(failure), failure.final) == ("still running after 0.5 s: ended", False)
    child = int((tmp_path / "child").read_text())
    await trio.to_thread.run_sync(lambda: wait.until(lambda: not _runs(child), "the end of the child"))


async def test_sigterm_is_enough_for_one_that_listens():
    started = time.monotonic()
    await failure_of(command("sleep", "600", timeout_secs=0.2))
    assert time.monotonic() - started < 2, "no need for SIGKILL"


async def test_what_it_leaves_behind_holds_nothing_up(tmp_path):
    with trio.fail_after(5):
        await shell(f"sleep 600 & echo $! >{tmp_path}/child", timeout_secs=600).deliver(delivery())
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


async def test_a_cancel_ends_it(tmp_path):
    with trio.move_on_after(0.5) as scope:
        await shell(f"echo $$ >{tmp_path}/pid; exec sleep 600", timeout_secs=600).deliver(delivery())
    assert scope.cancelled_caught
    assert not _runs(int((tmp_path / "pid").read_text()))


def test_its_name_is_that_of_the_program_and_shows_no_argument():
    target = command("/opt/bin/tell", "--token", "hidden")
    assert target.name == f"command tell ({target.key[:4]})"
    assert "hidden" not in repr(target)
    assert target.key != command("/opt/bin/tell", "--token", "other").key


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
