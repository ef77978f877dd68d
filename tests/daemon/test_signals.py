"""Which signals ask the daemon to stop. That it does as they say is in e2e: test_lifecycle.py, test_reload.py."""

import os
import signal

import pytest

from gflow.daemon import signals
from gflow.daemon.signals import Terminal


@pytest.fixture(autouse=True)
def ignored():
    """As many programs leave it; put back at the end."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def there(monkeypatch):
    """What opening the terminal brings: [True] while there is one."""
    state = [True]

    def opened(path, flags):
        assert path == "/dev/tty"
        if not state[0]:
            raise OSError(6, "No such device or address")
        return os.dup(0)

    monkeypatch.setattr(signals.os, "open", opened)
    return state


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_some_always_do(there, number):
    assert Terminal().asks_to_stop(number)


def test_a_hang_up_does_once_the_terminal_is_gone(there):
    terminal = Terminal()
    assert not terminal.asks_to_stop(signal.SIGHUP)
    there[0] = False
    assert terminal.asks_to_stop(signal.SIGHUP)


def test_where_there_never_was_a_terminal_none_can_go(there):
    there[0] = False
    assert not Terminal().asks_to_stop(signal.SIGHUP)


def test_under_nohup_its_end_does_not_count(there, ignored):
    ignored()
    terminal = Terminal()
    there[0] = False
    assert not terminal.asks_to_stop(signal.SIGHUP)


def test_a_program_that_takes_its_place_finds_the_same(there, ignored):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    Terminal().hand_over()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    ignored()
    terminal = Terminal()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as when it was handled, after exec
    terminal.hand_over()
    following = Terminal()
    there[0] = False
    assert not following.asks_to_stop(signal.SIGHUP)
