"""Traefik beside the cluster, run as its charm runs it; the charm itself is not run.

What it makes of a relation is read in canonical/traefik-k8s-operator: src/traefik.py
(generate_static_config, static_config_deep_merge, flush_dynamic_configs) and src/charm.py
(_tcp_entrypoints, _update_dynamic_config_route).
"""

import subprocess
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.driver import Driver
from sandbox.network import FIRST_CLIENT

NAME, ENDPOINT, INTERFACE = "traefik", "traefik-route", "traefik_route"
_DIAGNOSTICS = 8082
_NO_TIMEOUT = {"transport": {"respondingTimeouts": {"readTimeout": "0s"}}}


class ConflictError(Exception):
    """Two sources name the same setting and differ: the charm is blocked then."""


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Merge settings deeply, as the charm does. Raises ConflictError."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif into.setdefault(key, value) != value:
            raise ConflictError(key)


def static(told: Mapping[str, str], folder: str) -> dict[str, Any]:
    """Return Traefik's static configuration: the charm's own, with what a relation tells."""
    theirs = yaml.safe_load(told.get("static", "")) or {}
    points = {
        name: {"address": f":{point['address'].replace(':', '')}", **deepcopy(_NO_TIMEOUT)}
        for name, point in theirs.get("entryPoints", {}).items()
    }
    found: dict[str, Any] = {
        "global": {"checknewversion": False},
        "log": {"level": "DEBUG"},
        "entryPoints": {
            "diagnostics": {"address": f":{_DIAGNOSTICS}"},
            "web": {"address": ":80", **deepcopy(_NO_TIMEOUT)},
            "websecure": {"address": ":443", **deepcopy(_NO_TIMEOUT)},
            **points,
        },
        "metrics": {
            "prometheus": {
                "addRoutersLabels": True,
                "addServicesLabels": True,
                "entryPoint": "diagnostics",
            }
        },
        "ping": {"entryPoint": "diagnostics"},
        "providers": {"file": {"directory": folder, "watch": True}},
    }
    merge(found, theirs)
    return found


def dynamic(told: Mapping[str, str], host: str) -> dict[str, Any]:
    """Return Traefik's dynamic configuration; unless raw, with routers that end TLS."""
    found = yaml.safe_load(told["config"])
    if told.get("raw") != "True":
        routers = found["tcp"]["routers"]
        routers |= {
            f"{name}-tls": {**router, "tls": {"domains": [{"main": host}]}}
            for name, router in routers.items()
        }
    return found


@dataclass
class Traefik:
    """An application `traefik` in the model, and the program on the clients' host."""

    driver: Driver
    program: Path
    host: str = FIRST_CLIENT
    """The address it tells, and has."""
    starts: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _static: str = ""

    def __post_init__(self) -> None:
        (self._folder / "juju").mkdir(parents=True, exist_ok=True)
        self.driver.neighbour(NAME, ENDPOINT, INTERFACE)

    @property
    def _folder(self) -> Path:
        return self.driver.scratch / "traefik"

    @property
    def log(self) -> str:
        """What it said."""
        return (self._folder / "log").read_text(errors="replace")

    def relate(self) -> None:
        """Relate the application, wait for what it tells, and do it."""
        self.driver.juju("integrate", "wazuh-server:ingress", NAME)
        self.driver.wait("Traefik is told", lambda: "config" in self.driver.told(NAME), 120)
        self.driver.tell(NAME, {"external_host": self.host, "scheme": "http"})
        self.follow()

    def part(self) -> None:
        """Remove the relation."""
        self.driver.juju("remove-relation", "wazuh-server:ingress", NAME)
        self.driver.wait("nothing is told any more", lambda: not self.driver.told(NAME), 120)
        self.follow()

    def follow(self) -> None:
        """Write both files as the relation is now; entry points need a restart."""
        told = self.driver.told(NAME)
        route = self._folder / "juju/juju_ingress_traefik-route.yaml"
        route.unlink(missing_ok=True)
        if told:
            route.write_text(yaml.safe_dump(dynamic(told, self.host)))
        text = yaml.safe_dump(static(told, str(self._folder / "juju")))
        if text != self._static:
            self._static = text
            (self._folder / "traefik.yaml").write_text(text)
            self.stop()
            self._start()

    def _start(self) -> None:
        self.starts += 1
        settings, log = self._folder / "traefik.yaml", self._folder / "log"
        words = f'exec "{self.program}" --configFile="{settings}" >> "{log}" 2>&1'
        self._process = self.driver.start_client(["sh", "-c", words])
        ports = [
            point["address"] for point in yaml.safe_load(self._static)["entryPoints"].values()
        ]
        for port in (int(address.removeprefix(":")) for address in ports):
            self.driver.wait(f"Traefik listens on {port}", lambda p=port: self._listens(p), 60)

    def _listens(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        return self.driver.listens(port)

    def stop(self) -> None:
        """End the program."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None
