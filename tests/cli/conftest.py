"""Commands run in this process against a fake daemon; `Outcome` is what a shell would see of them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gflow.cli.command import Command, Group
from gflow.cli.entry import start
from support.fake_daemon import FakeDaemon


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home with a runtime directory whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="gf-"))
    (path / "gflow").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    for name in (
        "XDG_CONFIG_HOME",
        "GFLOW_URL",
        "GFLOW_DAEMON_SOCKET",
        "GFLOW_DAEMON__SOCKET",
        "NO_COLOR",
        "CONDA_DEFAULT_ENV",
    ):
        monkeypatch.delenv(name, raising=False)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(home: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(home / "gflow" / "gflowd.sock") as fake:
        yield fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line for a table and return what came of it."""

    def command(table: Command | Group, *argv: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            start(table, list(argv))
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, out, err)

    return command
