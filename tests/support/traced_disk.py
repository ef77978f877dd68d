"""A disk that writes down what was done to it, in words for reading and in steps for doing it again elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gflow.store.disk import Disk


@dataclass(frozen=True)
class Step:
    """One call that took place. `data` is what was written, `size` where a file was cut, `target` a new name."""

    call: str
    name: str
    data: bytes = b""
    size: int = 0
    target: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.call, self.name, self.target)))

    def states(self, directory: Path) -> Iterator[None]:
        """Do it again to the files in `directory`; stops after each byte that is written, and at the end."""
        path = directory / self.name
        match self.call:
            case "create" | "open_in_place":
                path.touch()
            case "write":
                yield from _byte_by_byte(path, self.data, path.stat().st_size)
            case "overwrite":
                yield from _byte_by_byte(path, self.data, 0)
            case "truncate":
                with path.open("r+b") as file:
                    file.truncate(self.size)
            case "replace":
                path.replace(directory / self.target)
            case "remove":
                path.unlink()
        yield


def _byte_by_byte(path: Path, data: bytes, offset: int) -> Iterator[None]:
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        for byte in data:
            file.write(bytes([byte]))
            yield


class TracedDisk(Disk):
    """The real disk. `steps` are all calls that took place, in order; files go by their names."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._names: dict[int, str] = {}

    def told(self) -> list[str]:
        """The steps so far, in words, and forget them."""
        told = [str(step) for step in self.steps]
        self.steps.clear()
        return told

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._names[fd] = path.name
        self.steps.append(Step("create", path.name))
        return fd

    def open_in_place(self, path: Path) -> int:
        fd = super().open_in_place(path)
        self._names[fd] = path.name
        self.steps.append(Step("open_in_place", path.name))
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        taken = super().write(fd, data)
        self.steps.append(Step("write", self._names[fd], bytes(data[:taken])))
        return taken

    def overwrite(self, fd: int, data: bytes) -> None:
        super().overwrite(fd, data)
        self.steps.append(Step("overwrite", self._names[fd], data))

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.steps.append(Step("sync", self._names[fd]))

    def write_again(self, path: Path, offset: int, data: bytes) -> None:
        super().write_again(path, offset, data)
        self.steps.append(Step("write_again", path.name))

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self.steps.append(Step("truncate", self._names[fd], size=size))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.steps.append(Step("replace", source.name, target=target.name))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.steps.append(Step("remove", path.name))

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        self.steps.append(Step("make_directory", path.name))

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self.steps.append(Step("sync_directory", path.name))
