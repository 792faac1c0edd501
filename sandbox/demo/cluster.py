"""The deployed application as the demo and the tests see it: commands, secrets, clients."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandbox.driver import APPLICATION, Driver

#: Run in the workload container: never prints a key, only its digest.
_KEYS = """
import hashlib, json
lines = [line.split() for line in open("/var/ossec/etc/client.keys")]
print(json.dumps({p[0]: [p[1], hashlib.sha256(p[3].encode()).hexdigest()]
                  for p in lines if len(p) == 4 and p[1][0] not in "!#"}))
"""
_PYTHON = "/var/ossec/framework/python/bin/python3"


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """A model with wazuh-server deployed in it."""

    driver: Driver

    # What it is ---------------------------------------------------------------

    def units(self) -> dict[str, dict[str, Any]]:
        """Unit → what `juju status --format json` says of it."""
        return self.driver.units(APPLICATION)

    def hosts(self) -> list[str]:
        """The names of the units' pods in the cluster's DNS, as the certificate has them."""
        domain = f"{APPLICATION}-endpoints.{self.driver.model}.svc.cluster.local"
        return [f"{unit.replace('/', '-')}.{domain}" for unit in self.units()]

    def addresses(self) -> list[str]:
        """The addresses of the units' pods."""
        return [unit["address"] for unit in self.units().values() if unit.get("address")]

    def messages(self) -> dict[str, str]:
        """Unit → the sentence of its status."""
        return {
            name: unit["workload-status"].get("message", "") for name, unit in self.units().items()
        }

    def master(self) -> str | None:
        """The unit that says it is master, None unless exactly one does."""
        masters = [unit for unit, text in self.messages().items() if text.startswith("master")]
        return masters[0] if len(masters) == 1 else None

    def is_whole(self, count: int) -> bool:
        """Whether `count` units are active, one of them master."""
        units = self.units()
        active = [u for u in units.values() if u["workload-status"]["current"] == "active"]
        ready = all(unit["ready"] for unit in active)
        return len(units) == len(active) == count and ready and self.master() is not None

    def keys(self, unit: str) -> dict[str, tuple[str, str]]:
        """Agent's id → (name, digest of its key) in the unit's client.keys."""
        found = self.driver.exec(unit, [_PYTHON, "-c", _KEYS])
        return {number: (name, digest) for number, (name, digest) in json.loads(found).items()}

    def starts(self, unit: str) -> dict[str, str]:
        """Process → its start, of all that is Wazuh's: equal means nothing restarted."""
        listing = self.driver.exec(unit, ["ps", "-eo", "pid=,lstart=,args="])
        rows = [line.split(maxsplit=6) for line in listing.splitlines()]
        return {row[0]: f"{' '.join(row[1:6])} {row[6]}" for row in rows if _stays(row[6])}

    # What is done to it -------------------------------------------------------

    def ask(self, role: str, **request: Any) -> list[dict[str, Any]]:
        """Let the client host play a role of `sandbox.clients`; its answers."""
        return [json.loads(line) for line in self.driver.client(role, request).splitlines()]

    @contextlib.contextmanager
    def asking(self, role: str, **request: Any) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """The same in the background; the value stops it and gives the answers."""
        stop = Path(self.driver.scratch) / f"stop-{role}-{time.monotonic_ns()}"
        process = self.driver.client_process(role, request | {"stop-file": str(stop)})
        answers: list[dict[str, Any]] = []

        def finish() -> list[dict[str, Any]]:
            if not answers:
                stop.touch()
                output, _ = process.communicate(timeout=60)
                answers.extend(json.loads(line) for line in output.splitlines())
            return answers

        try:
            yield finish
        finally:
            finish()
            stop.unlink(missing_ok=True)

    def secret(self, label: str) -> dict[str, str]:
        """The latest content of an application's secret."""
        return self.driver.secret(label)

    def wait(self, what: str, condition: Callable[[], bool], timeout: float = 180) -> float:
        """Seconds until the condition held. Raises NeverHappenedError."""
        return self.driver.wait(what, condition, timeout)


def _stays(arguments: str) -> bool:
    """Whether a process is Wazuh's and no fetching or check that ends by itself."""
    return "/var/ossec" in arguments and not re.search(r"fetch-repository| -t( |$)", arguments)
