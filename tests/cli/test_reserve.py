"""gctl reserve: what is asked of the daemon, what people and programs see, and what is refused before that."""

import csv
import io
import json
import os
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli.gctl import COMMAND
from gflow.cli.reserve import kinds, zone
from gflow.cli.reserve.words import gpus, length
from gflow.core.reservations import Status
from gflow.core.slots import parse_duration
from support.fake_daemon import reply

START = int(datetime(2031, 1, 28, 14, tzinfo=ZoneInfo("UTC")).timestamp())
HOUR = 3600


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    """Where the commands are used."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def config(home):
    path = home / ".config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    return path


def moment(at):
    return {"secs_since_epoch": at, "nanos_since_epoch": 0}


def reservation(number, user="alice", start_at=START, secs=2 * HOUR, status="Pending", **spec):
    return {
        "id": number,
        "user": user,
        "gpu_spec": spec or {"count": 2},
        "start_time": moment(start_at),
        "duration": {"secs": secs, "nanos": 0},
        "status": status,
        "created_at": moment(START - 86400),
        "cancelled_at": moment(START - 60) if status == "Cancelled" else None,
        "created_by": "root",
    }


def reservations(daemon, *found):
    daemon.on("GET", "/reservations", reply(list(found)))


def create(run, *argv, start="2031-01-28 15:00", duration="2h", spec=("--gpus", "1"), user="alice"):
    return run(COMMAND, "reserve", "create", "--user", user, *spec, "--start", start, "--duration", duration, *argv)


def refused(daemon, done, status=2):
    """The one line with which it was refused, before the daemon was asked anything."""
    assert (done.status, done.out) == (status, "")
    assert done.err.count("\n") == 1
    assert daemon.asked == []
    return done.err


# -- create ----------------------------------------------------------------------------------------------------------


def test_create_asks_what_gflows_client_asks_and_names_the_zone(run, daemon):
    daemon.on("POST", "/reservations", reply({"reservation_id": 3}))
    done = create(run)
    assert daemon.asked[0].json == {
        "user": "alice",
        "gpu_count": 1,
        "start_time": moment(START),
        "duration_secs": 7200,
        "timezone": "Europe/Berlin",
    }
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        "Reservation created successfully.\n"
        "  ReservationID=3\n"
        "  StartTime=2031-01-28 15:00 CET\n"
        "  EndTime=2031-01-28 17:00 CET\n"
    )


def test_create_by_index(run, daemon):
    daemon.on("POST", "/reservations", reply({"reservation_id": 3}))
    assert create(run, spec=("--gpu-spec", "2,0-1,2")).status == 0
    asked = daemon.asked[0].json
    assert asked["gpu_indices"] == [0, 1, 2]
    assert "gpu_count" not in asked


@pytest.mark.parametrize(
    ("start", "argv", "at"),
    [
        ("2031-01-28 15:00", [], START),
        ("2031-01-28T15:00", [], START),
        ("2031-01-28T14:00:00Z", [], START),
        ("2031-01-28T09:00-05:00", [], START),
        ("2031-01-28 14:00", ["--timezone", "UTC"], START),
        ("2031-01-28 22:00", ["--timezone", "Asia/Shanghai"], START),
        ("2031-01-28 15:00", ["--timezone", "local"], START),
        ("2031-10-26T02:30+01:00", [], int(datetime(2031, 10, 26, 1, 30, tzinfo=ZoneInfo("UTC")).timestamp())),
    ],
)
def test_the_start_is_read_in_the_zone(run, daemon, start, argv, at):
    daemon.on("POST", "/reservations", reply({"reservation_id": 3}))
    assert create(run, *argv, start=start).status == 0
    assert daemon.asked[0].json["start_time"] == moment(at)


def test_the_flag_wins_over_the_configuration_and_that_over_local(run, daemon, config):
    daemon.on("POST", "/reservations", reply({"reservation_id": 3}))
    config.write_text('timezone = "Asia/Shanghai"\n[daemon]\n')
    assert "StartTime=2031-01-28 22:00 CST" in create(run, start="2031-01-28 22:00").out
    assert "StartTime=2031-01-28 23:00 JST" in create(run, "--timezone", "Asia/Tokyo", start="2031-01-28 23:00").out
    assert "StartTime=2031-01-28 15:00 CET" in create(run, "--timezone", "local").out
    other = config.with_name("other.toml")
    other.write_text('timezone = "Asia/Kathmandu"')
    assert "StartTime=2031-01-28 19:45 +0545" in create(run, "--config", str(other), start="2031-01-28 19:45").out
    config.write_text("")
    assert "StartTime=2031-01-28 15:00 CET" in create(run).out
    zones = [asked.json["timezone"] for asked in daemon.asked]
    assert zones == ["Asia/Shanghai", "Asia/Tokyo", "Europe/Berlin", "Asia/Kathmandu", "Europe/Berlin"]
    assert {asked.json["start_time"]["secs_since_epoch"] for asked in daemon.asked} == {START}


def test_a_bad_zone_in_the_configuration_names_the_file(run, daemon, config):
    config.write_text('timezone = "shanghai"')
    said = refused(daemon, create(run), 1)
    assert str(config) in said
    assert "unknown time zone 'shanghai'" in said
    assert "did you mean Asia/Shanghai?" in said
    for content in ("timezone = 8", "timezone = [", 'timezone = "UTC"\nx = \n'):
        config.write_text(content)
        assert str(config) in refused(daemon, create(run), 1)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("2031-03-30 02:30", "clocks are put forward from 02:00 to 03:00; the nearest are 2031-03-30T01:30+01:00 and"),
        ("2031-10-26 02:30", "comes twice in Europe/Berlin, as clocks are put back; say which by its offset: 2031-10"),
        ("tomorrow", "invalid time 'tomorrow': use YYYY-MM-DD HH:MM, or ISO 8601 such as 2026-02-01T14:00:00Z"),
        ("14:00", "invalid time '14:00'"),
        ("2031-01-28 10:07", "2031-01-28 10:07:00 CET is neither; the next slot is 2031-01-28 10:30 CET"),
    ],
)
def test_a_start_that_is_no_moment_is_refused(run, daemon, start, says):
    assert says in refused(daemon, create(run, start=start))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--duration", "45m"], "invalid duration '45m': use e.g. 2h, 30m or 1h30m, in steps of 30 minutes"),
        (["--duration", "0h"], "longer than 0"),
        (["--gpus", "0"], "'0' is not a whole number from 1 to 1000000"),
        (["--gpu-spec", "0"], "--gpus and --gpu-spec cannot be used together"),
        (["--timezone", "Mars/Olympus"], "unknown time zone 'Mars/Olympus'"),
        (["--timezone", "utc+8"], "unknown time zone"),
        (["--user", " "], "must not be empty"),
        (["extra"], "extra"),
    ],
)
def test_wrong_options_are_refused(run, daemon, argv, says):
    assert says in refused(daemon, create(run, *argv))


def test_what_is_no_list_of_gpus_is_refused(run, daemon):
    for text in ("x", "3-1", "", "0,,1"):
        assert f"invalid GPU list '{text}'" in refused(daemon, create(run, spec=("--gpu-spec", text)))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "missing --user and --start and --duration"),
        (["--user", "a", "--start", "2031-01-28 14:00"], "missing --duration"),
        (["--user", "a", "--start", "2031-01-28 14:00", "--duration", "2h"], "--gpus N"),
    ],
)
def test_what_is_missing_is_said(run, daemon, argv, says):
    assert says in refused(daemon, run(COMMAND, "reserve", "create", *argv))


def test_a_refusal_of_the_daemon_is_shown(run, daemon):
    sentence = "2 GPUs cannot be reserved: taken by reservation 1 of alice"
    daemon.on("POST", "/reservations", reply({"error": sentence, "code": "conflict"}, 409))
    done = create(run)
    assert (done.status, done.out, done.err) == (1, "", f"gctl reserve create: {sentence}\n")


# -- list ------------------------------------------------------------------------------------------------------------


def test_the_table_is_by_id_with_times_of_the_zone(run, daemon):
    reservations(
        daemon,
        reservation(2, "bob", START, 1800, "Active", indices=[0, 2, 3]),
        reservation(1),
        reservation(10, "ca\x1brol", START + 150 * 86400, status="Cancelled", indices=[1]),
    )
    assert run(COMMAND, "reserve", "list").out == (
        " ID   USER     GPUS     START                   END                     STATUS\n"
        " 1    alice    2        2031-01-28 15:00 CET    2031-01-28 17:00 CET    Pending\n"
        " 2    bob      #0,2-3   2031-01-28 15:00 CET    2031-01-28 15:30 CET    Active\n"
        " 10   ca?rol   #1       2031-06-27 16:00 CEST   2031-06-27 18:00 CEST   Cancelled\n"
    )
    shown = run(COMMAND, "reserve", "list", "--timezone", "Asia/Kathmandu").out
    assert " 1    alice    2        2031-01-28 19:45 +0545   2031-01-28 21:45 +0545   Pending\n" in shown


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ([], {}),
        (["--user", "alice"], {"user": "alice"}),
        (["-u", "alice,bob"], {"user": "alice,bob"}),
        (["--active"], {"active_only": "true"}),
        (["--status", "pending"], {"status": "Pending"}),
        (["-s", "ACTIVE,cancelled"], {"status": "Active,Cancelled"}),
        (["--timeline", "--user", "alice", "--status", "completed"], {"user": "alice", "status": "Completed"}),
        (["-o", "csv", "--active"], {"active_only": "true"}),
    ],
)
def test_filters_are_the_daemons(run, daemon, argv, query):
    reservations(daemon)
    assert run(COMMAND, "reserve", "list", *argv).status == 0
    assert daemon.asked[0].query == query


@pytest.mark.parametrize("argv", [[], ["--timeline"], ["--timeline", "--range", "-24h"]])
def test_of_none_it_is_said(run, daemon, argv):
    reservations(daemon)
    done = run(COMMAND, "reserve", "list", *argv)
    assert (done.status, done.out, done.err) == (0, "No reservations found.\n", "")


def test_data_is_only_data_and_in_utc(run, daemon):
    reservations(daemon, reservation(2, "bob", indices=[0, 2]), reservation(1, status="Cancelled"))
    document = json.loads(run(COMMAND, "reserve", "list", "-o", "json").out)
    assert [one["id"] for one in document["reservations"]] == [1, 2]
    assert document["reservations"][1] == {
        "id": 2,
        "user": "bob",
        "gpu_count": 2,
        "gpu_indices": [0, 2],
        "start_time": "2031-01-28T14:00:00Z",
        "end_time": "2031-01-28T16:00:00Z",
        "status": "Pending",
        "created_at": "2031-01-27T14:00:00Z",
        "created_by": "root",
        "cancelled_at": None,
    }
    assert (document["total"], set(document)) == (2, {"reservations", "total", "timestamp"})
    rows = list(csv.DictReader(io.StringIO(run(COMMAND, "reserve", "list", "-o", "csv").out)))
    assert [(row["id"], row["gpu_indices"], row["cancelled_at"]) for row in rows] == [
        ("1", "-", "2031-01-28T13:59:00Z"),
        ("2", "[0,2]", "-"),
    ]
    assert "- id: 1\n  user: alice\n" in run(COMMAND, "reserve", "list", "-o", "yaml").out


def test_data_of_nothing_is_still_data(run, daemon):
    reservations(daemon)
    assert json.loads(run(COMMAND, "reserve", "list", "-o", "json").out)["reservations"] == []
    assert run(COMMAND, "reserve", "list", "-o", "csv").out.count("\n") == 1
    assert "reservations: []\n" in run(COMMAND, "reserve", "list", "-o", "yaml").out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--range", "48h"], "--range, --from and --to are for --timeline"),
        (["--from", "2031-01-28", "--to", "2031-01-29"], "--range, --from and --to are for --timeline"),
        (["--timeline", "--range", "48h", "--from", "2031-01-28", "--to", "2031-01-29"], "cannot be used together"),
        (["--timeline", "--range", "48h", "--to", "2031-01-29"], "cannot be used together"),
        (["--timeline", "--from", "2031-01-28"], "--from and --to come together"),
        (["--timeline", "--to", "2031-01-28"], "--from and --to come together"),
        (["--timeline", "--from", "2031-01-28", "--to", "2031-01-28"], "--to must be after --from"),
        (["--timeline", "--from", "2031-01-28", "--to", "2033-01-28"], "at most 366 days"),
        (["--timeline", "--from", "monday", "--to", "2033-01-28"], "--from: invalid time 'monday'"),
        (["--timeline", "--from", "2031-03-30 02:30", "--to", "2031-04-01"], "--from: there is no 2031-03-30 02:30"),
        (["--timeline", "--range", "20m"], "invalid range '20m'"),
        (["--timeline", "-o", "json"], "--timeline and --output cannot be used together"),
        (["--status", "soon"], "unknown status 'soon'; there are Pending, Active, Completed, Cancelled"),
        (["-o", "xml"], "'xml' is not one of"),
        (["7"], "7"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, daemon, argv, says):
    assert says in refused(daemon, run(COMMAND, "reserve", "list", *argv))


# -- the timeline ----------------------------------------------------------------------------------------------------


@pytest.fixture
def at_noon(monkeypatch, daemon):
    """It is 13:00 in Berlin, and there are some reservations."""
    monkeypatch.setattr("time.time", lambda: START - 2 * HOUR + 0.25)
    reservations(
        daemon,
        reservation(1, "alice", START - 6 * HOUR, 8 * HOUR, "Active"),
        reservation(2, "bob", START + 6 * HOUR, 2 * HOUR, indices=[0, 2]),
        reservation(3, "carol", START - 3 * HOUR, HOUR, "Cancelled"),
        reservation(4, "dora", START + 90 * HOUR, HOUR),
    )


def test_a_timeline_shows_two_days_from_before_now(run, at_noon):
    done = run(COMMAND, "reserve", "list", "--timeline")
    assert done.out == (
        " 2031-01-28 07:00 CET to 2031-01-30 08:00 CET, 1 hour a column\n"
        "\n"
        "                  Tue 28 Jan       Wed 29 Jan\n"
        " ID  USER   GPUS   08  12  16  20  00  04  08  12  16  20  00  04\n"
        "                        v now\n"
        " 1   alice  2     ..########.......................................\n"
        " 2   bob    #0,2  ......|.......==.................................\n"
        " GPUs reserved    ..22222222....22.................................\n"
        "\n"
        " # active   = pending\n"
        " 1 reservation is before or after; see --range\n"
    )


def test_other_periods(run, at_noon):
    first = run(COMMAND, "reserve", "list", "--timeline", "--range", "96h", "--timezone", "UTC").out
    assert first.startswith(" 2031-01-28 12:00 UTC to 2031-02-01 14:00 UTC, 2 hours a column\n")
    assert "dora" in first
    assert "before or after" not in first
    given = ("--from", "2031-01-31 12:00", "--to", "2031-02-02")
    second = run(COMMAND, "reserve", "list", "--timeline", *given).out
    assert second.startswith(" 2031-01-31 12:00 CET to 2031-02-02 00:00 CET, 1 hour a column\n")
    assert "alice" not in second
    assert "now" not in second
    assert second.endswith(" 2 reservations are before or after; see --range\n")
    none = run(COMMAND, "reserve", "list", "--timeline", "--range", "-48h:-24h").out
    assert none == (
        "No reservations found from 2031-01-26 13:00 CET to 2031-01-27 13:00 CET; 3 reservations are before or after.\n"
    )


def test_cancelled_ones_are_drawn_if_asked_for(run, daemon, at_noon):
    reservations(daemon, reservation(3, "carol", START - 3 * HOUR, HOUR, "Cancelled"))
    assert "carol" in run(COMMAND, "reserve", "list", "--timeline", "--status", "cancelled").out
    assert run(COMMAND, "reserve", "list", "--timeline").out == "No reservations found.\n"


def test_colours_and_symbols_are_for_eyes(run, at_noon, monkeypatch):
    plain = run(COMMAND, "reserve", "list", "--timeline").out
    assert plain.isascii()
    coloured = run(COMMAND, "reserve", "list", "--timeline", "--color", "always").out
    assert "\x1b[32m████████\x1b[0m" in coloured
    assert run(COMMAND, "reserve", "list", "--timeline", "--color", "never").out == plain


def test_a_terminal_is_used_as_far_as_it_goes(run, at_noon, monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((140, 30)))
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1)
    wide = run(COMMAND, "reserve", "list", "--timeline").out
    assert ", 30 minutes a column\n" in wide
    assert 80 < max(map(len, wide.split("\n"))) <= 140


# -- get and cancel --------------------------------------------------------------------------------------------------


def test_get_shows_everything(run, daemon):
    daemon.on("GET", "/reservations/1", reply(reservation(1)))
    daemon.on("GET", "/reservations/2", reply(reservation(2, "bob", secs=5400, status="Cancelled", indices=[0, 2])))
    done = run(COMMAND, "reserve", "get", "1-2")
    assert done.out == (
        "Reservation Details:\n"
        "  ID=1\n"
        "  User=alice\n"
        "  GPUCount=2\n"
        "  StartTime=2031-01-28 15:00:00 CET (+01:00)\n"
        "  EndTime=2031-01-28 17:00:00 CET (+01:00)\n"
        "  Duration=2h\n"
        "  Status=Pending\n"
        "  CreatedAt=2031-01-27 15:00:00 CET (+01:00)\n"
        "  CreatedBy=root\n"
        f"{'=' * 80}\n"
        "Reservation Details:\n"
        "  ID=2\n"
        "  User=bob\n"
        "  GPUIndices=0,2\n"
        "  StartTime=2031-01-28 15:00:00 CET (+01:00)\n"
        "  EndTime=2031-01-28 16:30:00 CET (+01:00)\n"
        "  Duration=1h30m\n"
        "  Status=Cancelled\n"
        "  CreatedAt=2031-01-27 15:00:00 CET (+01:00)\n"
        "  CreatedBy=root\n"
        "  CancelledAt=2031-01-28 14:59:00 CET (+01:00)\n"
    )


def test_cancel_does_what_it_can_and_fails_for_the_rest(run, daemon):
    for number in (1, 3, 7):
        daemon.on("DELETE", f"/reservations/{number}", reply(""))
    daemon.on("DELETE", "/reservations/2", reply({"error": "Reservation 2 is Cancelled already", "code": "x"}, 409))
    done = run(COMMAND, "reserve", "cancel", "3,1-2", "7")
    assert done.status == 1
    assert done.out == "".join(f"Reservation {number} cancelled successfully\n" for number in (3, 1, 7))
    assert done.err == "gctl reserve cancel: Reservation 2 is Cancelled already\n"
    assert [asked.path for asked in daemon.asked] == [f"/reservations/{number}" for number in (3, 1, 2, 7)]
    assert run(COMMAND, "reserve", "cancel", "3").status == 0


def test_get_of_one_that_is_not_there_fails_and_the_others_are_shown(run, daemon):
    daemon.on("GET", "/reservations/1", reply(reservation(1)))
    daemon.on("GET", "/reservations/9", reply({"error": "Reservation 9 does not exist", "code": "not_found"}, 404))
    done = run(COMMAND, "reserve", "get", "1,9")
    assert (done.status, done.err) == (1, "gctl reserve get: Reservation 9 does not exist\n")
    assert done.out.startswith("Reservation Details:\n  ID=1\n")


@pytest.mark.parametrize("verb", ["get", "cancel"])
@pytest.mark.parametrize("text", ["", "@", "@~1", "0", "5-3", "x", "1,,2", "1,@", "99999999999"])
def test_only_ids_and_ranges_name_reservations(run, daemon, verb, text):
    assert f"Invalid reservation ID or range: '{text}'" in refused(daemon, run(COMMAND, "reserve", verb, text))
    refused(daemon, run(COMMAND, "reserve", verb))


def test_help_has_examples(run, daemon):
    for verb in ("create", "list", "get", "cancel"):
        done = run(COMMAND, "reserve", verb, "--help")
        assert (done.status, f"  gctl reserve {verb} " in done.out) == (0, True)
    assert "create" in run(COMMAND, "reserve", "--help").out


# -- words -----------------------------------------------------------------------------------------------------------


def test_the_statuses_are_those_of_the_core():
    assert set(kinds.STATUSES) == {status.value for status in Status}


@given(st.integers(1, 17568).map(lambda slots: slots * 1800))
def test_lengths_are_written_as_they_are_read(secs):
    assert parse_duration(length(secs)) == secs


@pytest.mark.parametrize(
    ("spec", "text"),
    [({"count": 2}, "2"), ({"indices": [2]}, "#2"), ({"indices": [3, 0, 1]}, "#0-1,3"), ({"count": 16}, "16")],
)
def test_a_number_and_an_index_are_not_written_alike(spec, text):
    assert gpus({"gpu_spec": spec}) == text


@given(st.text(max_size=12) | st.from_regex(r"\A[0-9,@-]{0,12}\Z"))
def test_nonsense_is_a_value_error_of_one_line(text):
    for convert in (kinds.reservation_ids, kinds.statuses, kinds.timezone):
        complaint = "none"
        try:
            convert(text)
        except ValueError as error:
            complaint = str(error)
        assert complaint


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("CET-1CEST,M3.5.0/2,M10.5.0/3", None),
        ("/usr/share/zoneinfo/Asia/Tokyo", None),
        ("UTC0", None),
        ("", None),
    ],
)
def test_the_local_zone_has_a_name_where_the_system_tells(monkeypatch, setting, name):
    monkeypatch.setenv("TZ", setting)
    assert zone.local().name == name


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("../usr/share/zoneinfo/UTC", "UTC"),
        ("/etc/mine", None),
        (None, None),
    ],
)
def test_else_by_what_localtime_is_a_link_to(monkeypatch, tmp_path, target, name):
    link = tmp_path / "localtime"
    if target is not None:
        link.symlink_to(target)
    monkeypatch.delenv("TZ")
    monkeypatch.setattr(zone, "_LOCALTIME", str(link))
    assert zone.local().name == name
