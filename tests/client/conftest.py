"""A fake daemon on a socket whose path is short enough for the kernel."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.client import patience, voice
from support.fake_daemon import FakeDaemon


@pytest.fixture
def short_dir() -> Iterator[Path]:
    # not below TMPDIR, which may be long, or closed to the other user some tests need
    path = Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks if nobody has said, and that he does: a process of the tests runs many commands, also live views."""
    monkeypatch.setattr(voice, "_speaker", "gflow")
    monkeypatch.setattr(patience, "_quiet", [])


@pytest.fixture
def daemon(short_dir: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(short_dir / "d.sock") as fake:
        yield fake
