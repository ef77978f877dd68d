"""A program that makes itself hard to look at, as any user may. It needs nothing but Python, and ends when killed.

    hostile_memory.py environment MIB      claims an environment of so many MiB, which costs it nothing
    hostile_memory.py stuck DEVICE PLACE   mounts a file system of its own (FUSE) in a namespace of its own, and has a
                                           process whose memory map stays locked: a page of it that is never delivered
                                           is waited for, and a change of the map waits for that

The second prints the id of the process that will get stuck. Structures are those of the kernel (linux/prctl.h,
linux/fuse.h).
"""

import ctypes
import mmap
import os
import signal
import stat
import struct
import sys
import threading
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
PR_SET_MM, PR_SET_MM_MAP = 35, 14
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
LOOKUP, GETATTR, OPEN, READ, INIT = 1, 3, 14, 15, 26
SILENT = (2, 36, 42)
"""FORGET, INTERRUPT and BATCH_FORGET want no answer."""

EIO, ENOSYS = 5, 38
FOREVER_SECS = 1000
SHARED_BYTES = 60 << 20


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def claim_environment(size: int) -> None:
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    start = LIBC.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
    told = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    field = {number: int(value) for number, value in enumerate(told[1:], start=4)}  # numbered as in proc(5)
    LIBC.sbrk.restype = ctypes.c_void_p
    code, data, heap, stack = (field[26], field[27]), (field[45], field[46]), (field[47], LIBC.sbrk(0)), field[28]
    fields = struct.pack("=12QIi", *code, *data, *heap, stack, field[48], field[49], start, start + size, 0, 0, -1)
    checked(LIBC.prctl(PR_SET_MM, PR_SET_MM_MAP, fields, ctypes.c_ulong(len(fields)), 0))
    tell("claimed")


def enter_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    checked(LIBC.unshare(NEW_USER | NEW_MOUNTS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o644
    return struct.pack("=6Q3I7I", node, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def serve(device: int, asked_again: int) -> None:
    """One file in a directory; the first reading fails, and is tried again, now with the lock held: no answer."""
    readings = 0
    while True:
        request = os.read(device, 1 << 20)
        _, operation, unique, node = struct.unpack_from("=IIQQ", request)
        error, answer = 0, b""
        if operation == INIT:
            answer = struct.pack("=4I2HI", 7, 31, 0, 0, 0, 0, 4096).ljust(64, b"\0")
        elif operation == GETATTR:
            answer = struct.pack("=QII", FOREVER_SECS, 0, 0) + attributes(node)
        elif operation == LOOKUP:
            answer = struct.pack("=4QII", 2, 0, FOREVER_SECS, FOREVER_SECS, 0, 0) + attributes(2)
        elif operation == OPEN:
            answer = bytes(16)
        elif operation == READ:
            readings += 1
            error = EIO
            if readings == 2:
                os.write(asked_again, b"x")
        else:
            error = ENOSYS
        if operation not in SILENT and readings < 2:
            os.write(device, struct.pack("=IiQ", 16 + len(answer), -error, unique) + answer)


def get_stuck(file: str, asked_again: int) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    page = LIBC.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor, 0)
    tell(str(os.getpid()))
    threading.Thread(target=ctypes.CDLL(None).memcmp, args=(ctypes.c_void_p(page), b"x", 1)).start()
    os.read(asked_again, 1)
    LIBC.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)


def stuck(device_file: str, place: str) -> None:
    """All three processes have some memory in common."""
    held = mmap.mmap(-1, SHARED_BYTES)
    held.write(bytes(SHARED_BYTES))
    asked, told = os.pipe()
    enter_namespaces()
    device = os.open(device_file, os.O_RDWR)
    how = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    checked(LIBC.mount(b"x", place.encode(), b"fuse", ctypes.c_ulong(6), how))  # MS_NOSUID, MS_NODEV
    if os.fork() == 0:
        held.find(b"x")
        serve(device, told)
    if os.fork() == 0:
        os.close(device)
        held.find(b"x")
        get_stuck(f"{place}/file", asked)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["environment", mib]:
            claim_environment(int(mib) << 20)
        case ["stuck", device_file, place]:
            stuck(device_file, place)
    signal.pause()
