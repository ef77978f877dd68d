"""Which signals ask the daemon to stop. That it does as they say is in e2e: test_lifecycle.py, test_reload.py."""

import os
import signal

import pytest

from gflow.daemon import signals
from gflow.daemon.signals import Terminal, keep_back_hang_ups, let_hang_ups_in


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


def test_one_that_was_there_at_the_start_can_go_before_anybody_looks_again(there, monkeypatch):
    monkeypatch.setattr(signals, "_had_terminal", False)
    heard = []
    signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    keep_back_hang_ups()
    try:
        signal.raise_signal(signal.SIGHUP)  # to this thread: others, of the tests, do not keep it back
        assert heard == []
        there[0] = False
        terminal = Terminal()
    finally:
        let_hang_ups_in()
    assert heard == [signal.SIGHUP]
    assert (terminal.has_gone, terminal.asks_to_stop(heard[0])) == (True, True)


def test_what_the_program_before_has_found_counts(there):
    assert not Terminal(False).asks_to_stop(signal.SIGHUP)
    assert not Terminal(True).has_gone
    there[0] = False
    assert not Terminal(False).asks_to_stop(signal.SIGHUP)
    assert Terminal(True).asks_to_stop(signal.SIGHUP)


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
