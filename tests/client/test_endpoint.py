"""The order in which endpoints are looked for."""

import sys

import pytest

from gflow import paths
from gflow.client.endpoint import find
from gflow.client.errors import BadSetting


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in ("GFLOW_URL", "GFLOW_DAEMON_SOCKET", "GFLOW_DAEMON__SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_default_is_the_default_socket():
    assert find() == paths.default_socket()


def test_url_then_environment_then_configuration(config, monkeypatch):
    config.write_text('[daemon]\nsocket = "/from/config"\n')
    assert find() == "/from/config"
    monkeypatch.setenv("GFLOW_DAEMON__SOCKET", "/from/double")
    assert find() == "/from/double"
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", "/from/single")
    assert find() == "/from/single"
    monkeypatch.setenv("GFLOW_URL", "unix:/from/url")
    assert find() == "/from/url"
    assert find("unix:///from/option") == "/from/option"


def test_a_named_file_is_read_instead_of_the_default_one(config, tmp_path):
    config.write_text('daemon.socket = "/default"')
    other = tmp_path / "other.toml"
    other.write_text('daemon.socket = "~/mine.sock"')
    assert find(config=str(other)).endswith("/mine.sock")
    assert "~" not in find(config=str(other))


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(BadSetting, match=r"none\.toml does not exist"):
        find(config=str(tmp_path / "none.toml"))


def test_a_file_without_a_socket_is_not_parsed(config, monkeypatch):
    config.write_text("[daemon]\nhost = 'localhost'\n")
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert find() == paths.default_socket()


@pytest.mark.parametrize("content", ["socket = [", "daemon.socket = 3", 'daemon.socket = ""'])
def test_a_bad_file_is_named(config, content):
    config.write_text(content)
    with pytest.raises(BadSetting, match=str(config)):
        find()


def test_a_socket_elsewhere_in_the_file_is_not_ours(config):
    config.write_text('# socket\n[other]\nsocket = "/no"\n')
    assert find() == paths.default_socket()


@pytest.mark.parametrize("url", ["http://localhost:59000", "https://gpu.example:443"])
def test_http_endpoints_are_refused_in_one_line(url):
    with pytest.raises(BadSetting, match="Unix socket only") as caught:
        find(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["unix:relative", "/run/x.sock", "nonsense", "unix:"])
def test_other_endpoints_are_refused(url):
    with pytest.raises(BadSetting, match="unix:/path"):
        find(url)
