"""Retention of what senders reported: decided purely, carried out on real files."""

import gzip
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.senders import Bounds, Plan, Report, apply, keep, look, plan, tend

TODAY = date(2026, 9, 10)
NOW = datetime(2026, 9, 10, 12, tzinfo=UTC).timestamp()
WANTED = tuple(f"_all/2026-09-1{number}.log" for number in range(3))


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


def report(path: str, size: int = 100, age: float = 86400) -> Report:
    return Report(path, date.fromisoformat(path.rpartition("/")[2][:10]), size, age)


ready = [report(path, 0, 0) for path in WANTED]


def decided(*reports: Report, **bounds: int) -> Plan:
    """Plan with the days' files for Wazuh already there."""
    return plan([*ready, *reports], TODAY, Bounds(**bounds))


def test_given_nothing_when_planned_then_today_and_two_days_ahead_are_made():
    assert plan([], TODAY, Bounds()) == Plan(make=WANTED)


def test_given_files_of_today_when_planned_then_nothing_is_done():
    assert decided(report("web/2026-09-10.log")) == Plan()


def test_given_a_quiet_day_that_is_over_when_planned_then_it_is_packed():
    assert decided(report("web/2026-09-09.log")) == Plan(pack=("web/2026-09-09.log",))


def test_given_a_day_that_is_still_written_to_when_planned_then_it_waits():
    assert decided(report("web/2026-09-09.log", age=3599)) == Plan()


def test_given_a_packed_day_when_planned_then_it_stays():
    assert decided(report("web/2026-09-09.log.gz")) == Plan()


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("web/2026-08-11.log.gz", False),
        ("web/2026-08-10.log.gz", True),
        ("_all/2026-09-08.log", False),
        ("_all/2026-09-07.log", True),
    ],
)
def test_given_an_age_when_planned_then_only_older_than_the_bound_goes(path, goes):
    assert decided(report(path)).remove == ((path,) if goes else ())


def test_given_too_many_bytes_when_planned_then_the_oldest_days_go_first():
    reports = [report(f"web/2026-09-0{day}.log.gz") for day in (7, 8, 9)]

    assert decided(*reports, total_bytes=150).remove == (
        "web/2026-09-07.log.gz",
        "web/2026-09-08.log.gz",
    )


def test_given_too_many_files_when_planned_then_the_oldest_go_first():
    reports = [report(f"web{number}/2026-09-0{number}.log.gz", 0) for number in (7, 8, 9)]

    assert decided(*reports, files=5).remove == ("web7/2026-09-07.log.gz",)


def test_given_a_flood_of_today_when_planned_then_it_goes_and_rsyslog_reopens():
    result = decided(report("web/2026-09-10.log", 1000), total_bytes=500)

    assert result == Plan(remove=("web/2026-09-10.log",), reopen=True)


days = st.dates(TODAY - timedelta(days=60), TODAY + timedelta(days=3))
reports = st.lists(
    st.builds(
        lambda sender, day, packed, size, age: Report(
            f"{sender}/{day}.log{packed}", day, size, age
        ),
        st.sampled_from(["_all", "a", "b", "c"]),
        days,
        st.sampled_from(["", ".gz"]),
        st.integers(0, 1000),
        st.floats(0, 10_000),
    ),
    unique_by=lambda report: report.path,
)


@given(reports, st.integers(0, 5000), st.integers(0, 20))
def test_given_any_files_when_planned_then_the_bounds_hold_and_no_file_is_asked_twice(
    found, total, files
):
    result = plan(found, TODAY, Bounds(total_bytes=total, files=files))

    left = [report for report in found if report.path not in result.remove]
    assert sum(report.size for report in left) <= total
    assert len(left) <= files
    asked = [*result.make, *result.pack, *result.remove]
    assert len(asked) == len(set(asked))


def write(path: Path, content: bytes, age: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW - age, NOW - age))


def test_given_real_files_when_tended_then_they_are_packed_removed_and_made(tmp_path):
    root = tmp_path / "senders"
    write(root / "web" / "2026-09-09.log", b"a\n" * 1000, 7200)
    write(root / "web" / "2026-09-10.log", b"b\n", 0)
    write(root / "old" / "2026-08-01.log.gz", b"x", 86400)
    write(root / "old" / "notes.txt", b"x", 86400)
    write(root / "gone" / "2026-08-01.log", b"x", 86400)
    (root / "web" / "2026-08-02.log").symlink_to("/etc/passwd")

    tend(root, tmp_path / "pid", Bounds(), NOW)

    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {
        *WANTED,
        "web/2026-09-09.log.gz",
        "web/2026-09-10.log",
        "web/2026-08-02.log",
        "old/notes.txt",
    }
    assert gzip.decompress((root / "web" / "2026-09-09.log.gz").read_bytes()) == b"a\n" * 1000
    assert not (root / "gone").exists()


def test_given_late_lines_of_a_packed_day_when_tended_then_both_are_kept(tmp_path):
    for text in (b"early\n", b"late\n"):
        write(tmp_path / "web" / "2026-09-09.log", text, 7200)
        tend(tmp_path, tmp_path / "pid", Bounds(), NOW)

    packed = tmp_path / "web" / "2026-09-09.log.gz"
    assert gzip.decompress(packed.read_bytes()) == b"early\nlate\n"


def test_given_a_tended_folder_when_tended_again_then_nothing_is_left_to_do(tmp_path):
    write(tmp_path / "web" / "2026-09-09.log", b"a\n", 7200)
    tend(tmp_path, tmp_path / "pid", Bounds(), NOW)

    assert plan(look(tmp_path, NOW), TODAY, Bounds()) == Plan()


def test_given_a_file_that_vanishes_when_applied_then_the_others_are_done(tmp_path):
    write(tmp_path / "web" / "2026-09-09.log", b"a\n", 7200)
    wanted = Plan(make=WANTED, pack=("gone/2026-09-09.log", "web/2026-09-09.log"))

    apply(tmp_path, wanted, tmp_path / "pid")

    assert (tmp_path / "web" / "2026-09-09.log.gz").is_file()


def test_given_a_pid_of_another_process_when_reopening_then_it_gets_no_signal(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")

    apply(tmp_path, Plan(reopen=True), tmp_path / "pid")


def test_given_a_volume_that_is_filled_later_when_kept_then_the_files_are_made_then(tmp_path):
    root = tmp_path / "logs" / "senders"
    stop = threading.Event()
    thread = threading.Thread(target=keep, args=(root, tmp_path / "pid", stop, Bounds()))
    thread.start()
    root.parent.mkdir()

    until(lambda: len(list(root.glob("_all/*.log"))) == 3)

    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_given_a_volume_that_is_never_filled_when_stopped_then_it_ends(tmp_path):
    stop = threading.Event()
    stop.set()

    keep(tmp_path / "logs" / "senders", tmp_path / "pid", stop, Bounds())

    assert list(tmp_path.iterdir()) == []
