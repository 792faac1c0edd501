"""The endpoint `ingress`: the interface traefik_route v0, raw TCP through a Traefik.

Our side: `config` (Traefik's dynamic configuration), `static` (its entry points) and `raw`, all
YAML of which JSON is a part. Theirs: `external_host` and `scheme`. Traefik's charm compares `raw`
with the bare word "True"; without it, it adds a router beside each of ours that ends TLS, and
Wazuh's enrolment, API and syslog bring their own (traefik-k8s-operator src/charm.py).
"""

import contextlib
import ipaddress
import json
import re
from collections.abc import Mapping

from src import cluster, digests
from src.relations import BadDataError

PORTS: Mapping[str, int] = {"agents": 1514, "api": 55000, "enrolment": 1515, "syslog": 6514}
"""Entry points by what they are for. Every unit serves all of them."""
_LONGEST_NAME = 63
"""Of a port of a Kubernetes Service, which Traefik's charm opens for each entry point."""
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9-]{1,63})*\.?")


def host(theirs: Mapping[str, str]) -> str | None:
    """Return the address that people use, or None while Traefik has told none.

    Raises BadDataError for what is neither a host name nor an IP address.
    """
    text = theirs.get("external_host", "").strip()
    if not text:
        return None
    with contextlib.suppress(ValueError):
        # A zone may hold any text, and means nothing on another machine.
        return str(ipaddress.ip_address(text.strip("[]").replace("%", " ")))
    if not _HOST.fullmatch(text.lower()):
        raise BadDataError("external_host is neither a host name nor an IP address")
    return text.lower().rstrip(".")


def wanted(names: cluster.Names) -> dict[str, str]:
    """Return our side, which depends on names alone: no unit that comes or goes changes it.

    The one server is the application's Service: it holds the ready units and no other, while
    Traefik checks no TCP server and would go on sending clients to a unit that is gone.
    """
    points = {_entry_point(names, purpose): port for purpose, port in PORTS.items()}
    service = names.service
    routers = {
        name: {"entryPoints": [name], "rule": "HostSNI(`*`)", "service": name} for name in points
    }
    services = {
        name: {
            "loadBalancer": {
                "servers": [{"address": f"{service}:{port}"}],
                "terminationDelay": -1,
            }
        }
        for name, port in points.items()
    }
    static = {"entryPoints": {name: {"address": f":{port}"} for name, port in points.items()}}
    return {
        "config": _dump({"tcp": {"routers": routers, "services": services}}),
        "raw": "True",
        "static": _dump(static),
    }


def _entry_point(names: cluster.Names, purpose: str) -> str:
    """Name an entry point after model and application: a Traefik refuses two of one name."""
    name = f"{names.model}-{names.application}-{purpose}".lower().replace(".", "-")
    if len(name) <= _LONGEST_NAME:
        return name
    tail = f"-{digests.plain(name.encode())[:8]}-{purpose}"
    return name[: _LONGEST_NAME - len(tail)].rstrip("-") + tail


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
