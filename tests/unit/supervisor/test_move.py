"""Three supervisors as processes, each with its own fake Wazuh, on loopback addresses."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor import machine, rbac, volume
from supervisor.machine import Edition

from tests.unit.ports import free_port
from tests.unit.supervisor import certificates, fake_wazuh, people
from tests.unit.supervisor.fake_wazuh import Fake

_KEY = "ab" * 32


class Trio:
    """u0, u1 and u2 at 127.0.0.2, .3 and .4."""

    def __init__(self, root: Path) -> None:
        authority = certificates.issue("authority")
        pair = certificates.issue(authority=authority)
        addresses = tuple(f"127.0.0.{number + 2}" for number in range(3))
        port = free_port()
        self.units: list[Fake] = []
        for number, address in enumerate(addresses):
            unit = fake_wazuh.make(root / f"u{number}")
            ports = replace(unit.places.ports, peers=port)
            unit.places = replace(unit.places, address=address, ports=ports)
            unit.node, unit.endpoints, unit.addresses = f"u{number}", "endpoints.test", addresses
            unit.behave(wazuh_apid={"port": ports.api})
            certificates.place(unit.places.orders, authority, pair)
            self.units.append(unit)

    def __getitem__(self, number: int) -> Fake:
        return self.units[number]

    def publish(self, epoch: int, master: int, *told: int, high_water: int = 0) -> None:
        """Give the decision to these units' charms (all when none is named)."""
        for number in told or range(3):
            role = "master" if number == master else "worker"
            more = {"high-water": high_water}
            self[number].order(role, epoch, master=f"u{master}", **more)

    def start(self, *numbers: int) -> None:
        for number in numbers or range(3):
            self[number].start()

    def until(self, condition: Callable[[], bool]) -> None:
        self[0].until(condition, 150)

    def serve(self, master: int) -> bool:
        """Tell whether this one serves as master; the fakes' workers never connect."""
        return self[master].state()["phase"] == "serving" and self[master].serving()

    def end(self) -> None:
        for unit in self.units:
            unit.end()


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Give three units whose processes end with the test."""
    made = Trio(tmp_path)
    yield made
    made.end()


@pytest.fixture
def near() -> Iterator[Trio]:
    """Give three units in a short path: that of a local socket is limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="near-") as folder:
        made = Trio(Path(folder))
        yield made
        made.end()


def _keys(*numbers: int) -> str:
    return "".join(f"{n:03d} agent-{n} any {_KEY}\n" for n in numbers)


def _held(unit: Fake) -> str:
    return unit.places.client_keys.read_text()


def _up(unit: Fake, *names: str) -> bool:
    return all(name in unit.alive() for name in names)


def test_given_three_units_when_the_master_moves_then_keys_follow_and_sessions_stay(trio: Trio):
    trio.publish(1, 0)
    trio.start()
    trio.until(lambda: trio.serve(0) and _up(trio[1], "wazuh-remoted", "wazuh-clusterd"))
    trio.until(lambda: _up(trio[2], "wazuh-remoted", "wazuh-clusterd"))
    remoted = [unit.alive()["wazuh-remoted"] for unit in trio.units]
    trio[0].places.client_keys.write_text(_keys(1, 2, 3))
    trio[1].places.client_keys.write_text(_keys(1))
    trio[2].places.client_keys.write_text(_keys(1, 2))
    # Juju reaches u1 only: u0 hears of it from its peer, u2 too.
    trio.publish(2, 1, 1, high_water=1)
    trio.until(lambda: trio.serve(1))
    assert _held(trio[1]) == _keys(1, 2, 3), "all of the old master's, and no gap"
    trio.until(lambda: trio[0].state()["phase"] == "released")
    assert not {"wazuh-authd", "wazuh-apid", "wazuh-clusterd"} & set(trio[0].alive())
    assert trio[0].alive()["wazuh-remoted"] == remoted[0]
    assert trio[2].alive()["wazuh-remoted"] == remoted[2]
    node = "<node>u1.endpoints.test</node>"
    trio.until(lambda: node in (trio[2].home / "etc/ossec.conf").read_text())
    trio.until(lambda: _up(trio[2], "wazuh-clusterd", "wazuh-authd"))
    # u0's charm follows: it becomes a worker of u1 and keeps its old keys aside.
    trio.publish(2, 1, 0, 2)
    trio.until(lambda: _up(trio[0], *fake_wazuh.DAEMONS))
    aside = trio[0].places.own / "client.keys.2"
    assert aside.read_text() == _keys(1, 2, 3)


def test_given_a_robbed_master_when_it_follows_the_next_then_what_it_has_is_put_aside_too(
    trio: Trio,
):
    found = machine.Memory(machine.Term(1, "u0"), serving=machine.Term(1, "u0"))
    volume.store(trio[0].places.own / "memory.json", found)
    trio[0].places.client_keys.write_text(_keys(1, 2))
    trio.publish(2, 1, 0, 1)
    trio.start(0)
    trio[0].until((trio[0].places.own / "client.keys.2").exists)
    assert (trio[0].places.own / "client.keys.2").read_text() == _keys(1, 2)


@pytest.mark.parametrize("leaving", [0, 2], ids=["the master", "a worker"])
def test_given_a_unit_that_leaves_when_its_api_knows_nothing_then_its_remoted_tells_its_agents(
    near: Trio, leaving: int
):
    near.publish(1, 0)
    near.start()
    near.until(lambda: near.serve(0) and _up(near[leaving], "wazuh-remoted", "wazuh-clusterd"))
    orders = near[leaving].home / "queue/alerts/ar"
    orders.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as remoted:
        remoted.bind(str(orders))
        remoted.settimeout(60)
        (near[leaving].places.orders / "leaving").touch()

        assert remoted.recv(1000) == b"(msg_to_agent) [] A!N (null) force_reconnect"
        said = "being removed: its agents were told to connect to another unit"
        near.until(lambda: said in near[leaving].log())
        assert not near[leaving].state()["ready"]
    assert near[1].state()["sentence"] != said


def test_given_all_units_leave_when_nobody_stays_then_no_agent_is_told(near: Trio):
    near.publish(1, 0)
    for unit in near.units:
        (unit.places.orders / "leaving").touch()
    near.start()
    near.until(lambda: near.serve(0))
    near.until(lambda: all(len(unit.state()["answering"]) == 2 for unit in near.units))
    assert not any("being removed" in unit.log() for unit in near.units)


def test_given_a_released_master_when_its_supervisor_is_killed_then_it_does_not_serve_again(
    trio: Trio,
):
    trio.publish(1, 0)
    trio.start(0, 1)
    trio.until(lambda: trio.serve(0))
    trio.publish(2, 1, 1)
    trio.until(lambda: trio[0].state()["phase"] == "released")
    process = trio[0].process
    assert process
    process.kill()
    process.wait()
    trio[1].stop()
    trio[0].places.report.unlink()
    trio[0].start()
    trio[0].until(lambda: trio[0].state()["phase"] == "released")
    trio[0].until(lambda: trio[0].left() == [] or not _up(trio[0], "wazuh-authd"))
    memory = json.loads((trio[0].places.own / "memory.json").read_text())
    assert (memory["epoch"], memory["master"]) == (2, "u1")


def test_given_a_master_that_is_gone_when_another_takes_over_then_a_gap_is_left(trio: Trio):
    trio.publish(1, 0)
    trio.start()
    trio.until(lambda: trio.serve(0) and _up(trio[1], "wazuh-clusterd"))
    trio[1].places.client_keys.write_text(_keys(1, 2))
    trio[2].places.client_keys.write_text(_keys(1, 2, 3))
    trio[0].end()
    trio.publish(2, 1, 1, 2, high_water=2)
    trio[1].until(lambda: trio.serve(1), 150)
    lines = _held(trio[1]).splitlines()
    assert lines[:3] == _keys(1, 2, 3).splitlines()
    assert lines[3].startswith(f"{3 + machine.GAP} !reserved any ")
    assert trio[1].state()["highest-id"] == 3 + machine.GAP


def test_given_fewer_keys_than_were_known_when_claiming_then_it_waits_for_a_unit_with_them(
    trio: Trio,
):
    trio[1].places.client_keys.write_text(_keys(1, 2))
    trio.publish(2, 1, 0, 1, high_water=40)
    trio.start(0, 1)
    trio[1].until(lambda: trio[1].state()["phase"] == "refused")
    assert "up to id 40" in trio[1].state()["sentence"]
    assert trio[1].alive() == {}
    trio[2].places.client_keys.write_text(_keys(*range(1, 41)))
    trio.publish(2, 1, 2)
    trio.start(2)
    trio[1].until(lambda: trio.serve(1), 150)
    assert _held(trio[1]).startswith(_keys(*range(1, 41)))


def _edition(unit: Fake) -> tuple[int, int]:
    path = unit.places.own / "rbac.json"
    content = json.loads(path.read_text()) if path.exists() else {"epoch": 0, "counter": 0}
    return content["epoch"], content["counter"]


def test_given_users_made_through_the_api_when_the_master_moves_and_back_then_they_follow(
    trio: Trio,
):
    trio.publish(1, 0)
    trio.start()
    trio.until(lambda: trio.serve(0))
    people.add(trio[0].places, "wazuh", "ann")
    trio.until(lambda: _edition(trio[1]) == _edition(trio[2]) == (1, 1))
    people.add(trio[0].places, "last-minute")
    trio.publish(2, 1)
    trio.until(lambda: trio.serve(1))
    assert people.names(trio[1].places) == ["ann", "last-minute", "wazuh"]
    people.add(trio[1].places, "bob")
    trio.publish(3, 0)
    trio.until(lambda: trio.serve(0))
    assert people.names(trio[0].places) == ["ann", "bob", "last-minute", "wazuh"]


def test_given_a_master_lost_with_its_volume_when_another_takes_over_then_users_are_kept(
    trio: Trio,
):
    trio.publish(1, 0)
    trio.start()
    trio.until(lambda: trio.serve(0))
    people.add(trio[0].places, "wazuh", "ann")
    trio.until(lambda: _edition(trio[1]) == _edition(trio[2]) == (1, 1))
    trio[0].end()
    # u1 was away meanwhile: only u2 has the newest copy.
    (trio[1].places.own / "rbac.json").unlink()
    trio[1].stop()
    trio.publish(2, 1, 1, 2)
    trio[1].start()
    trio[1].until(lambda: trio.serve(1), 150)
    assert people.names(trio[1].places) == ["ann", "wazuh"]
    preset = (trio[1].home / "logs/preset").read_text()
    assert preset.count("begun") >= 1, "the charm's users are set upon it"
    trio.until(lambda: _edition(trio[2])[0] == 2)


def test_given_a_copy_that_arrives_late_when_taking_over_then_the_charms_users_are_set_upon_it(
    trio: Trio,
):
    trio[1].home.joinpath("api/configuration/security").mkdir(parents=True, exist_ok=True)
    copy = rbac.Copy(Edition(1, 1), people.database("wazuh", "ann"), None)
    trio[2].places.own.mkdir(parents=True)
    rbac.Keeper(trio[2].places).offer(rbac.dump(copy))
    trio.publish(2, 1, 1)
    trio[1].start()
    trio[1].until(lambda: "the API's users are set" in trio[1].log())
    trio.publish(2, 1, 2)
    trio[2].start()
    trio[1].until(lambda: trio.serve(1), 150)
    assert people.names(trio[1].places) == ["ann", "wazuh"]
    log = trio[1].log()
    assert log.rindex("the API's users are set") > log.rindex("what people made through the API")
