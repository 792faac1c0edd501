"""A real Traefik before the cluster: agents, users of the API and a sender who come through it.

Juju is emulated, Wazuh a stand-in; Traefik, rsyslog on both ends and TLS are real. Traefik's charm
is not run: `neighbour` does with the relation what it does.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.cluster import Cluster
from sandbox.driver import Driver
from tests.traefik.neighbour import Traefik
from tests.traefik.program import program
from tests.traefik.sender import Sender

MANY = 200
RATE = 5.0
"""So many of each kind a second."""
_MOMENT = 5.0
"""Seconds around a kill in which a line may be on its way: TCP syslog has no acknowledgement."""


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    """Three units in a model of their own."""
    driver = Driver("traefik")
    driver.destroy()
    try:
        driver.deploy(3)
        driver.wait_active(3)
        yield driver
    finally:
        driver.destroy()


@pytest.fixture(scope="module")
def traefik(driver: Driver) -> Iterator[Traefik]:
    """A Traefik that is related, and whose address is known."""
    traefik = Traefik(driver, program())
    try:
        traefik.relate()
        driver.wait("its address is in the status", lambda: _told(driver, traefik), 120)
        driver.wait_idle(600)
        yield traefik
    finally:
        traefik.stop()


@pytest.fixture
def sender(driver: Driver, traefik: Traefik) -> Iterator[Sender]:
    name = "through-traefik"
    driver.juju("run", "wazuh-server/leader", "issue-sender-certificate", f"name={name}")
    sender = Sender(driver, traefik.host, driver.secret(f"sender-{name}"))
    sender.start()
    yield sender
    sender.stop()


def _told(driver: Driver, traefik: Traefik) -> bool:
    found = driver.units().values()
    return any(traefik.host in unit["workload-status"]["message"] for unit in found)


def _request(driver: Driver, traefik: Traefik, record: Path) -> dict[str, Any]:
    return {
        "host": traefik.host,
        "count": MANY,
        "rate": RATE,
        "seconds": 300,
        "record": str(record),
        "password": driver.secret("enrolment-password")["password"],
        "user": "wazuh",
        "user-password": driver.secret("api-users")["wazuh"],
        # The certificate has to hold for Traefik's own address: bytes are passed on as they are.
        "ca": driver.secret("certificate-authority")["certificate"],
    }


def _read(record: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def _filed(driver: Driver) -> list[str]:
    """Return what arrived, as often as it did."""
    command = ["sh", "-c", "cat /var/ossec/logs/senders/_all/*.log 2>/dev/null; true"]
    texts = [driver.exec(unit, command) for unit in driver.units()]
    rows = [line for text in texts for line in text.splitlines() if "through-traefik:" in line]
    return [row.split("through-traefik:")[1].strip() for row in rows]


def _write(sender: Sender) -> None:
    for number in range(MANY):
        sender.write(f"line-{number}")
        time.sleep(1 / RATE)


def _again(found: list[dict[str, Any]]) -> str:
    tries = [len(one["said"]) for one in found]
    late = [one["said"] for one in found if len(one["said"]) > 1]
    return (
        f"{tries.count(1)} at once, {len(late)} tried again, at most {max(tries)} tries: "
        + str(sorted({str(said) for one in late for said in one[:-1]}))
    )


def test_given_traefik_when_units_are_killed_then_who_comes_through_it_gets_what_it_came_for(
    driver, traefik, sender
):
    cluster, record = Cluster(driver), driver.scratch / "crowd"
    record.touch()
    killed = {}
    master = cluster.master()
    worker = next(unit for unit in driver.units() if unit != master)

    crowd = driver.client_module("tests.traefik.crowd", _request(driver, traefik, record))
    writing = threading.Thread(target=_write, args=(sender,))
    writing.start()
    for unit, after in ((worker, MANY // 5), (master, MANY // 2)):
        driver.wait(
            f"{after} enrolments", lambda n=after: len(_read(record, "enrolment")) >= n, 120
        )
        killed[unit] = time.monotonic()
        driver.juju("kill", unit)
    crowd.communicate(timeout=400)
    writing.join()
    driver.wait("three units", lambda: cluster.is_whole(3), 240)
    driver.wait_idle(600)

    # What is written last comes through last: what is not there by then does not come.
    sender.write("the end")
    driver.wait("what the sender held is there", lambda: "the end" in _filed(driver), 120)
    filed = _filed(driver)
    lost = {line for line in sender.written if line not in filed}
    enrolments, logins = _read(record, "enrolment"), _read(record, "login")
    sys.stdout.write(
        f"Through Traefik, while {worker} and then the master, {master}, were deleted "
        "(Juju emulated, Wazuh a stand-in):\n"
        f"{len(enrolments)} enrolments: {_again(enrolments)}\n"
        f"{len(logins)} logins: {_again(logins)}\n"
        f"{len(sender.written)} lines: {len(lost)} lost on the way, "
        f"{len(filed) - len(set(filed))} twice\n"
    )

    assert len(enrolments) == len(logins) == MANY
    assert all(one["done"] for one in (*enrolments, *logins))
    ids = {one["said"][-1]: f"agent-{one['number']}" for one in enrolments}
    assert len(ids) == MANY
    keys = cluster.keys(cluster.master() or "")
    assert {number: keys.get(number, ("", ""))[0] for number in ids} == ids
    for line in lost:
        assert any(abs(sender.written[line] - at) < _MOMENT for at in killed.values()), line


def test_given_traefik_when_the_relation_goes_and_comes_back_then_sessions_on_1514_stay(
    driver, traefik
):
    cluster = Cluster(driver)

    def remoted() -> dict[str, list[str]]:
        return {
            unit: [line for line in cluster.starts(unit).values() if "wazuh-remoted" in line]
            for unit in driver.units()
        }

    before, starts = remoted(), traefik.starts
    traefik.part()
    driver.wait("its address is gone", lambda: not _told(driver, traefik), 120)
    driver.wait_idle(600)
    assert not driver.listens(1514)
    traefik.relate()
    driver.wait("its address is back", lambda: _told(driver, traefik), 120)
    driver.wait_idle(600)

    assert all(before.values())
    assert remoted() == before
    assert traefik.starts == starts + 2
    found = cluster.ask(
        "agents",
        host=traefik.host,
        names=["after-it"],
        password=driver.secret("enrolment-password")["password"],
        ca=driver.secret("certificate-authority")["certificate"],
    )
    assert found[0]["error"] is None
