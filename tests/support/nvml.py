"""A driver to be had anywhere: the stub of `nvml_stub.c`, compiled, and the file that says what it shows.

`Driver(directory)` is a machine's NVIDIA driver: it has devices, processes on them, and whatever goes wrong. A program
that runs in `driver.environment` loads it as it would load the real one. Every change is in effect at the next call.
"""

import os
import pickle
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import gflow
from gflow.gpu.base import ProbeReading

SOURCE = Path(__file__).with_name("nvml_stub.c")
VARIABLE = "GFLOW_NVML_STUB"
NAME = "libnvidia-ml.so"
MIB = 1 << 20

NOT_SUPPORTED, DRIVER_NOT_LOADED, FUNCTION_NOT_FOUND, LOST, RESET_REQUIRED = 3, 9, 13, 15, 16
UNINITIALIZED, VERSION_MISMATCH, UNKNOWN = 1, 18, 999
ANY = -1


def compile_stub(directory: Path) -> Path:
    """The directory with the library, under both names programs load it by."""
    library = directory / f"{NAME}.1"
    made = library.with_suffix(f".{os.getpid()}")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run(["cc", *options, "-o", os.fspath(made), os.fspath(SOURCE)], check=True)
    made.replace(library)
    (directory / NAME).symlink_to(library.name)
    return directory


@dataclass
class Device:
    """Memory in MiB, utilisation in percent, -1: not supported; so for MIG, where 1 is on."""

    uuid: str
    total_mb: int = 24576
    used_mb: int = 0
    reserved_mb: int = 300
    utilisation: int = 0
    mig: int = -1
    name: str = "Stub GPU"

    def line(self, index: int) -> str:
        sizes = " ".join(str(mb * MIB) for mb in (self.total_mb, self.used_mb, self.reserved_mb))
        return f"device {index} {self.uuid} {sizes} {self.utilisation} {self.mig} {self.name}"


@dataclass
class Driver:
    """See above. `library`: the directory of the compiled stub. Call `write` after changing `devices` by hand."""

    directory: Path
    library: Path
    devices: list[Device] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._path = self.directory / "nvml-stub.txt"
        self.write()

    @property
    def environment(self) -> dict[str, str]:
        """What a program must have in its environment to meet this driver."""
        return {"LD_LIBRARY_PATH": os.fspath(self.library), VARIABLE: os.fspath(self._path)}

    def write(self) -> None:
        lines = [device.line(index) for index, device in enumerate(self.devices)] + self._lines
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")
        fresh.replace(self._path)

    def add(self, count: int = 1, **fields: object) -> Self:
        """More devices, with UUIDs of their own."""
        for _ in range(count):
            self.devices.append(Device(f"GPU-stub-{len(self.devices)}", **fields))  # type: ignore[arg-type]
        self.write()
        return self

    def put(self, index: int, pid: int, used_mb: int | None = 100, *, kind: str = "compute") -> None:
        """A process on a device; kind: compute, graphics or mps. None: the driver does not tell its memory."""
        self._say(f"{kind} {index} {pid} {-1 if used_mb is None else used_mb * MIB}")

    def take(self, pid: int) -> None:
        """A process is not on any device any more."""
        self._forget(lambda words: words[0] in ("compute", "graphics", "mps") and words[2] == str(pid))

    def fail(self, function: str, code: int, index: int = ANY) -> None:
        """Calls of a function fail: `nvmlInit` for all versions of that, `*` for every one about a device."""
        self._say(f"fail {function} {index} {code}")

    def hang(self, function: str, index: int = ANY) -> None:
        """Calls of a function do not come back until `heal`."""
        self._say(f"hang {function} {index}")

    def heal(self) -> None:
        """Nothing fails or hangs any more."""
        self._forget(lambda words: words[0] in ("fail", "hang"))

    def _say(self, line: str) -> None:
        self._lines.append(line)
        self.write()

    def _forget(self, which: Callable[[list[str]], bool]) -> None:
        self._lines = [line for line in self._lines if not which(line.split())]
        self.write()


class ProbeProcess:
    """A probe in a process of its own, which meets the driver of that process's environment. See `gpu.base.Probe`.

    `first`: directories that its modules are looked for in before all others.
    """

    def __init__(self, environment: dict[str, str], *first: Path) -> None:
        path = os.pathsep.join(map(os.fspath, [*first, Path(gflow.__file__).parents[1], Path(__file__).parents[1]]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from support.nvml import serve; serve()"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def read(self) -> ProbeReading:
        self.begin("read")
        return self.answer()

    def close(self) -> None:
        self.begin("close")
        self.answer()

    def begin(self, call: str) -> None:
        """Make a call without waiting for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{call}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> ProbeReading:
        """What the call that was begun returns."""
        assert self._process.stdout is not None
        answer: ProbeReading = pickle.load(self._process.stdout)
        return answer

    def has_answered(self, within_secs: float) -> bool:
        """Whether the call that was begun comes to an end so soon."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within_secs)[0])

    def loaded(self) -> list[str]:
        """The libraries the process has loaded."""
        return Path(f"/proc/{self._process.pid}/maps").read_text().split()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def probing(environment: dict[str, str], *first: Path) -> Iterator[ProbeProcess]:
    """A probe process, ended at the end."""
    probe = ProbeProcess(environment, *first)
    try:
        yield probe
    finally:
        probe.end()


def serve() -> None:
    """What a probe process does: one call for each line it reads."""
    from gflow.gpu.nvml import Nvml

    probe = Nvml()
    for line in sys.stdin:
        answer = probe.read() if line.strip() == "read" else probe.close()
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
