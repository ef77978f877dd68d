"""Secrets come from variables and files, and errors about them do not show them."""

import os
from pathlib import Path

import pytest

from gflow.notify.secrets import digest, expand, secret_from


def test_variables_are_filled_in_and_a_missing_one_is_named():
    assert expand("Bearer ${TOKEN}, $TOKEN ${TOKEN}", {"TOKEN": "t"}, "k") == "Bearer t, $TOKEN t"
    with pytest.raises(ValueError, match=r"^k: \$\{OTHER\} is not set in the daemon's environment$"):
        expand("hidden ${OTHER}", {}, "k")


@pytest.mark.parametrize("text", ["hidden ${", "${hidden", "${hid-den}", "${}", "${TOKEN}${"])
def test_what_looks_like_a_variable_and_is_none_is_an_error(text):
    with pytest.raises(ValueError, match=r"^k: a \$\{ in it begins no name of a variable; write \$\{NAME\}$"):
        expand(text, {"TOKEN": "t"}, "k")
    assert expand("$${TOKEN}{", {"TOKEN": "${"}, "k") == "$${{"


def test_a_secret_is_a_text_or_a_file(tmp_path, caplog):
    path = tmp_path / "secret"
    path.write_text("hidden\n")
    path.chmod(0o600)
    assert secret_from("a${B}", None, {"B": "c"}, "k") == b"ac"
    assert secret_from(None, "${HOME}/secret", {"HOME": str(tmp_path)}, "k") == b"hidden"
    assert secret_from(None, None, {}, "k") is None
    assert caplog.messages == []


def test_a_file_that_others_can_read_is_warned_of(tmp_path, caplog):
    path = tmp_path / "secret"
    path.write_text("hidden")
    path.chmod(0o640)
    assert secret_from(None, str(path), {}, "k") == b"hidden"
    (said,) = caplog.messages
    assert said == f"k.secret_file: {path} can be read by others (mode 640): chmod 600 it"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 5000, None])
def test_a_file_without_a_secret_is_an_error(tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^k\.secret_file: "):
        secret_from(None, str(path), {}, "k")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, Path("/dev/null")):
        with pytest.raises(ValueError, match=rf"^k\.secret_file: {path} is no regular file$"):
            secret_from(None, str(path), {}, "k")


def test_two_secrets_or_an_empty_one_are_errors():
    with pytest.raises(ValueError, match="not both"):
        secret_from("hidden", "/f", {}, "k")
    with pytest.raises(ValueError, match="empty"):
        secret_from("", None, {}, "k")


def test_a_digest_tells_where_words_end():
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("a")) == 12
