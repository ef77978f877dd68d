"""What holds for every test.

Every test begins with default signals. Whoever runs the tests in the background, from a script or under nohup, hands
down that some are ignored, and programs that are started here would go on ignoring them."""

import signal

import hypothesis
import pytest

from support.effort import EFFORT


def _listen_to_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_listen_to_signals()

# How long an example takes says more about the machine than about it, and one fixture may serve all examples of a test.
_NOT_FAULTS = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("gflow", deadline=None, print_blob=True, suppress_health_check=_NOT_FAULTS)
hypothesis.settings.load_profile("gflow")


_WHOLE = {"e2e", "faults", "users", "imports", "recovery", "upkeep"}
"""Where tests are of whole daemons, or of files cut at every byte: both take their time."""

_ON_EACH_PYTHON = {"test_commands", "test_lifecycle", "test_events", "test_crash_rounds"}
"""Those of them that between them use about everything."""


def _shows_enough_once(item: pytest.Item) -> bool:
    whole = item.path.parent.name in _WHOLE and item.path.stem not in _ON_EACH_PYTHON
    return whole or item.get_closest_marker("once") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where less effort is asked for, as on the second Python, leave out what one run shows for all."""
    if EFFORT < 1:
        config.hook.pytest_deselected(items=[item for item in items if _shows_enough_once(item)])
        items[:] = [item for item in items if not _shows_enough_once(item)]
