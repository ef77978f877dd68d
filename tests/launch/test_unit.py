"""Units of jobs come before that of the daemon, so that everything that stops stops the daemon first."""

import pytest

from gflow.launch.unit import stopped_after_daemon

USUAL = ["Before=gflowd.service"]
OF_USER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.mark.parametrize(
    ("place", "properties"),
    [
        ("", USUAL),
        (f"{OF_USER}/gflowd.service\n", USUAL),
        (f"{OF_USER}/mine.service\n", [*USUAL, "Before=mine.service"]),
        (f"{OF_USER}/tmux.scope\n", USUAL),
        ("1:name=systemd:/\n0::/system.slice/scheduler.service/daemon\n", [*USUAL, "Before=scheduler.service"]),
    ],
)
def test_the_daemons_unit_is_the_usual_one_and_the_one_it_is_in(place, properties):
    assert stopped_after_daemon(place) == properties
