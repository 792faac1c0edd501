"""A real Traefik in front of the cluster, told exactly what the charm tells it.

Needs a Traefik: `TRAEFIK=/path/to/traefik`, built from its Go module or installed. Traefik's own
charm is not run: what it makes of the relation is its two files, written here as they are told.
"""

import json
import os
from pathlib import Path

import pytest

from sandbox.driver import Driver
from sandbox.network import FIRST_CLIENT
from src.cluster import Names
from src.relations import ingress

TRAEFIK = os.environ.get("TRAEFIK", "")
MANY = 200
pytestmark = pytest.mark.skipif(not TRAEFIK, reason="TRAEFIK names no Traefik")


@pytest.fixture
def traefik():
    """Three units, and a Traefik on the clients' host."""
    driver = Driver("traefik")
    driver.destroy()
    driver.deploy(3)
    process = None
    try:
        driver.wait_active(3)
        process = driver.start_client([TRAEFIK, f"--configFile={_files(driver)}"])
        yield driver
    finally:
        if process:
            process.terminate()
            process.wait(20)
        driver.destroy()


def _files(driver: Driver) -> Path:
    """Write what the charm tells Traefik into the two files that Traefik's charm makes of it."""
    told = ingress.wanted(Names("wazuh-server", driver.model))
    dynamic, static = driver.scratch / "dynamic.yaml", driver.scratch / "traefik.yaml"
    dynamic.write_text(told["config"])
    content = json.loads(told["static"])
    content["providers"] = {"file": {"filename": str(dynamic)}}
    static.write_text(json.dumps(content))
    return static


def _ask(driver: Driver, role: str, **request) -> list[dict]:
    return [json.loads(line) for line in driver.client(role, request).splitlines()]


def _enrol(driver: Driver, names: list[str]) -> dict[str, dict]:
    password = driver.secret("enrolment-password")["password"]
    ca = driver.secret("certificate-authority")["certificate"]
    found = _ask(
        driver, "agents", host=FIRST_CLIENT, names=names, password=password, timeout=20, ca=None
    )
    assert ca
    return {one["name"]: one for one in found if one["error"] is None}


def _lines(driver: Driver) -> set[str]:
    command = ["sh", "-c", "cat /var/ossec/logs/senders/_all/*.log 2>/dev/null; true"]
    texts = [driver.exec(unit, command, check=False) for unit in driver.units()]
    return {line.split("sandbox:")[1].strip() for text in texts for line in text.splitlines()}


def test_given_traefik_when_a_unit_is_killed_then_what_comes_through_it_arrives(
    traefik, record_property
):
    driver = traefik
    sender = driver.run("wazuh-server/0", "issue-sender-certificate", name="through-traefik")
    if sender["status"] != "completed":
        leader = next(name for name, unit in driver.units().items() if unit.get("leader"))
        sender = driver.run(leader, "issue-sender-certificate", name="through-traefik")
    pair = driver.secret("sender-through-traefik")
    users = driver.secret("api-users")
    missing = [f"agent-{number}" for number in range(MANY)]
    lines = {f"line-{number}" for number in range(MANY)}
    enrolled: dict[str, dict] = {}
    logins = failed = 0

    turn = 0
    while missing or logins < MANY or not lines <= _lines(driver):
        enrolled |= _enrol(driver, missing[: MANY // 4])
        missing = [name for name in missing if name not in enrolled]
        part = _ask(
            driver,
            "logins",
            host=FIRST_CLIENT,
            others=[FIRST_CLIENT],
            count=min(50, MANY - logins),
            user="wazuh",
            password=users["wazuh"],
            ca=None,
        )
        good = sum(one["login"] == 200 for one in part)
        logins, failed = logins + good, failed + len(part) - good
        waiting = sorted(lines - _lines(driver))[: MANY // 4]
        if waiting:
            _ask(
                driver,
                "syslog",
                host=FIRST_CLIENT,
                sender="web-1",
                lines=waiting,
                ca=None,
                **{"certificate": pair["certificate"], "private-key": pair["private-key"]},
            )
        if turn == 0:
            driver.juju("kill", "wazuh-server/2")
        turn += 1
        assert turn < 40, (len(missing), logins, len(lines - _lines(driver)))

    record_property("logins tried again", failed)
    record_property("turns", turn)
    assert len({one["id"] for one in enrolled.values()}) == MANY
