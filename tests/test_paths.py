"""Paths on Linux are those of the XDG rules, for which platformdirs is the oracle."""

import os
import tempfile

import platformdirs
import pytest

from gflow import paths


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment without XDG variables, and a home."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize("value", [None, "", "/srv/cfg", "relative/cfg"])
def test_config_file_is_where_platformdirs_says(bare, value):
    if value is not None:
        bare.setenv("XDG_CONFIG_HOME", value)
    assert paths.config_file() == os.path.join(platformdirs.user_config_dir("gflow"), "gflow.toml")


@pytest.mark.parametrize("value", [None, "", "/srv/data", "relative/data"])
def test_data_dir_is_where_platformdirs_says(bare, value):
    if value is not None:
        bare.setenv("XDG_DATA_HOME", value)
    assert paths.data_dir() == platformdirs.user_data_dir("gflow")


@pytest.mark.filterwarnings("ignore::platformdirs.RuntimeDirWarning")
def test_runtime_dir_is_where_platformdirs_says(bare, tmp_path):
    assert paths.runtime_dir() == os.path.join(platformdirs.user_runtime_dir(), "gflow")
    tmp_path.chmod(0o700)
    bare.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert paths.runtime_dir() == os.path.join(platformdirs.user_runtime_dir(), "gflow")
    assert paths.default_socket() == f"{tmp_path}/gflow/gflowd.sock"


def test_a_relative_runtime_dir_does_not_count(bare):
    without = paths.runtime_dir()
    bare.setenv("XDG_RUNTIME_DIR", "here")
    assert paths.runtime_dir() == without


def test_the_fallback_does_not_depend_on_tmpdir(bare, tmp_path):
    without = paths.runtime_dir()
    bare.setenv("TMPDIR", str(tmp_path))
    assert paths.runtime_dir() == without


def test_a_private_directory_passes(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    paths.check_private_directory(str(mine))


def test_directories_others_could_have_prepared_are_refused(tmp_path):
    open_to_all, link, file = tmp_path / "open", tmp_path / "link", tmp_path / "file"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    link.symlink_to(tmp_path)
    file.touch()
    for path, complaint in (
        (open_to_all, "open to others"),
        (link, "not a directory"),
        (file, "not a directory"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(paths.UnsafeDirectory, match=complaint):
            paths.check_private_directory(str(path))


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(paths.UnsafeDirectory, match=f"belongs to uid {owner}"):
        paths.check_private_directory(str(tmp_path))
