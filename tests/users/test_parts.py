"""What system mode is made of, each by itself; none of this needs root, or several users."""

import contextlib
import os
import pwd
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from gflow.core.model import Exit, Job, JobId, State
from gflow.launch.base import Start, Trace
from gflow.launch.processes import Process, real_user_of
from gflow.store.codec import pack
from gflow.users import accounts, frames
from gflow.users.accounts import Account, NoAccount, account_of, check_login, is_users
from gflow.users.becoming import NotBecome, check_become
from gflow.users.frames import Frames, Gone, value
from gflow.users.helper import Declined, Helper, HelperLost
from gflow.users.kept import Kept
from gflow.users.places import Places, UnsafePlace, check_place, closed_to_users, open_directory
from support.jobs import spec

ME = pwd.getpwuid(os.geteuid())


def launched(number: int, environment: str) -> Job:
    """A job that was told to start."""
    return Job(
        id=JobId(number),
        spec=spec(environment=environment),
        run_name="x",
        state=State.RUNNING,
        submitted_at=1.0,
        run_id=f"r{number}",
    )


READERS = [
    frames.start_from,
    frames.trace_from,
    frames.exit_from,
    frames.flag,
    frames.text,
    frames.words_from,
    frames.ids_from,
    frames.report_from,
]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


# -- what a helper says -----------------------------------------------------------------------------------------------


def test_answers_of_a_helper_are_read() -> None:
    assert value(frames.start_from, [[1.5, 2], [7, 8]]) == (Start(1.5, 2.0), Process(7, 8))
    assert value(frames.trace_from, ["never started", None, None]) == (Trace.NEVER_STARTED, None, None)
    assert value(frames.exit_from, [3, 9.5, "Killed\x1b[2J"]) == Exit(3, 9.5, "Killed[2J")
    assert value(frames.words_from, ["tmux", "-S"]) == ["tmux", "-S"]
    assert value(frames.report_from, [b"45%", 1]) == (b"45%", 1.0)


@pytest.mark.parametrize("read", READERS)
@given(said=ANYTHING)
@example(said=[float("nan"), float("inf"), None])
@example(said=[256, 1.0, None])
@example(said=[[float("inf"), 0], None])
@example(said=[-1])
@example(said=["\ud800" * 2000])
def test_whatever_a_helper_says_is_an_answer_or_the_end_of_it(read, said) -> None:
    with contextlib.suppress(Gone):
        value(read, said)


@given(st.binary(max_size=40))
@example(b"\xff\xff\xff\xff")
@example(b"\x00\x00\x00\x01\xc1")
@example(b"\x00\x00\x03\xe8" + b"\x91" * 1000)
def test_whatever_bytes_come_the_connection_ends_well(data: bytes) -> None:
    async def receive_all() -> None:
        ours, theirs = trio.socket.socketpair()
        with theirs:
            await theirs.send(data)
        frames = Frames(trio.SocketStream(ours), 1000)
        with pytest.raises(Gone):
            for _ in range(100):
                await frames.receive()
        frames.close()

    trio.run(receive_all)


async def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    ours, theirs = trio.socket.socketpair()
    with theirs:
        await theirs.send(len(pack("x" * 2000)).to_bytes(4, "big"))
        with trio.fail_after(5), pytest.raises(Gone, match="2003 bytes"):
            await Frames(trio.SocketStream(ours), 1000).receive()
    ours.close()


@pytest.mark.parametrize(
    "said",
    [[1, "done", None], [0, "ready", 1], ["x"], [True, "refused", None], {"a": 1}, "text"],
    ids=str,
)
async def test_who_speaks_without_being_asked_is_not_listened_to(said) -> None:
    """Reading it all would be work without an end, for everybody's daemon."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    process = subprocess.Popen(["true"], stderr=subprocess.PIPE)
    helper = Helper(Account(ME.pw_uid, ME.pw_gid, ME.pw_name, "/", "/bin/sh"), process, ours)
    with theirs:
        content = pack(said)
        theirs.sendall(len(content).to_bytes(4, "big") + content)
        with trio.fail_after(5):
            await helper._listen()
    await helper.leave()
    assert not helper.alive
    with pytest.raises(HelperLost):
        await helper.ask(frames.flag, "close_terminal", [])


async def test_a_question_is_answered_once_and_may_be_called_off() -> None:
    ours, theirs = trio.socket.socketpair()
    process = subprocess.Popen(["true"], stderr=subprocess.PIPE)
    account = Account(ME.pw_uid, ME.pw_gid, ME.pw_name, "/", "/bin/sh")
    helper = Helper(account, process, socket.socket(fileno=os.dup(ours.fileno())))
    ours.close()
    far = Frames(trio.SocketStream(theirs), frames.MOST_FROM_DAEMON)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(helper._listen)
        with trio.move_on_after(0.05):
            await helper.ask(frames.flag, "close_terminal", [])
        (asked, *_), (off, *_) = await far.receive(), await far.receive()
        assert asked == off
        await far.send([asked, "done", True])  # it may have been on its way

        async def answer() -> None:
            serial, *_ = await far.receive()
            await far.send([serial, "refused", "no\nway"])

        nursery.start_soon(answer)
        with pytest.raises(Declined, match="noway"):
            await helper.ask(frames.flag, "close_terminal", [])
        far.close()
    await helper.leave()


# -- whom jobs are run as ---------------------------------------------------------------------------------------------


def test_an_account_is_found_by_user_id_and_name() -> None:
    account = account_of(ME.pw_uid, ME.pw_name)
    assert (account.uid, account.gid, account.home) == (ME.pw_uid, ME.pw_gid, ME.pw_dir)
    assert account.environment(None)["LANG"] == "C.UTF-8"


@pytest.mark.parametrize(
    ("uid", "name", "said"),
    [
        (None, "ana", "It is not known which user"),
        (4_000_000_001, "ana", "There is no account with the user id 4000000001 ('ana')"),
        (ME.pw_uid, "somebody else", f"was 'somebody else' and is '{ME.pw_name}' now"),
    ],
)
def test_a_user_id_and_a_name_must_agree(uid, name, said) -> None:
    with pytest.raises(NoAccount, match=said.replace("(", r"\(").replace(")", r"\)")):
        account_of(uid, name)


def test_ids_lent_for_containers_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lent = tmp_path / "subuid"
    lent.write_text(f"other:200000:10\n{ME.pw_name}:300000:10\nbroken\n{ME.pw_uid}:400000:1\n{ME.pw_name}:65534:1\n")
    monkeypatch.setattr(accounts, "SUBORDINATE", lent)
    his = {
        number for number in (ME.pw_uid, 200003, 299999, 300000, 300009, 300010, 400000) if is_users(number, ME.pw_uid)
    }
    assert his == {ME.pw_uid, 300000, 300009, 400000}
    assert not is_users(65534, ME.pw_uid), "somebody has an account with it"
    assert not is_users(None, ME.pw_uid)
    assert not is_users(None, None)
    lent.unlink()
    assert not is_users(300000, ME.pw_uid)


@pytest.mark.parametrize(
    ("shell", "home", "said"),
    [
        ("/usr/sbin/nologin", "/", "no shell"),
        ("/bin/false", "/", "no shell"),
        ("/no/such/shell", "/", "no shell"),
        ("/bin/sh", "/nonexistent", "home directory"),
        ("/bin/sh", "/etc/passwd", "home directory"),
    ],
)
def test_who_cannot_log_in_cannot_run_jobs(shell: str, home: str, said: str) -> None:
    with pytest.raises(NoAccount, match=said):
        check_login(Account(1, 1, "ana", home, shell))
    check_login(Account(1, 1, "ana", "/", "/bin/sh"))


def test_a_process_knows_who_it_has_become() -> None:
    if ME.pw_uid == 0:
        check_become(0, ME.pw_gid, ME.pw_name)
    with pytest.raises(NotBecome, match="user ids"):
        check_become(ME.pw_uid + 1, ME.pw_gid, ME.pw_name)
    assert real_user_of(os.getpid()) == os.getuid()
    assert real_user_of(2**22 + 1) is None


# -- where files are --------------------------------------------------------------------------------------------------


def test_directories_are_made_with_their_mode_and_never_changed_afterwards(tmp_path: Path) -> None:
    open_directory(tmp_path / "new", 0o711)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o711
    (tmp_path / "new").chmod(0o1777)
    open_directory(tmp_path / "new", 0o755)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o1777


def test_a_link_or_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(UnsafePlace, match="is not a directory of root's"):
            open_directory(tmp_path / name, 0o755)


def test_a_place_others_can_change_or_not_reach_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(UnsafePlace, match=r"others may change|is not a directory of root's"):
        check_place(place)
    place.chmod(0o700)
    with pytest.raises(UnsafePlace, match=r"users may not enter|is not a directory of root's"):
        check_place(place)


def test_it_is_said_where_users_cannot_come(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "lib").mkdir(mode=0o755)
    program = tmp_path / "lib/program"
    program.touch(0o755)
    for closed in (program, tmp_path / "lib"):
        closed.chmod(0o750)
        assert closed_to_users(program) == closed
        closed.chmod(0o755)
    assert closed_to_users(program) not in (program, tmp_path / "lib", tmp_path)


def test_places_are_beside_the_state_and_the_socket() -> None:
    places = Places.beside(Path("/var/lib/gflow"), Path("/run/gflow/gflowd.sock"))
    assert places.logs == Path("/var/lib/gflow-jobs/logs")
    assert (places.files_of(7), places.sockets_of(7)) == (
        Path("/var/lib/gflow-jobs/users/7"),
        Path("/run/gflow/users/7"),
    )


# -- what launches need -----------------------------------------------------------------------------------------------


def test_files_are_there_while_a_launch_needs_them(tmp_path: Path) -> None:
    kept = Kept(tmp_path, b"export USER=ana\n")
    one, two = (launched(number, "e" * 64) for number in (1, 2))
    for job in (one, two):
        kept.need(job)
        kept.write(job, b"export A=1\n", None)
    path = kept.path("environment", "e" * 64)
    assert path.read_bytes() == b"export USER=ana\nexport A=1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept.drop(one)
    assert path.exists()
    kept.drop(two)
    assert not path.exists()


def test_after_a_restart_only_what_runs_keeps_its_files(tmp_path: Path) -> None:
    kept = Kept(tmp_path, b"")
    runs, ended = (launched(number, str(number) * 64) for number in (1, 2))
    for job in (runs, ended):
        kept.write(job, b"", None)
    Kept(tmp_path, b"").sweep([runs])
    assert kept.path("environment", "1" * 64).exists()
    assert not kept.path("environment", "2" * 64).exists()
