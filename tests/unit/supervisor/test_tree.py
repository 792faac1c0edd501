"""What the keeper of the processes decides without any process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from supervisor import desired, files, processes, tree, users
from supervisor.machine import FRONT, Run
from supervisor.places import Places
from supervisor.processes import Process, Table
from supervisor.times import REAL

from tests.unit.supervisor import fake_wazuh
from tests.unit.supervisor.fake_wazuh import Fake


def test_given_keys_that_are_still_written_when_authd_is_to_end_then_quiet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stamps = iter([(1, n, n) for n in range(6)])
    seen = []

    def stamp(_path: Path) -> files.Stamp:
        seen.append(next(stamps, (1, 5, 5)))
        return seen[-1]

    monkeypatch.setattr(files, "stamp", stamp)
    monkeypatch.setattr(tree, "database_answers", lambda _home, _seconds: True)
    tree.Tree(Places(home=tmp_path), REAL.scaled(10))._quiet()
    assert len(seen) > 6, "what authd acknowledged is written before it ends"


def test_given_a_shut_door_when_others_than_authd_are_ended_then_nobody_is_let_in_meanwhile(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
):
    # Seen under load: five agents acknowledged while the API took its time, and never written.
    opened = []
    found = tree.Tree(fake.places, REAL.scaled(10))
    monkeypatch.setattr(found._door, "open", lambda: opened.append(True))
    found._end(["wazuh-apid", "wazuh-clusterd"])
    assert opened == []
    found._end(["wazuh-authd"])
    assert opened == [True]


def test_given_a_master_heard_of_from_a_peer_when_installed_then_only_node_differs(fake: Fake):
    fake.order("worker", epoch=2)
    order = desired.read(fake.places.orders)
    rendered = order.files["etc/ossec.conf"].content
    assert tree.contents(Run("worker", "u1"), order)["etc/ossec.conf"] == rendered
    other = tree.contents(Run("worker", "u2"), order)["etc/ossec.conf"]
    assert other == rendered.replace(b"u1.endpoints.test", b"u2.localhost")


def test_given_another_master_when_compared_then_the_cluster_daemon_alone_has_changed(fake: Fake):
    fake.order("worker", epoch=2)
    order = desired.read(fake.places.orders)
    changed = {
        daemon
        for daemon in fake_wazuh.DAEMONS
        if tree.generation(daemon, Run("worker", "u1"), order)
        != tree.generation(daemon, Run("worker", "u2"), order)
    }
    assert changed == {"wazuh-clusterd"}


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("<auth>\n<disabled>no</disabled>\n</auth>", True),
        ("<auth>\n<disabled>yes</disabled>\n</auth>", False),
        ("<ossec_config/>", False),
    ],
)
def test_given_a_configuration_when_read_then_authd_is_needed_as_wazuh_control_starts_it(
    fake: Fake, text, there
):
    (fake.home / "etc/ossec.conf").write_text(text)
    needed = tree.Tree(fake.places, REAL).needed()
    assert ("wazuh-authd" in needed) is there
    assert "wazuh-remoted" in needed
    assert "wazuh-integratord" not in needed


def test_given_a_daemon_that_is_not_installed_when_read_then_it_is_not_needed(fake: Fake):
    (fake.home / "bin/wazuh-monitord").unlink()
    assert "wazuh-monitord" not in tree.Tree(fake.places, REAL).needed()


def test_given_keys_from_before_a_master_when_put_aside_twice_then_the_first_are_kept(fake: Fake):
    fake.places.own.mkdir(parents=True)
    fake.places.client_keys.write_text("001 a any b\n")
    tree.keepsake(fake.places, 4)
    fake.places.client_keys.write_text("002 c any d\n")
    tree.keepsake(fake.places, 4)
    assert (fake.places.own / "client.keys.4").read_text() == "001 a any b\n"


def test_given_no_keys_from_before_a_master_when_put_aside_later_then_the_masters_are_not(
    fake: Fake,
):
    fake.places.own.mkdir(parents=True)
    tree.keepsake(fake.places, 1)
    fake.places.client_keys.write_text("001 a any b\n")
    tree.keepsake(fake.places, 1)
    assert (fake.places.own / "client.keys.1").read_text() == ""


def test_given_daemons_of_a_killed_predecessor_when_started_then_they_are_known_at_once(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
):
    # Else a peer would be told "released" while the old enrolment daemon still writes.
    left = Process(77, 1, 77, False, "wazuh-authd", True)
    table = Table({77: left}, os.getpid(), {77: left})
    monkeypatch.setattr(processes, "scan", lambda _places: table)
    fake.places.pids.mkdir(parents=True, exist_ok=True)
    (fake.places.pids / "wazuh-authd-77.pid").write_text("77\n")
    begun = tree.Tree(fake.places, REAL.scaled(10))
    monkeypatch.setattr(begun._thread, "start", lambda: None)
    begun.start()
    assert begun.facts().running == {"wazuh-authd"}


def test_given_a_closed_front_when_a_master_is_to_start_then_nothing_is_started(fake: Fake):
    fake.order()
    kept = tree.Tree(fake.places, REAL.scaled(10))
    kept.want(Run("master", "u0", FRONT), desired.read(fake.places.orders))
    kept._act(kept._look())
    assert kept.facts().role is None
    assert not (fake.home / "logs/started").exists()


def test_given_an_api_that_hangs_when_a_move_begins_then_changing_users_does_not_hold_it_up(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
):
    fake.order()
    kept = tree.Tree(fake.places, REAL)
    asked, ended = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        ended.wait(60)

    monkeypatch.setattr(users, "update", hang)
    kept._role = "master"
    kept.want(Run("master", "u0"), desired.read(fake.places.orders))
    threading.Thread(
        target=lambda: (asked.wait(60), kept.want(Run(None, without=FRONT), None))
    ).start()

    with pytest.raises(users.UsersError, match="interrupted"):
        kept._ask_api({}, {})

    assert not ended.is_set()
    ended.set()
