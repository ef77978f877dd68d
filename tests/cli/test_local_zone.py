"""The name of the machine's time zone, wherever it is to be found."""

import pytest

from gflow.cli import local_zone as module
from gflow.cli.local_zone import local_zone


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine that says nothing of its zone."""
    monkeypatch.setattr(module, "LOCALTIME", tmp_path / "localtime")
    monkeypatch.setattr(module, "TIMEZONE", tmp_path / "timezone")
    monkeypatch.setattr(module.time, "strftime", lambda _: "+0530")
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/right/Asia/Tokyo", "Asia/Tokyo"),
        ("", "UTC"),
        ("IST-5:30", "UTC+05:30"),
        ("/no/such/place", "UTC+05:30"),
    ],
)
def test_a_variable_counts_first(machine, variable, name):
    (machine / "localtime").symlink_to("/usr/share/zoneinfo/Africa/Cairo")
    assert local_zone({"TZ": variable}) == name


@pytest.mark.parametrize(
    "link", ["/usr/share/zoneinfo/America/Argentina/Ushuaia", "../usr/share/zoneinfo/posix/America/Argentina/Ushuaia"]
)
def test_the_link_says_it(machine, link):
    (machine / "localtime").symlink_to(link)
    assert local_zone({}) == "America/Argentina/Ushuaia"


def test_without_rules_it_is_utc():
    assert local_zone({}) == "UTC"


def test_a_copy_of_rules_has_no_name_but_the_one_that_is_written_down(machine):
    (machine / "localtime").write_bytes(b"TZif2")
    assert local_zone({}) == "UTC+05:30"
    (machine / "timezone").write_text("Asia/Kolkata\n")
    assert local_zone({}) == "Asia/Kolkata"
