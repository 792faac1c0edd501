"""Real processes: daemons killed, leftovers planted, SIGTERM anywhere. No root, no real Wazuh."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from supervisor import bundle, configuration, processes

from tests.unit.ports import free_port
from tests.unit.supervisor import fake_wazuh
from tests.unit.supervisor.fake_wazuh import DAEMONS, Fake, make

DOWN_SECONDS = 20.0


def _others(alive: dict[str, int], name: str) -> dict[str, int]:
    return {daemon: pid for daemon, pid in alive.items() if daemon != name}


@pytest.mark.parametrize("whole_group", [False, True], ids=["main alone", "whole group"])
def test_given_a_serving_unit_when_each_daemon_is_killed_then_that_one_alone_is_back(
    fake: Fake, whole_group: bool
):
    fake.behave(wazuh_clusterd={"port": free_port(), "children": True}, wazuh_apid={"children": 1})
    fake.order()
    fake.start()
    fake.until(fake.serving)
    for name in DAEMONS:
        before = fake.alive()
        if whole_group:
            os.killpg(os.getpgid(before[name]), signal.SIGKILL)
        else:
            os.kill(before[name], signal.SIGKILL)
        fake.until(lambda name=name, old=before[name]: fake.alive().get(name, old) != old)
        fake.until(fake.serving)
        assert _others(fake.alive(), name) == _others(before, name)
    assert not (fake.home / "logs/taken").exists(), "a child of the old one kept the port"
    assert fake.stop() < DOWN_SECONDS
    assert fake.left() == []


def test_given_a_daemon_that_ends_with_0_when_it_is_gone_then_it_is_started_again(fake: Fake):
    fake.behave(wazuh_monitord={"dies": 0.3})
    fake.order()
    fake.start()

    def starts() -> int:
        return (fake.home / "logs/started").read_text().count("wazuh-monitord")

    fake.until(lambda: fake.state()["phase"] == "serving")
    fake.until(lambda: starts() >= 3)
    fake.until(lambda: fake.state()["sentence"] == "wazuh-monitord does not stay up", 120)
    before = fake.alive()
    fake.behave()
    fake.until(fake.serving, 120)
    assert _others(fake.alive(), "wazuh-monitord") == _others(before, "wazuh-monitord")
    assert fake.stop() < DOWN_SECONDS


def test_given_a_daemon_that_leaves_its_pid_file_when_killed_then_it_is_back(fake: Fake):
    fake.behave(wazuh_authd={"leaves": True})
    fake.order()
    fake.start()
    fake.until(fake.serving)
    old = fake.alive()["wazuh-authd"]
    os.kill(old, signal.SIGTERM)
    fake.until(lambda: fake.alive().get("wazuh-authd", old) != old)
    assert len(list(fake.places.pids.glob("wazuh-authd-*.pid"))) == 1


def test_given_stale_pids_and_a_lock_when_started_then_they_are_in_nobodys_way(fake: Fake):
    for name in DAEMONS:
        (fake.places.pids / f"{name}-{os.getpid()}.pid").write_text(f"{os.getpid()}\n")
    (fake.places.pids / "wazuh-authd.failed").touch()
    (fake.places.pids / ".restart").touch()
    lock = fake.home / "var/start-script-lock"
    lock.mkdir()
    (lock / "pid").write_text(f"{os.getpid()}\n")
    fake.order()
    fake.start()
    fake.until(fake.serving)
    assert not (fake.places.pids / ".restart").exists()
    assert fake.stop() < DOWN_SECONDS
    assert fake.left() == []


def test_given_a_killed_supervisor_when_another_starts_then_nothing_runs_twice(fake: Fake):
    fake.behave(wazuh_clusterd={"port": free_port(), "children": True})
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    assert fake.process
    fake.process.kill()
    fake.process.wait()
    fake.start()
    fake.until(lambda: fake.serving() and not set(fake.alive().values()) & set(before.values()))
    for pid in before.values():
        assert not _runs(pid)
    assert not (fake.home / "logs/taken").exists()
    assert fake.stop() < DOWN_SECONDS
    assert fake.left() == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _after(fake: Fake, daemon: str) -> bool:
    return any(fake.places.pids.glob(f"{daemon}-*.pid"))


POINTS = {
    "at once": lambda fake: True,
    "the report is written": lambda fake: fake.places.report.exists(),
    "the users are being set": lambda fake: (fake.home / "logs/preset").exists(),
    "wazuh-control has its lock": lambda fake: (fake.home / "var/start-script-lock").exists(),
    "the API is up": lambda fake: _after(fake, "wazuh-apid"),
    "enrolment is up": lambda fake: _after(fake, "wazuh-authd"),
    "wazuh-db is up": lambda fake: _after(fake, "wazuh-db"),
    "remoted is up": lambda fake: _after(fake, "wazuh-remoted"),
    "the cluster daemon is up": lambda fake: _after(fake, "wazuh-clusterd"),
    "it serves": lambda fake: fake.serving(),
}


@pytest.mark.parametrize("point", POINTS)
def test_given_a_start_when_sigterm_comes_at_any_point_then_all_is_down_in_time(
    slow: Fake, point: str, record_property
):
    slow.order()
    slow.start()
    slow.until(lambda: POINTS[point](slow))
    took = slow.stop()
    record_property("seconds until all was down", took)
    assert took < DOWN_SECONDS
    assert slow.left() == []
    assert not list(slow.places.pids.glob("*.pid"))


def test_given_a_serving_master_when_stopped_then_enrolment_ends_before_and_the_database_last(
    fake: Fake,
):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    asked = fake.home / "logs/asked-wazuh-db"
    assert not asked.exists()
    fake.stop()
    ended = (fake.home / "logs/ended").read_text().split()
    assert set(ended) == set(DAEMONS)
    assert ended.index("wazuh-authd") < ended.index("wazuh-remoted")
    assert ended[-1] == "wazuh-db"
    assert asked.exists(), "authd's queue is known to be empty only while wazuh-db answers"


def test_given_daemons_that_ignore_sigterm_when_stopped_then_they_are_killed_in_time(fake: Fake):
    stubborn = {name.replace("-", "_"): {"stubborn": True, "children": True} for name in DAEMONS}
    fake.behave(**stubborn)
    fake.order()
    fake.start()
    fake.until(fake.serving)
    os.kill(fake.alive()["wazuh-remoted"], signal.SIGSTOP)
    took = fake.stop()
    assert took < DOWN_SECONDS
    assert fake.left() == []


def test_given_a_change_of_authds_part_when_ordered_then_authd_alone_is_restarted(fake: Fake):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    fake.order(generations={"wazuh-authd": "2", "users": "1"})
    fake.until(lambda: fake.alive().get("wazuh-authd") not in (None, before["wazuh-authd"]))
    fake.until(fake.serving)
    assert _others(fake.alive(), "wazuh-authd") == _others(before, "wazuh-authd")


_COLLECTED = b"<ossec_config>\n  <localfile>\n    <location>%b</location>\n  </localfile>\n"
_COMMITS = ("ab" * 20, "cd" * 20)


def _apply(fake: Fake, commit: str, fragment: bytes) -> None:
    """Put a commit in place as the keeper does."""
    made = bundle.Bundle(commit, {"ossec.conf": fragment + b"</ossec_config>\n"})
    configuration.apply(fake.places, made, master=True, load=None)


def test_given_an_integration_when_it_comes_and_goes_then_the_integrator_alone_follows(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
):
    program = fake.home / "bin/wazuh-integratord"
    shutil.copy(fake.home / "bin/wazuh-monitord", program)
    plain = fake_wazuh.CONFIGURATION
    generations = {"wazuh-authd": "1", "users": "1"}
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()

    def integrators() -> set[int]:
        return processes.mains(fake.places, processes.scan(fake.places), program.name)

    for _ in range(2):
        block = "<integration>\n<name>custom-x</name>\n</integration>\n"
        monkeypatch.setattr(fake_wazuh, "CONFIGURATION", plain + block)
        fake.order(generations={**generations, program.name: "1"})
        fake.until(lambda: len(integrators()) == 1)
        monkeypatch.setattr(fake_wazuh, "CONFIGURATION", plain)
        fake.order(generations=generations)
        fake.until(lambda: not integrators())

    fake.until(fake.serving)
    assert fake.alive() == before


def test_given_a_commit_that_one_daemon_reads_when_in_place_then_that_one_alone_is_restarted(
    fake: Fake,
):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    _apply(fake, _COMMITS[0], _COLLECTED % b"/var/log/a")
    name = "wazuh-logcollector"
    fake.until(lambda: fake.alive().get(name) not in (None, before[name]))
    fake.until(fake.serving)
    assert _others(fake.alive(), name) == _others(before, name)
    assert "/var/log/a" in _conf(fake)
    fake.until(lambda: configuration.applied(fake.places).proven)
    _apply(fake, _COMMITS[1], b"<ossec_config>\n  <alerts></alerts>\n")
    fake.until(lambda: not set(fake.alive().items()) & set(before.items()))
    fake.until(fake.serving)


def test_given_a_commit_that_a_daemon_does_not_stay_up_with_when_in_place_then_it_is_taken_back(
    fake: Fake,
):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    _apply(fake, _COMMITS[0], _COLLECTED % b"/var/log/a")
    fake.until(lambda: configuration.applied(fake.places).proven)
    before = fake.alive()
    fake.behave(wazuh_logcollector={"fails": True})
    _apply(fake, _COMMITS[1], _COLLECTED % b"/var/log/b")
    fake.until(lambda: configuration.applied(fake.places).refused == _COMMITS[1])
    fake.behave()
    fake.until(lambda: "/var/log/a" in _conf(fake) and "wazuh-logcollector" in fake.alive())
    fake.until(fake.serving)
    assert configuration.applied(fake.places).name == _COMMITS[0]
    assert _others(fake.alive(), "wazuh-logcollector") == _others(before, "wazuh-logcollector")


def test_given_users_that_change_when_the_api_does_not_answer_then_it_is_stopped_for_it(
    fake: Fake,
):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    changed = {"wazuh": {"password": "Other-1"}, "wazuh-wui": {"password": "Other-2"}}
    fake.order()
    (fake.places.orders / "users.json").write_text(json.dumps(changed))
    desired = fake.places.orders / "desired.json"
    content = json.loads(desired.read_text()) | {"generations": {"users": "2"}}
    desired.write_text(json.dumps(content))
    fake.until(lambda: "Other-1" in (fake.home / "rbac.json").read_text())
    fake.until(fake.serving)
    after = fake.alive()
    assert after["wazuh-apid"] != before["wazuh-apid"]
    assert after["wazuh-remoted"] == before["wazuh-remoted"]


def test_given_the_same_order_when_pushed_again_then_nothing_is_restarted(fake: Fake):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    fake.order()
    stamp = time.time()
    fake.until(lambda: time.time() - stamp > 2)
    assert fake.alive() == before
    assert (fake.home / "logs/preset").read_text().count("begun") == 1


def test_given_an_order_with_a_file_missing_when_pushed_then_the_last_one_holds(fake: Fake):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    bad = {"etc/ossec.conf": {"sha256": "0" * 64, "owner": "root", "group": "root", "mode": "640"}}
    fake.order(epoch=2, files=bad)
    fake.until(lambda: "is not yet the one" in fake.log())
    assert fake.alive() == before
    assert fake.state()["epoch"] == 1


def test_given_a_configuration_that_wazuh_refuses_when_started_then_the_report_says_so(fake: Fake):
    fake.behave(wazuh_authd={"test": 1})
    fake.order()
    fake.start()
    fake.until(lambda: fake.state()["phase"] == "failed")
    assert "wazuh-authd: Configuration error" in fake.state()["sentence"]
    assert not fake.state()["ready"]
    fake.behave()
    fake.until(fake.serving)
    assert fake.state()["sentence"] is None


def test_given_users_that_cannot_be_set_when_started_then_no_api_ever_starts(fake: Fake):
    (fake.home / "refuse").touch()
    fake.order()
    fake.start()
    fake.until(lambda: "password of wazuh could not be set" in fake.log())
    assert fake.alive() == {}
    assert not (fake.home / "logs/started").exists()
    (fake.home / "refuse").unlink()
    fake.until(fake.serving)
    users = json.loads((fake.home / "rbac.json").read_text())
    assert users["wazuh"][1] == "Secret-1"


def test_given_a_role_that_changes_when_ordered_then_everything_is_started_anew(fake: Fake):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    before = fake.alive()
    fake.order("worker", epoch=2)
    fake.until(lambda: fake.state()["role"] == "worker" and "<node_type>worker" in _conf(fake))
    fake.until(lambda: "runs as worker" in fake.log())
    fake.until(lambda: "wazuh-remoted" in fake.alive())
    assert not set(before.values()) & set(fake.alive().values())
    assert json.loads((fake.places.own / "memory.json").read_text())["epoch"] == 2


def _conf(fake: Fake) -> str:
    return (fake.home / "etc/ossec.conf").read_text()


def test_given_a_hopeless_tree_when_it_keeps_failing_then_the_supervisor_ends_with_1(
    tmp_path: Path,
):
    fake = make(tmp_path)
    try:
        fake.behave(wazuh_db={"dies": 0.1})
        fake.order()
        fake.start()
        assert fake.process
        assert fake.process.wait(300) == 1
        # Either wazuh-control or the watch afterwards sees it dead first.
        assert re.search("for Pebble to start anew: .*wazuh-db", fake.log())
        assert fake.left() == []
    finally:
        fake.end()


def test_given_a_serving_unit_when_pebble_checks_then_it_gets_a_reason(fake: Fake):
    fake.behave(wazuh_apid={"port": fake.places.ports.api})
    fake.order()
    fake.start()
    fake.until(fake.serving)
    fake.until(lambda: _ready(fake)[0] == 200)
    os.kill(fake.alive()["wazuh-analysisd"], signal.SIGSTOP)
    assert fake.stop() < DOWN_SECONDS


def _ready(fake: Fake) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", fake.places.ports.health), 5) as stream:
        stream.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        text = b""
        while chunk := stream.recv(4096):
            text += chunk
    return int(text.split()[1]), text.decode()


def test_given_no_secret_in_any_argument_when_users_are_set_then_none_is_in_the_log(fake: Fake):
    fake.order()
    fake.start()
    fake.until(fake.serving)
    assert "Secret" not in fake.log()
    assert "Secret" not in fake.places.report.read_text()
