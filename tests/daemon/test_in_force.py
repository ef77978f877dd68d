"""The configuration in force, and how it is changed: read once, and only what is right counts."""

from pathlib import Path

import pytest

from gflow.config import Config, ConfigError, Daemon
from gflow.core.errors import Impossible
from gflow.daemon import configured
from gflow.daemon.in_force import InForce
from gflow.daemon.settings import Settings

OVER_TLS = {"host": "localhost", "tls_key": "key"}


class Reloading:
    """One daemon's configuration; `next` is what the file says now, `gone_by` what the daemon was told to go by."""

    def __init__(self, root, **daemon):
        self.next = Config(daemon=Daemon(**daemon))
        self.told, self.gone_by = [], []
        settings = Settings(self.next, root, root / "s", self._reread)
        self.in_force = InForce(settings, lambda job_id: Path(str(job_id)), lambda *said: self.told.append(said[0]))

    def _reread(self):
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    async def reload(self):
        async def go_by(new):
            self.gone_by.append(new)

        return await self.in_force.reload(go_by)


@pytest.fixture
def contexts(monkeypatch):
    """The certificates that were read; what is made of one is its name."""
    read = []
    monkeypatch.setattr(configured, "server_context", lambda cert, key: read.append(str(cert)) or str(cert))
    return read


async def test_files_are_read_once(tmp_path, contexts):
    daemon = Reloading(tmp_path, tls_cert="cert", **OVER_TLS)
    daemon.next = Config(daemon=Daemon(tls_cert="cert", max_bypass_secs=5, **OVER_TLS))
    changed = await daemon.reload()
    assert changed.applied == ["daemon.max_bypass_secs: 3600 -> 5"]
    assert contexts == ["cert"]
    assert (daemon.gone_by[0].tls, daemon.in_force.now.daemon.max_bypass_secs) == ("cert", 5)


async def test_another_certificate_is_tried_and_waits_for_a_restart(tmp_path, contexts):
    daemon = Reloading(tmp_path, tls_cert="cert", **OVER_TLS)
    daemon.next = Config(daemon=Daemon(tls_cert="other", **OVER_TLS))
    changed = await daemon.reload()
    assert (changed.applied, len(changed.later)) == ([], 1)
    assert contexts == ["other", "cert"]
    assert (daemon.gone_by[0].tls, daemon.in_force.now.daemon.tls_cert) == ("cert", "cert")


@pytest.mark.parametrize("wrong", [ConfigError("the file: it is broken"), Config(daemon=Daemon(host="0.0.0.0"))])
async def test_what_is_wrong_changes_nothing(tmp_path, wrong, caplog):
    daemon = Reloading(tmp_path)
    before, daemon.next = daemon.in_force.now, wrong
    with pytest.raises(Impossible, match=r"; the configuration stays as it is$"):
        await daemon.reload()
    assert (daemon.gone_by, daemon.in_force.now, daemon.told) == ([], before, ["RELOADING=1", "READY=1"])
    assert "the configuration stays as it is: " in caplog.text
    with pytest.raises(Impossible, match=r"; this program goes on$"):
        await daemon.in_force.check_next()


async def test_without_a_file_there_is_nothing_to_go_by(tmp_path):
    in_force = InForce(Settings(Config(), tmp_path, tmp_path / "s"), Path, print)
    with pytest.raises(Impossible, match="without a configuration"):
        await in_force.reload(None)
    with pytest.raises(Impossible, match="part of another program"):
        await in_force.check_next()
