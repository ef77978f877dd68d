"""The order in which endpoints are looked for."""

import os
import sys
from pathlib import Path

import pytest

from gflow import paths
from gflow.client import tcp
from gflow.client.endpoint import awaited, find, trust
from gflow.client.errors import BadSetting
from gflow.store.lock import DataLock, forget


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("GFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", str(tmp_path / "system.sock"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_default_is_the_default_socket():
    assert find() == paths.default_socket()


def test_the_daemon_of_all_users_comes_after_ones_own(config):
    open(paths.SYSTEM_SOCKET, "w").close()
    assert find() == paths.SYSTEM_SOCKET
    config.write_text('[daemon]\nhost = "localhost"\nauth = "none"\n')
    assert find() == paths.SYSTEM_SOCKET
    os.makedirs(os.path.dirname(paths.default_socket()))
    open(paths.default_socket(), "w").close()
    assert find() == paths.default_socket()


def test_one_of_ones_own_that_is_down_is_not_passed_over_unsaid(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    open(paths.SYSTEM_SOCKET, "w").close()
    assert find() == paths.SYSTEM_SOCKET
    os.makedirs(paths.data_dir())
    open(os.path.join(paths.data_dir(), "gflowd.lock"), "w").close()
    assert find(quiet=True) == paths.SYSTEM_SOCKET
    assert capsys.readouterr() == ("", "")
    assert find() == paths.SYSTEM_SOCKET
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(
        ": your own gflowd is down, so this is about that of all users; 'gflowd up --own' starts yours\n"
    )
    assert find(f"unix:{paths.SYSTEM_SOCKET}") == paths.SYSTEM_SOCKET
    os.makedirs(os.path.dirname(paths.user_unit()))
    open(paths.user_unit(), "w").close()
    assert find() == paths.default_socket()
    assert capsys.readouterr() == ("", ""), "it was named, or it is one's own that cannot be reached"


def test_one_of_ones_own_is_meant_until_it_is_put_down(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    open(paths.SYSTEM_SOCKET, "w").close()
    data = Path(paths.data_dir())
    usual = paths.default_socket()
    lock = DataLock(data, socket=usual, started=0.0)
    assert (find(), awaited()) == (usual, True), "it runs, and somebody has removed its socket"
    crashed = lock.path.read_bytes()
    lock.close()
    assert (find(), awaited()) == (usual, True), "it has left, but not for good"
    DataLock(data, socket="", started=0.0).close()
    assert find() == usual, "an import with another lock on the data is no `gflowd down`"
    lock.path.write_bytes(crashed)
    assert find() == usual
    assert capsys.readouterr() == ("", "")
    forget(data)
    assert (find(), awaited()) == (paths.SYSTEM_SOCKET, False)
    assert "your own gflowd is down" in capsys.readouterr().err


@pytest.mark.parametrize("said", [b"{", b"[]", b'{"socket": "/another"}', b'{"pid": 1}'])
def test_what_is_not_there_for_commands_is_not_waited_for(monkeypatch, tmp_path, capsys, said):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    open(paths.SYSTEM_SOCKET, "w").close()
    os.makedirs(paths.data_dir())
    Path(paths.data_dir(), "gflowd.lock").write_bytes(said)
    assert (find(), awaited()) == (paths.SYSTEM_SOCKET, False)
    assert "your own gflowd is down" in capsys.readouterr().err


def test_who_keeps_another_from_a_directory_of_his_own_does_not_keep_him_from_the_daemon_of_all(config, monkeypatch):
    def taken():
        raise paths.UnsafeDirectory("/tmp/runtime-1001 belongs to uid 1002; set XDG_RUNTIME_DIR")

    monkeypatch.setattr(paths, "default_socket", taken)
    with pytest.raises(BadSetting, match="belongs to uid 1002; set XDG_RUNTIME_DIR"):
        find()
    open(paths.SYSTEM_SOCKET, "w").close()
    assert find() == paths.SYSTEM_SOCKET


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


def test_a_socket_that_would_be_another_in_each_directory_is_refused(config, monkeypatch):
    config.write_text('daemon.socket = "rel/x.sock"')
    with pytest.raises(BadSetting, match=r"daemon.socket must be an absolute path, or one that begins with ~/"):
        find()
    config.write_text("")
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", "rel/x.sock")
    with pytest.raises(BadSetting, match="GFLOW_DAEMON_SOCKET must be an absolute path"):
        find()
    assert find("unix:/elsewhere") == "/elsewhere"
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", "~/mine")
    assert find() == os.path.expanduser("~/mine")


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(config):
    config.unlink(missing_ok=True)
    os.mkfifo(config)
    with pytest.raises(BadSetting, match="it is a pipe"):
        find()


@pytest.mark.parametrize("content", ["socket = [", "daemon.socket = 3", 'daemon.socket = ""'])
def test_a_bad_file_is_named(config, content):
    config.write_text(content)
    with pytest.raises(BadSetting, match=str(config)):
        find()


def test_a_socket_elsewhere_in_the_file_is_not_ours(config):
    config.write_text('# socket\n[other]\nsocket = "/no"\n')
    assert find() == paths.default_socket()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://localhost:59000", "http://localhost:59000"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("http://[::1]:59000", "http://[::1]:59000"),
        ("http://gpu", "http://gpu:80"),
        ("http://[::1]", "http://[::1]:80"),
    ],
)
def test_http_endpoints_are_taken(url, found):
    assert find(url) == found


@pytest.mark.parametrize(
    "url", ["http://", "http://:1", "http://x:0", "http://x:65536", "http://x:y", "http://x/path", "http://a@b:1"]
)
def test_bad_http_endpoints_are_refused_in_one_line(url):
    with pytest.raises(BadSetting, match="http://host:port") as caught:
        find(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://gpu.example:59000", "https://gpu.example:59000"),
        ("https://gpu.example/", "https://gpu.example:443"),
        ("https://[::1]", "https://[::1]:443"),
    ],
)
def test_https_endpoints_are_taken(url, found):
    assert find(url) == found


@pytest.mark.parametrize("url", ["https://", "https://x/path", "https://a@b:1", "https://x y:1"])
def test_bad_https_endpoints_are_refused_in_one_line(url):
    with pytest.raises(BadSetting, match="https://host:port") as caught:
        find(url)
    assert "\n" not in str(caught.value)


REMOTE = "[client]\nurl = 'https://there:1'\n"


def test_the_url_of_the_file_is_for_when_no_other_is_said(config, monkeypatch):
    config.write_text(REMOTE + "[daemon]\nsocket = '/s'\n")
    assert find() == "https://there:1"
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", "/from/environment")
    assert find() == "/from/environment"
    monkeypatch.setenv("GFLOW_URL", "https://other:2")
    assert find() == "https://other:2"
    assert find("unix:/option") == "/option"


def test_what_goes_along_with_an_url(config, monkeypatch):
    config.write_text(REMOTE + "cacert = '~/ca.pem'\nssh_host = 'box'\nallow_plaintext = true\n")
    found = find()
    assert isinstance(found, tcp.Remote)
    assert (found.cacert, found.ssh_host, found.plaintext) == (os.path.expanduser("~/ca.pem"), "box", True)
    monkeypatch.setenv("GFLOW_CACERT", "/environment.pem")
    monkeypatch.setenv("GFLOW_SSH_HOST", "me@box2")
    found = tcp.remote(find("https://there:1"))
    assert (found.cacert, found.ssh_host) == ("/environment.pem", "me@box2")
    trust("/option.pem")
    try:
        assert tcp.remote(find()).cacert == "/option.pem"
    finally:
        trust(None)
    bare = tcp.remote("https://there:1")
    assert (bare.cacert, bare.ssh_host, bare.plaintext) == (None, None, False)


@pytest.mark.parametrize("line", ["url = 3", "url = ''", "allow_plaintext = 'yes'", "verify = false", "cacert = []"])
def test_a_bad_client_table_is_said(config, line):
    config.write_text(f"[client]\n{line}\n")
    with pytest.raises(BadSetting, match=r"gflow\.toml: client\.") as caught:
        find()
    assert "\n" not in str(caught.value)


def test_a_configured_port_with_tls_counts(config):
    config.write_text("[daemon]\nhost = 'gpu'\ntls_cert = '/c'\ntls_key = '/k'\n")
    assert find() == "https://gpu:59000"
    config.write_text("[daemon]\nhost = '0.0.0.0'\ntls_cert = '/c'\ntls_key = '/k'\n")
    assert find() == "https://127.0.0.1:59000"
    config.write_text("[daemon]\nhost = 'gpu'\n[client]\ncacert = '/ca'\n")
    assert (find(), tcp.remote(find()).cacert) == ("https://gpu:59000", "/ca")
    config.write_text("[daemon]\nhost = 'gpu'\nallow_plaintext = true\n")
    assert (find(), tcp.remote(find()).plaintext) == ("http://gpu:59000", True)


OPEN = '[daemon]\nauth = "none"\n'


def test_without_a_socket_the_configured_port_counts(config, monkeypatch):
    config.write_text(OPEN + "port = 1234\n")
    assert find() == "http://localhost:1234"
    config.write_text(OPEN + 'host = "::1"\n')
    assert find() == "http://[::1]:59000"
    monkeypatch.setenv("GFLOW_DAEMON_PORT", "77")
    monkeypatch.setenv("GFLOW_DAEMON__HOST", "127.0.0.1")
    assert find() == "http://127.0.0.1:77"
    config.write_text("")
    assert find() == paths.default_socket()
    monkeypatch.setenv("GFLOW_DAEMON_AUTH", "none")
    assert find() == "http://127.0.0.1:77"


def test_where_there_is_a_socket_it_comes_first(config):
    config.write_text(OPEN + "port = 1234\n")
    os.mkdir(os.path.dirname(paths.default_socket()), 0o700)
    with open(paths.default_socket(), "w"):
        assert find() == paths.default_socket()
    config.write_text(OPEN + "port = 1234\nsocket = '/named'\n")
    assert find() == "/named"


@pytest.mark.parametrize("content", ["[daemon]\nport = 1234\n", OPEN, "[daemon]\nport = 1\nauth = 'token'\n"])
def test_a_port_without_a_word_that_it_is_open_is_not_asked(config, content):
    """A file of gflow 0.4 has one; while the daemon is down anybody could listen there."""
    config.write_text(content)
    assert find() == paths.default_socket()


@pytest.mark.parametrize("line", ["port = 'x'", "host = 3", "port = -1", "port = 99999"])
def test_a_bad_port_or_host_is_said(config, line):
    config.write_text(OPEN + line + "\n")
    with pytest.raises(BadSetting, match="port"):
        find()


@pytest.mark.parametrize("url", ["unix:relative", "/run/x.sock", "nonsense", "unix:"])
def test_other_endpoints_are_refused(url):
    with pytest.raises(BadSetting, match="unix:/path"):
        find(url)
