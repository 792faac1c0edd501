"""The endpoint `opencti-connector` deployed: the integration as the unit's container has it.

The neighbour is told for and GraphQL is a stand-in; nobody but the test plays wazuh-integratord's
part of calling the integration, since the stand-in's waits only.
"""

import json
from pathlib import Path
from typing import Any

from sandbox.driver import APPLICATION, Driver
from tests.unit.opencti import graphql_stand_in
from tests.unit.opencti.graphql_stand_in import TOKEN

UNIT = f"{APPLICATION}/0"
ENDPOINT, INTERFACE = "opencti-connector", "opencti_connector"
PLACE = "/etc/wazuh-server/opencti.json"
INTEGRATION = "/var/ossec/integrations/custom-opencti-lookup"
EVIL = "8.8.4.4"
KNOWN = {
    "id": "indicator-1",
    "name": "Evil",
    "pattern": f"[ipv4-addr:value = '{EVIL}']",
    "revoked": False,
    "x_opencti_score": 90,
}
SERVER = f"""
import threading
with serving(None, ("0.0.0.0", 8080)) as stand_in:
    stand_in.indicators = [{KNOWN!r}]
    threading.Event().wait()
"""


def daemons(driver: Driver) -> dict[str, str]:
    """Return the processes of the container's daemons, by number."""
    lines = driver.exec(UNIT, ["ps", "-eo", "pid=,args="]).splitlines()
    rows = [line.split(None, 1) for line in lines]
    return {number: text for number, text in rows if "bin/wazuh-" in text and "ps -" not in text}


def integrators(driver: Driver) -> list[str]:
    return [text for text in daemons(driver).values() if "bin/wazuh-integratord" in text]


def raised(driver: Driver) -> list[dict[str, Any]]:
    """Return the alerts that the integration's rules raised."""
    text = driver.exec(UNIT, ["sh", "-c", "cat /var/ossec/logs/alerts/alerts.json || true"])
    found = [json.loads(line) for line in text.splitlines()]
    return [one for one in found if "opencti" in one["rule"]["groups"]]


def serve(driver: Driver) -> str:
    """Let the container itself answer as OpenCTI would; returns the address, a Service's name."""
    source = Path(graphql_stand_in.__file__).read_text() + SERVER
    driver.exec(UNIT, ["sh", "-c", "cat > /tmp/opencti.py"], text=source)
    python = "/var/ossec/framework/python/bin/python3"
    driver.exec(UNIT, ["sh", "-c", f"{python} /tmp/opencti.py > /tmp/opencti.log 2>&1 &"])
    probe = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 8080)))"
    driver.wait("GraphQL", lambda: driver.exec(UNIT, [python, "-c", probe]).strip() == "0", 60)
    return f"http://{APPLICATION}-endpoints.{driver.model}.svc.cluster.local:8080/cti"


def test_given_an_opencti_when_it_comes_and_goes_then_alerts_are_looked_up_and_no_token_is_seen(
    other: Driver,
) -> None:
    other.deploy(1, "--watch-arguments")
    other.wait_active(1)
    before = daemons(other)
    url = serve(other)
    other.neighbour("opencti", ENDPOINT, INTERFACE, "requires")
    secret = other.lend("opencti-token", {"token": TOKEN})

    other.juju("integrate", f"{APPLICATION}:{ENDPOINT}", "opencti")
    other.wait("ours is told", lambda: "connector_type" in other.told("opencti"), 120)
    other.tell("opencti", {"opencti_url": url, "opencti_token": secret})
    other.wait("the integrator runs", lambda: len(integrators(other)) == 1)

    other.wait_active(1)
    assert before.items() <= daemons(other).items(), "a daemon was started again"
    seen = other.exec(UNIT, ["stat", "-c", "%U %G %a", PLACE, INTEGRATION])
    assert seen.split("\n")[:2] == ["root wazuh 640", "root wazuh 750"]
    alert = {"id": "1.1", "rule": {"id": "5715"}, "data": {"srcip": EVIL}}
    other.exec(UNIT, ["sh", "-c", "cat > /tmp/one.alert"], text=json.dumps(alert))
    wazuh = ["setpriv", "--reuid=wazuh", "--regid=wazuh", "--clear-groups"]
    other.exec(UNIT, [*wazuh, INTEGRATION, "/tmp/one.alert"])
    other.wait("the alert", lambda: bool(raised(other)), 60)
    (about,) = raised(other)
    assert about["rule"]["id"] == "99401"
    assert json.loads(about["full_log"])["opencti"]["name"] == "Evil"
    assert about["rule"]["level"] == 12

    other.juju("remove-relation", f"{APPLICATION}:{ENDPOINT}", "opencti")
    other.wait("the integrator ended", lambda: not integrators(other))
    assert other.exec(UNIT, ["sh", "-c", f"ls {PLACE} || true"]) == ""
    other.wait_active(1)
    assert before.items() <= daemons(other).items()
    assert TOKEN not in (other.home / "arguments").read_text(errors="replace")
    assert other.exec(UNIT, ["sh", "-c", f"grep -rl {TOKEN[:18]} /var/ossec /etc || true"]) == ""
