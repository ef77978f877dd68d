"""Jobs on the real tmux: what they get, what is recorded of them, and what survives daemons, servers and accidents."""

import dataclasses
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from gflow.core.model import Exit, Job
from gflow.launch import ending
from gflow.launch.base import LaunchFailed, Trace
from gflow.launch.processes import read_stat
from support.tmux_server import Machine, relaunched, running, until


async def gate(machine: Machine, name: str = "gate") -> Path:
    path = machine.work / name
    os.mkfifo(path)
    return path


async def ready(machine: Machine) -> None:
    await until((machine.work / "ready").exists, "the job's first instruction")


# What a job gets.


async def test_it_runs_on_a_terminal(tmux: Machine) -> None:
    assert await tmux.output_of(tmux.job("test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM")) == (
        "48 160\nscreen-256color\n"
    )


@pytest.mark.parametrize(
    ("argv", "printed"),
    [
        (("echo", "a;", ";"), "a; ;\n"),
        (("echo", "#{pane_id}", "%H", "$HOME", "é 漢"), "#{pane_id} %H $HOME é 漢\n"),
        (("printf", "%s\n", "--opt", "a\nb", "\t"), "--opt\na\nb\n\t\n"),
        (("echo", "x" * 100_000), "x" * 100_000 + "\n"),
    ],
)
async def test_arguments_arrive_as_they_are(tmux: Machine, argv: tuple[str, ...], printed: str) -> None:
    assert await tmux.output_of(tmux.job(argv=argv)) == printed


async def test_nothing_is_printed_but_what_the_job_prints(tmux: Machine) -> None:
    job = tmux.job("kill -9 $$")
    assert (await tmux.end_of(job)).code == 137
    assert tmux.raw_log(job) == b""


async def test_the_minimal_environment_of_a_job_without_one(tmux: Machine) -> None:
    names = (await tmux.output_of(tmux.job("env | cut -d= -f1 | grep -v -e GFLOW -e CUDA"))).split()
    assert sorted(names) == sorted("PATH HOME USER LOGNAME SHELL LANG PWD TERM SHLVL _".split())


async def test_a_stored_environment_and_script(tmux: Machine) -> None:
    environment = tmux.environment(
        {"PATH": os.environ["PATH"], "GREETING": "a 'b'\nc", "BASH_FUNC_f%%": "() {  echo f\n}"}
    )
    path = tmux.work / "my job.sh"
    job = tmux.script(
        path, b'#!/bin/bash\r\necho "$GREETING" "$1"; f\r\n', script_args=("x y",), environment=environment
    )
    assert await tmux.output_of(job) == "a 'b'\nc x y\nf\n"


async def test_a_python_script_with_neighbours(tmux: Machine) -> None:
    path = tmux.work / "my project" / "train.py"
    path.parent.mkdir()
    (path.parent / "model.py").write_text("SIZE = 3\n")
    environment = tmux.environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    job = tmux.script(path, b"import model\nprint(model.SIZE, __file__)\n", environment=environment)
    assert await tmux.output_of(job) == f"3 {path}\n"


@pytest.mark.parametrize("name", ["with blank", 'it\'s "so"', "$(touch x)", "#{pane_id};", "%H é", "new\nline", "-d"])
async def test_working_directories(tmux: Machine, name: str) -> None:
    directory = tmux.work / name
    directory.mkdir()
    assert await tmux.output_of(tmux.job("pwd", run_dir=str(directory))) == f"{directory}\n"
    assert list(tmux.work.rglob("*")) == [directory]


async def test_a_missing_working_directory(tmux: Machine) -> None:
    end = await tmux.end_of(tmux.job(run_dir=str(tmux.work / "none")))
    assert (end.code, end.text) == (1, f"Cannot change to the working directory '{tmux.work}/none': no such directory")


async def test_a_missing_program(tmux: Machine) -> None:
    job = tmux.job(argv=("no-such-program",))
    end = await tmux.end_of(job)
    assert (end.code, end.text, tmux.log(job)) == (127, "Cannot run 'no-such-program': no such program", "")


@pytest.fixture
def odd_machine() -> Iterator[Machine]:
    machine = Machine("$(touch x) 'q' \"p\" #{pane_id} %H é;")
    yield machine
    machine.remove()


async def test_the_data_directory_may_have_any_name(odd_machine: Machine) -> None:
    async with running(odd_machine):
        job = odd_machine.script(odd_machine.work / "a b.sh", b"echo fine\n")
        assert await odd_machine.output_of(job) == "fine\n"
        await odd_machine.tmux.discard(job)
    assert not list(odd_machine.root.rglob("x"))


# Logs.


async def test_the_log_is_private_and_an_earlier_one_is_kept(tmux: Machine) -> None:
    job = tmux.job("echo new")
    log = tmux.tmux.log_path(job.id)
    log.write_text("old")
    await tmux.output_of(job)
    (earlier,) = log.parent.glob(f"{log.name}.old.*")
    assert earlier.read_text() == "old"
    assert re.fullmatch(r"\d+", earlier.suffix[1:])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_fifty_megabytes_are_complete(tmux: Machine) -> None:
    job = tmux.job("head -c 49999990 /dev/zero | tr '\\0' x | fold -w 99; printf '\\n%s' the-end")
    end = await tmux.end_of(job)
    assert end.code == 0
    log = tmux.raw_log(job).replace(b"\r\n", b"\n")
    assert log.endswith(b"\nthe-end")
    assert log.count(b"x") == 49_999_990


async def test_last_words_are_not_lost_on_a_busy_machine(tmux: Machine) -> None:
    """tmux by itself loses the tail of about one such log in nine."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        jobs = [tmux.job("head -c 297000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo the-end") for _ in range(48)]
        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(tmux.end_of, job)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert {len(tmux.log(job)) for job in jobs} == {300_008}


# Its end.


async def test_the_shortest_jobs_are_accounted(tmux: Machine) -> None:
    jobs = [tmux.job(argv=("true",) if number % 2 else ("sh", "-c", f"exit {number}")) for number in range(40)]
    ends: dict[int, Exit] = {}

    async def account(job: Job) -> None:
        ends[job.id] = await tmux.end_of(job)
        assert not await tmux.tmux.survivors(job)
        await tmux.tmux.discard(job)

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(account, job)
    assert [ends[job.id].code for job in jobs] == [0 if number % 2 else number for number in range(40)]
    assert [path.name for path in (tmux.data / "runs").iterdir() if path.is_dir()] == []
    await until(lambda: not tmux.sessions(), "the end of the sessions")


async def test_a_background_process_on_the_terminal_does_not_hold_the_job(tmux: Machine) -> None:
    job = tmux.job("sleep 600 & echo $! >pid; exit 9")
    with trio.fail_after(20):
        assert (await tmux.end_of(job)).code == 9
        await tmux.tmux.wait_gone(job)
    assert read_stat(int((tmux.work / "pid").read_text())) is None


@pytest.mark.parametrize("clean", ["", "env -i "])
async def test_a_daemonised_process_is_found_and_ended(tmux: Machine, clean: str) -> None:
    job = tmux.job(
        f"(setsid setsid {clean}sh -c 'trap \"\" HUP TERM; echo $$ >pid; sleep 600; :' </dev/null >/dev/null 2>&1 &);"
        "until [ -s pid ]; do sleep 0.02; done"  # gone before, the terminal's hang-up could still catch it
    )
    assert (await tmux.end_of(job)).code == 0
    await until(lambda: (tmux.work / "pid").exists() and (tmux.work / "pid").read_text(), "the daemonised process")
    assert await tmux.tmux.survivors(job)
    assert await tmux.tmux.send_signal(job, signal.SIGTERM) >= 1
    assert await tmux.tmux.survivors(job)
    assert await tmux.tmux.send_signal(job, signal.SIGKILL) >= 1
    with trio.fail_after(20):
        await tmux.tmux.wait_gone(job)


async def test_a_killed_wrapper(tmux: Machine) -> None:
    job = tmux.job("touch ready; exec sleep 600")
    await tmux.tmux.launch(job)
    await ready(tmux)
    os.kill(int(tmux.pane(job, "#{pane_pid}")), signal.SIGKILL)
    end = await tmux.tmux.wait(job)
    assert (end.code, end.text) == (None, ending.KILLED)


async def test_a_wrapper_alone_can_still_be_ended(tmux: Machine) -> None:
    fifo = await gate(tmux, "profile")
    job = tmux.job(environment="profile")
    fifo.rename(tmux.spool / "profile")
    await tmux.tmux.launch(job)
    await until(lambda: tmux.tmux.started(job), "the wrapper's first instruction")
    assert await tmux.tmux.send_signal(job, signal.SIGKILL) == 1
    assert (await tmux.tmux.wait(job)).code is None
    assert await tmux.tmux.send_signal(job, signal.SIGKILL) == 0


async def test_a_lost_server_ends_its_jobs_with_that_reason(tmux: Machine) -> None:
    jobs = [tmux.job(f"touch ready-{number}; exec sleep 600") for number in range(3)]
    for number, job in enumerate(jobs):
        await tmux.tmux.launch(job)
        await until((tmux.work / f"ready-{number}").exists, "a job")
    pid = tmux.tmux._server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for job in jobs:
        end = await tmux.tmux.wait(job)
        assert (end.code, end.text) == (None, ending.SERVER_LOST)
        await tmux.tmux.wait_gone(job)
    assert (await tmux.end_of(tmux.job("exit 7"))).code == 7


async def test_a_server_that_was_lost_while_nobody_looked_may_have_been_logged_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gflow.launch.tmux.remedy_for_lost", lambda *, seen: None if seen else "loginctl enable-linger")
    async with running(machine):
        job = machine.job("touch ready; exec sleep 600")
        await machine.tmux.launch(job)
        await ready(machine)
        server = machine.tmux._server.pid
    assert server is not None
    os.kill(server, signal.SIGKILL)
    machine.tmux = machine.launcher()
    async with running(machine):
        await until(lambda: machine.tmux.wrapper(job) is None, "the end of the job")
        text = (await machine.tmux.wait(job)).text
    assert text == f"{ending.SERVER_LOST}, as at a logout; for jobs that outlive one: loginctl enable-linger"
    assert "as at a logout" in caplog.text


async def test_what_survives_the_loss_of_its_server_is_found(tmux: Machine) -> None:
    job = tmux.job("trap '' HUP; touch ready; sleep 600")
    await tmux.tmux.launch(job)
    await ready(tmux)
    lost = tmux.tmux._server.pid
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    assert (await tmux.tmux.wait(job)).text == ending.SERVER_LOST
    assert await tmux.tmux.survivors(job)
    assert await tmux.tmux.send_signal(job, signal.SIGKILL) >= 1
    with trio.fail_after(20):
        await tmux.tmux.wait_gone(job)


# Stopping it.


async def test_ctrl_c_reaches_a_job_whose_terminal_is_being_scrolled(tmux: Machine) -> None:
    job = tmux.job("touch ready; exec sleep 600")
    await tmux.tmux.launch(job)
    await ready(tmux)
    tmux.ask("copy-mode", "-t", f"=gjob-{job.id}:")
    assert tmux.pane(job, "#{pane_in_mode}") == "1"
    await tmux.tmux.interrupt(job)
    assert (await tmux.tmux.wait(job)).code == 130


async def test_ctrl_c_goes_to_the_job_and_not_to_another_window(tmux: Machine) -> None:
    job = tmux.job("touch ready; exec sleep 600")
    await tmux.tmux.launch(job)
    await ready(tmux)
    tmux.ask("new-window", "-t", f"=gjob-{job.id}:", "sleep", "600")
    await tmux.tmux.interrupt(job)
    assert (await tmux.tmux.wait(job)).code == 130


async def test_where_tmux_does_not_answer_ctrl_c_is_a_signal(tmux: Machine) -> None:
    job = tmux.job("touch ready; exec sleep 600")
    await tmux.tmux.launch(job)
    await ready(tmux)
    pid = tmux.tmux._server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await tmux.tmux.interrupt(job)
    os.kill(pid, signal.SIGCONT)
    assert (await tmux.tmux.wait(job)).code == 130


async def test_an_early_signal_reaches_the_job_and_not_the_wrapper(tmux: Machine) -> None:
    job = tmux.job("trap 'echo noted; exit 3' USR1; touch ready; while :; do sleep 0.05; done")
    await tmux.tmux.launch(job)
    await ready(tmux)
    assert await tmux.tmux.send_signal(job, signal.SIGUSR1) >= 1
    assert (await tmux.tmux.wait(job)).code == 3
    assert "noted\n" in tmux.log(job)


# Daemons come and go.


async def test_a_job_goes_on_while_there_is_no_daemon(machine: Machine) -> None:
    fifo = await gate(machine)
    job = machine.job("touch ready; read -r code <gate; echo bye; exit $code")
    async with running(machine):
        start = await machine.tmux.launch(job)
        await ready(machine)
    machine.tmux = machine.launcher()
    async with running(machine):
        assert await machine.tmux.trace(job) is Trace.ALIVE
        again = machine.tmux.started(job)
        assert again is not None
        assert abs(again.boot - start.boot) < 0.02
        await trio.to_thread.run_sync(fifo.write_text, "5\n")
        assert (await machine.tmux.wait(job)).code == 5
        assert machine.log(job) == "bye\n"


async def test_a_job_that_ended_meanwhile_is_accounted_exactly(machine: Machine) -> None:
    fifo = await gate(machine)
    job = machine.job("read -r code <gate; touch ended; exit $code")
    async with running(machine):
        await machine.tmux.launch(job)
    await trio.to_thread.run_sync(fifo.write_text, "5\n")
    record = machine.tmux._directory(job).path / "record"
    await until(lambda: record.read_text().startswith("5\n"), "its end")
    ended_at = (machine.work / "ended").stat().st_mtime
    machine.tmux = machine.launcher()
    async with running(machine):
        assert await machine.tmux.trace(job) is Trace.ENDED
        end = await machine.tmux.wait(job)
        assert end.code == 5
        assert abs(end.at - ended_at) < 0.5


async def test_a_launch_that_was_given_up_never_happens(tmux: Machine) -> None:
    job = tmux.job("touch ran")
    directory = tmux.tmux._directory(job)
    tmux.tmux._create(job, directory)
    assert await tmux.tmux.trace(job) is Trace.NEVER_STARTED
    late = await trio.to_thread.run_sync(tmux.tmux._server.call, *tmux.tmux._new_session(job, directory))
    assert late.status == 0
    await until(lambda: not tmux.sessions(), "the end of the late session")
    assert not (tmux.work / "ran").exists()
    assert tmux.tmux.started(job) is None


async def test_after_a_restart_of_the_machine_nothing_is_promised(tmux: Machine) -> None:
    ran, never = tmux.job("exec sleep 600"), tmux.job()
    for job in (ran, never):
        tmux.tmux._create(job, tmux.tmux._directory(job))
        record = tmux.tmux._directory(job).path / "record"
        record.write_text(f"{'-' * 31}\n00000000-0000-0000-0000-000000000000\n")
    (tmux.tmux._directory(ran).path / "started").write_text("999999 999998 %0\n")
    for job in (ran, never):
        assert await tmux.tmux.trace(job) is Trace.ENDED
        end = await tmux.tmux.wait(job)
        assert (end.code, end.text) == (None, ending.RESTARTED)


async def test_what_a_power_cut_kept_from_the_disk_may_have_run(machine: Machine) -> None:
    async with running(machine):
        await machine.end_of(machine.job())
    (machine.data / "runs" / "boot").write_text("00000000-0000-0000-0000-000000000000")
    job = machine.job()
    machine.tmux = machine.launcher()
    assert await machine.tmux.trace(job) is Trace.ENDED
    assert (await machine.tmux.wait(job)).text == ending.RESTARTED


async def test_a_job_that_removes_its_run_directory_is_not_taken_for_one_of_another_boot(tmux: Machine) -> None:
    end = await tmux.end_of(tmux.job(f"rm -r '{tmux.data}'/runs/[0-9]*"))
    assert (end.code, end.text) == (None, ending.GONE)


# Accidents at the launch.


async def test_a_launch_that_cannot_be_prepared_fails_plainly(tmux: Machine) -> None:
    shutil.rmtree(tmux.data / "runs")
    (tmux.data / "runs").touch()
    with pytest.raises(LaunchFailed, match=str(tmux.data)):
        await tmux.tmux.launch(tmux.job())


async def test_a_directory_that_somebody_removed_is_made_again(tmux: Machine) -> None:
    assert (await tmux.end_of(tmux.job("true"))).code == 0
    shutil.rmtree(tmux.data / "runs")
    assert (await tmux.end_of(tmux.job("exit 3"))).code == 3


@pytest.mark.parametrize("fields", [{"environment": "lost"}, {"script": "/x.sh", "script_digest": "lost"}])
async def test_a_lost_spool_file_is_said_plainly(tmux: Machine, fields: dict[str, str]) -> None:
    job = tmux.job(**fields)
    if "script" in fields:
        with pytest.raises(LaunchFailed, match="lost"):
            await tmux.tmux.launch(job)
    else:
        assert (await tmux.end_of(job)).text == "Cannot read the environment that was stored with the job"


async def test_an_argument_linux_cannot_pass_fails_plainly(tmux: Machine) -> None:
    with pytest.raises(LaunchFailed, match="131071"):
        await tmux.tmux.launch(tmux.job(argv=("echo", "x" * 140_000)))


async def test_a_run_id_that_is_no_word_is_refused(tmux: Machine) -> None:
    with pytest.raises(LaunchFailed, match="run id"):
        await tmux.tmux.launch(dataclasses.replace(tmux.job(), run_id="a;b"))


async def test_a_name_that_is_taken_is_no_obstacle(tmux: Machine) -> None:
    job = tmux.job("echo kept", keep_session=True)
    await tmux.end_of(job)
    await tmux.tmux.discard(job)
    assert (await tmux.end_of(relaunched(job))).code == 0
    await until(lambda: len(tmux.sessions()) == 2, "both terminals")


async def test_many_at_once(tmux: Machine) -> None:
    jobs = [tmux.job(f"echo {number}; exit {number}") for number in range(60)]
    codes: dict[int, int | None] = {}

    async def run(job: Job) -> None:
        codes[job.id] = (await tmux.end_of(job)).code

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(run, job)
    assert [codes[job.id] for job in jobs] == list(range(60))
    assert [tmux.log(job) for job in jobs] == [f"{number}\n" for number in range(60)]
