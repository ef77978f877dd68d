"""What commands read of the configuration file beside the endpoint."""

import sys

import pytest

from gflow.client.errors import BadSetting
from gflow.client.settings import timezone


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The file that is read when none is named."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "gflow" / "gflow.toml"
    path.parent.mkdir()
    return path


def test_the_timezone_of_the_default_file(config):
    assert timezone() == (str(config), None)
    config.write_text('timezone = "Asia/Shanghai"\n[daemon]\nport = 1\n')
    assert timezone() == (str(config), "Asia/Shanghai")


def test_a_named_file_is_read_instead_and_must_exist(config, tmp_path):
    config.write_text('timezone = "Asia/Shanghai"')
    other = tmp_path / "other.toml"
    with pytest.raises(BadSetting, match=r"other\.toml does not exist"):
        timezone(str(other))
    other.write_text('timezone = "UTC"')
    assert timezone(str(other)) == (str(other), "UTC")


def test_a_file_that_does_not_speak_of_it_is_not_parsed(config, monkeypatch):
    config.write_text("[daemon]\nport = 1\n")
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert timezone() == (str(config), None)


def test_a_timezone_elsewhere_in_the_file_is_not_ours(config):
    config.write_text('# timezone\n[other]\ntimezone = "UTC"\n')
    assert timezone() == (str(config), None)


@pytest.mark.parametrize("content", ["timezone = [", "timezone = 3", "timezone = ['UTC']", "timezone = '\xff'"])
def test_a_bad_file_is_named(config, content):
    config.write_text(content, encoding="latin-1")
    with pytest.raises(BadSetting, match=str(config)) as caught:
        timezone()
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(config):
    config.mkdir()
    with pytest.raises(BadSetting, match="cannot read configuration file"):
        timezone()
