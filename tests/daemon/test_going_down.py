"""Ends of jobs while the machine goes down are no ends of their own, and what ended by itself before keeps its code."""

from dataclasses import replace

import pytest
import trio
import trio.testing

from gflow.core.model import Exit
from gflow.daemon.going_down import GoingDown, Left, as_of_restart, note_left, noted
from gflow.launch.ending import RESTARTED, SERVER_LOST
from support.tmux_server import make_job

BOOT = "11111111-1111-1111-1111-111111111111"
JOB = replace(make_job(7), started_at=500.0)
LEFT = Left(1000.0, BOOT, machine_too=True)


@pytest.mark.parametrize("code", [None, 129, 130, 137, 143])
def test_what_ended_as_the_machine_went_down_is_a_restart_and_keeps_its_code(code):
    assert as_of_restart(JOB, Exit(code, 1003.0), LEFT) == Exit(code, 1003.0, RESTARTED)


@pytest.mark.parametrize("code", [0, 1, 85, 134])
def test_other_codes_are_the_jobs_own(code):
    assert as_of_restart(JOB, Exit(code, 1003.0), LEFT) == Exit(code, 1003.0)


def test_what_is_known_already_stays():
    assert as_of_restart(JOB, Exit(137, 1003.0, "out of memory"), LEFT).text == "out of memory"


@pytest.mark.parametrize(
    ("at", "machine_too", "told"),
    [
        (1003.0, True, RESTARTED),
        (940.0, True, RESTARTED),  # seen, and held back
        (800.0, True, None),
        (1003.0, None, RESTARTED),
        (999.0, None, None),
        (1003.0, False, None),  # `gflowd down`, and the job was killed later
    ],
)
def test_the_moment_is_compared_with_when_the_daemon_left(at, machine_too, told):
    assert as_of_restart(JOB, Exit(143, at), LEFT._replace(machine_too=machine_too)).text == told


def test_what_nobody_recorded_ran_at_least_until_the_daemon_left():
    assert as_of_restart(JOB, Exit(None, 600.0, RESTARTED), LEFT) == Exit(None, 1000.0, RESTARTED)
    assert as_of_restart(JOB, Exit(None, 1001.0, RESTARTED), LEFT) == Exit(None, 1001.0, RESTARTED)


def test_jobs_that_began_later_are_of_another_boot():
    assert as_of_restart(replace(JOB, started_at=1200.0), Exit(143, 1300.0), LEFT).text is None
    assert as_of_restart(JOB, Exit(143, 1300.0), None).text is None


@pytest.mark.parametrize("machine_too", [True, False, None])
def test_the_note_is_read_by_the_next(tmp_path, machine_too):
    assert noted(tmp_path) is None
    note_left(tmp_path, Left(12.5, BOOT, machine_too))
    assert noted(tmp_path) == Left(12.5, BOOT, machine_too)


@pytest.mark.parametrize("text", ["", "12.5 x", "never x yes", "1 x perhaps", "\udcff"])
def test_a_note_that_is_none_is_left_aside(tmp_path, text):
    (tmp_path / "left").write_bytes(text.encode(errors="surrogateescape"))
    assert noted(tmp_path) is None


async def test_an_end_waits_until_the_shutdown_is_called_off(autojump_clock, caplog):
    caplog.set_level("INFO")
    answers = iter([True, True, False])
    await GoingDown(stops=lambda: next(answers)).wait_over(Exit(None, 1.0, SERVER_LOST))
    assert list(answers) == []
    assert trio.current_time() >= 2
    assert caplog.text.count("the machine goes down") == 1


async def test_only_about_sudden_ends_anybody_is_asked():
    def ask():
        raise AssertionError

    for how in (Exit(0, 1.0), Exit(3, 1.0), Exit(None, 1.0, RESTARTED)):
        await GoingDown(stops=ask).wait_over(how)


async def test_many_ends_are_one_question():
    asked = []
    going_down = GoingDown(stops=lambda: asked.append(1))
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(going_down.wait_over, Exit(143, 1.0))
    assert len(asked) <= 2
