"""The writer of a log: on its own, and at tmux' end of the pipe."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gflow.launch.log import end_idle, make_log, writer_command
from gflow.launch.processes import Process, children_of, name_of, read_stat
from gflow.launch.run_directory import RunDirectory
from support.tmux_server import Machine, running, until
from support.wait import until as wait_until

ROOM = 4096
_LITTLE_ROOM = """trap '' XFSZ; ulimit -S -f 8; exec "$@\""""  # a write beyond it fails, as on a full disk
LOST = "\n[gflow: output lost here: {}]\n"


class Writer:
    """A writer with a pipe of the test's, which has so much room for its log."""

    def __init__(self, place: Path, shell: str) -> None:
        directory = RunDirectory(place / "runs" / "7.abc")
        directory.path.parent.mkdir()
        directory.create(b"", [])
        self.log = place / "logs" / "7.log"
        self.log.parent.mkdir()
        make_log(self.log, 0.0)
        self.program = subprocess.Popen(
            ["sh", "-c", _LITTLE_ROOM, "sh", shell, "-c", writer_command(self.log, directory)],
            cwd=self.log.parent,
            stdin=subprocess.PIPE,
            bufsize=0,
        )
        wait_until(lambda: directory.record().logger_pid == self.program.pid, "who it is")

    def print(self, text: bytes) -> None:
        assert self.program.stdin
        self.program.stdin.write(text)

    def end_input(self) -> None:
        assert self.program.stdin
        self.program.stdin.close()

    def make_room(self) -> None:
        resource.prlimit(self.program.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def ended(self) -> bool:
        return self.program.poll() is not None

    def wait_says(self, check: Callable[[bytes], bool]) -> None:
        wait_until(lambda: check(self.log.read_bytes()), "what the log says")


@pytest.fixture(params=["dash", "bash"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Writer]:
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"there is no {request.param}")
    writer = Writer(tmp_path, shell)
    yield writer
    with suppress(BrokenPipeError):
        writer.end_input()
    writer.program.wait()


def test_bytes_are_copied_as_they_are(writer: Writer) -> None:
    text = bytes(range(256)) * 4
    writer.print(text)
    writer.end_input()
    assert writer.program.wait() == 0
    assert writer.log.read_bytes() == text


def test_a_log_goes_on_when_there_is_room_again_and_says_that_something_is_missing(writer: Writer) -> None:
    writer.print(b"a" * (ROOM + 100))
    writer.wait_says(lambda text: text == b"a" * ROOM)
    writer.make_room()
    writer.wait_says(lambda text: text.endswith(b"]\n"))
    writer.print(b"on\n")
    writer.end_input()
    assert writer.program.wait() == 0
    assert writer.log.read_bytes() == b"a" * ROOM + LOST.format("File too large").encode() + b"on\n"


def test_a_writer_without_room_takes_all_and_ends_with_its_input(writer: Writer) -> None:
    for _ in range(64):
        writer.print(b"a" * (1 << 16))
    writer.end_input()
    wait_until(writer.ended, "its end")
    assert writer.log.read_bytes() == b"a" * ROOM


@pytest.mark.parametrize("printed", [10, ROOM + 1])
def test_an_idle_writer_is_ended_with_what_copies_for_it(writer: Writer, printed: int) -> None:
    writer.print(b"a" * printed)
    writer.wait_says(lambda text: len(text) >= min(printed, ROOM))
    stat = read_stat(writer.program.pid)
    assert stat
    copying = wait_until(lambda: children_of(stat.process.pid), "what copies")
    wait_until(lambda: end_idle(stat.process) or writer.ended(), "its end")
    assert all(child is None or child.gone for child in map(read_stat, copying))
    assert writer.log.read_bytes() == b"a" * min(printed, ROOM)


def test_a_writer_of_an_earlier_gflow_that_copies_itself_is_ended() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        stat = read_stat(cat.pid)
        assert stat
        end_idle(Process(cat.pid, stat.process.start_ticks + 1))
        assert cat.poll() is None
        wait_until(lambda: end_idle(stat.process) or cat.poll() is not None, "its end")


@pytest.fixture
def small_logs(machine: Machine) -> Iterator[Path]:
    """Where logs are, on a file system with a quarter of a megabyte."""
    logs = machine.data / "logs"
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "gflow-test", str(logs)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if mounted is None or mounted.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield logs
    subprocess.run(["umount", "-l", str(logs)], check=True)


async def test_a_disk_that_was_full_for_a_while(machine: Machine, small_logs: Path) -> None:
    filler, gate = small_logs / "filler", machine.work / "gate"
    os.mkfifo(gate)
    async with running(machine):
        job = machine.job("echo first; read x <gate; seq 9000; read x <gate; echo last")
        await machine.tmux.launch(job)
        await until(lambda: machine.log(job) == "first\n", "what it says first")
        writer = RunDirectory.of(machine.data / "runs", job).record().logger_pid
        assert writer
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        gate.write_text("\n")
        await until(lambda: [name_of(child) for child in children_of(writer)] == ["timeout"], "the failure to write")
        filler.unlink()
        line = LOST.format("No space left on device")
        await until(lambda: machine.log(job).endswith(line), "the line")
        gate.write_text("\n")
        assert (await machine.tmux.wait(job)).code == 0
    assert machine.log(job).startswith("first\n1\n2\n")
    assert machine.log(job).endswith(line + "last\n")
