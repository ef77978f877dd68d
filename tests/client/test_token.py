"""The token: where it is looked for, what file is accepted, and that nothing shows it."""

import os

import pytest

from gflow import paths
from gflow.client import token
from gflow.client.errors import BadSetting

SECRET = "gft_4f9a"


@pytest.fixture(autouse=True)
def file(monkeypatch, tmp_path):
    """The token file, which is not there yet."""
    for name in ("GFLOW_TOKEN", "GFLOW_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "gflow" / "token"
    path.parent.mkdir()
    assert paths.token_file() == str(path)
    return path


def write(path, content=f"{SECRET}\n", mode=0o600):
    path.write_text(content)
    path.chmod(mode)
    return path


def refusal():
    with pytest.raises(BadSetting) as caught:
        token.find()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_any_there_is_none(monkeypatch):
    assert token.find() is None
    monkeypatch.setenv("GFLOW_TOKEN", " ")
    assert token.find() is None


def test_the_environment_comes_before_the_file(file, monkeypatch):
    write(file)
    assert (token.find().text, token.find().origin) == (SECRET, str(file))
    monkeypatch.setenv("GFLOW_TOKEN", "other\n")
    assert (token.find().text, token.find().origin) == ("other", "GFLOW_TOKEN")


def test_another_file_can_be_named_and_must_exist(file, tmp_path, monkeypatch):
    write(file)
    monkeypatch.setenv("GFLOW_TOKEN_FILE", str(tmp_path / "mine"))
    assert refusal() == f"GFLOW_TOKEN_FILE: {tmp_path}/mine does not exist"
    write(tmp_path / "mine", "theirs")
    assert token.find().text == "theirs"


def test_a_link_to_a_file_is_as_good(file, tmp_path):
    file.symlink_to(write(tmp_path / "real"))
    assert token.find().text == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_is_open_to_others_is_refused(file, mode):
    write(file, mode=mode)
    assert refusal().startswith(f"the token file {file} is open to others; run: chmod 600 {file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to have a file of somebody else's")
def test_a_file_of_somebody_elses_is_refused(file):
    os.chown(write(file), 65534, 65534)
    assert "belongs to uid 65534" in refusal()


def test_what_is_no_file_is_refused_and_holds_nobody_up(file):
    os.mkfifo(file, 0o600)
    assert refusal() == f"the token file {file} is not a regular file"
    file.unlink()
    file.mkdir()
    assert refusal() == f"the token file {file} is not a regular file"


@pytest.mark.parametrize("content", ["", "  \n", f"{SECRET} x", f"{SECRET}\nX-Evil: 1", "ü" + SECRET, SECRET * 2000])
def test_what_is_no_token_is_refused(file, content, monkeypatch):
    write(file, content)
    assert refusal() == f"{file} holds no token: it is one word, without blanks"
