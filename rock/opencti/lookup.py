"""One call by wazuh-integratord: look up what an alert names, and report what is known.

It is called for one alert after the other and waited for (wazuh/src os_integrator/integrator.c),
so it is bounded in time and size; while OpenCTI is away, alerts of a minute are passed over. The
token comes from the charm's file: what stands in ossec.conf would be an argument that others see.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencti import named

if TYPE_CHECKING:
    from opencti import graphql

REPORTED = 5
"""Indicators of one alert that are reported, the worst ones."""
PAUSE = 60.0
_LONGEST_ALERT = 256 * 1024
_SECONDS = 2.0
_EVENT = "opencti"


@dataclass(frozen=True)
class Places:
    """Where everything is; the tests have places of their own."""

    configuration: Path = Path("/etc/wazuh-server/opencti.json")
    home: Path = Path("/var/ossec")
    authorities: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    seconds: float = 8.0

    @property
    def queue(self) -> Path:
        """The socket at which analysisd takes events."""
        return self.home / "queue/sockets/queue"

    @property
    def away(self) -> Path:
        """A file as young as the last question that had no answer."""
        return self.home / "var/run/opencti-lookup.away"


def main(arguments: Sequence[str], places: Places = Places()) -> int:
    """Look up one alert, whose file is the first argument; 1: nobody took what is to be said."""
    alert = _alert(arguments[1:2])
    if not alert or _is_own(alert) or _paused(places):
        return 0
    values = named.find(alert)
    return _look_up(values, alert, places) if values else 0


def _look_up(values: Sequence[named.Named], alert: dict, places: Places) -> int:
    """Ask OpenCTI, and report what it knows or why it does not answer."""
    # Most alerts name nothing from outside; HTTP and TLS cost as much again as all the rest.
    from opencti import graphql

    opencti = graphql.load(places.configuration, places.authorities, places.seconds)
    if opencti is None:
        return 0
    try:
        known = graphql.ask(opencti, values, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()))
        events = [_report(one, alert) for one in known[:REPORTED]]
        with suppress(OSError):
            places.away.unlink()
    except graphql.AwayError as reason:
        events = [{"event": "away", "reason": str(reason)}]
        with suppress(OSError):
            places.away.touch()
    return 0 if all(_send(places, event, alert) for event in events) else 1


def _alert(paths: Sequence[str]) -> dict:
    """Read the alert; empty for what is none."""
    try:
        with Path(paths[0]).open("rb") as file:
            content = json.loads(file.read(_LONGEST_ALERT))
    except (OSError, ValueError, IndexError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_own(alert: dict) -> bool:
    """Tell whether the alert is of what this program reported: one would lead to the next."""
    data = alert.get("data")
    return isinstance(data, dict) and data.get("integration") == _EVENT


def _paused(places: Places) -> bool:
    with suppress(OSError):
        return 0 <= time.time() - places.away.stat().st_mtime < PAUSE
    return False


def _report(known: graphql.Known, alert: dict) -> dict[str, object]:
    rule = alert.get("rule")
    rule = rule if isinstance(rule, dict) else {}
    return {
        "event": "indicator",
        "kind": known.named.kind,
        "value": known.named.value,
        "name": known.name,
        "indicator": known.id,
        "score": known.score,
        "source": {
            "alert": str(alert.get("id", ""))[:100],
            "rule": str(rule.get("id", ""))[:100],
            "description": str(rule.get("description", ""))[:500],
        },
    }


def _send(places: Places, event: Mapping[str, object], alert: dict) -> bool:
    """Give analysisd an event, as of the agent that the alert is of."""
    text = json.dumps({"integration": _EVENT, _EVENT: event})
    message = f"1:{_location(alert)}:{text}".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_SECONDS)
            sock.connect(str(places.queue))
            sock.sendall(message)
    except OSError:
        return False
    return True


def _location(alert: dict) -> str:
    """Say where the event is from; analysisd ends this at a colon that no bar precedes."""
    agent = alert.get("agent")
    agent = agent if isinstance(agent, dict) else {}
    if str(agent.get("id", "000")) == "000":
        return _EVENT
    words = (str(agent.get(key, other))[:200] for key, other in _AGENT.items())
    where = "[{}] ({}) {}".format(*words).replace("|", "||").replace(":", "|:")
    return f"{where}->{_EVENT}"


_AGENT = {"id": "000", "name": "", "ip": "any"}
