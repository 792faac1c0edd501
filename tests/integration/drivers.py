"""What the cluster's tests need of a Juju, on the sandbox or on a real controller.

The tests know `Deployment` alone. Everything that goes on inside a unit is a program run in its
workload container, which is the same in both.
"""

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sandbox.driver import CommandFailedError, Driver, NeverHappenedError
from sandbox.model import charm as declared
from sandbox.packing import metadata
from tests.integration.neighbours import Neighbour, neighbour

APPLICATION = "wazuh-server"
IMAGE = "wazuh-server-image"
UNITS = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """What a status says of a unit."""

    name: str
    status: str
    message: str
    agent: str
    leader: bool
    address: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action."""

    done: bool
    message: str
    results: Mapping[str, Any] = field(default_factory=dict)


class Deployment(Protocol):
    """One application in a model of its own."""

    @property
    def charm(self) -> Path:
        """The charm it is deployed from: the project's folder, or a packed one."""
        ...

    def deploy(self, units: int) -> None:
        """Deploy the charm."""
        ...

    def refresh(self, charm: Path) -> None:
        """Roll out another build of the charm."""
        ...

    def scale(self, units: int) -> None:
        """Ask for a number of units."""
        ...

    def config(self, values: Mapping[str, str], reset: Sequence[str] = ()) -> None:
        """Set options, and reset others."""
        ...

    def use_secret(self, option: str, content: Mapping[str, str]) -> None:
        """Make a user's secret, grant it, and name it in an option."""
        ...

    def run(self, unit: str, action: str, /, **params: str) -> Outcome:
        """Run an action and wait for its end. A failed action is no error here."""
        ...

    def units(self) -> list[Unit]:
        """Return the units as the status shows them."""
        ...

    def version(self) -> str:
        """Return the workload's version as the status shows it."""
        ...

    def secret(self, label: str) -> Mapping[str, str]:
        """Return the newest content of one of the application's secrets."""
        ...

    def execute(self, unit: str, program: Sequence[str]) -> str:
        """Run a program in a unit's workload container. Raises CommandFailedError."""
        ...

    def delete_pod(self, unit: str) -> None:
        """Delete a unit's pod; Kubernetes makes another."""
        ...

    def lose_node(self, unit: str) -> None:
        """Have a unit's pod gone until `restore_node`; its volume stays."""
        ...

    def restore_node(self, unit: str) -> None:
        """Have the pod made again."""
        ...

    def integrate(self, endpoint: str) -> bool:
        """Relate to a neighbour for the endpoint; False when there is none to be had here."""
        ...

    def told(self, endpoint: str) -> Mapping[str, str]:
        """Return what the application tells at an endpoint; nothing while none is related."""
        ...

    def heard(self, endpoint: str) -> Mapping[str, str]:
        """Return what the application is told at an endpoint; nothing while none is related."""
        ...

    def remove_relation(self, endpoint: str) -> None:
        """Undo `integrate`."""
        ...

    def destroy(self) -> None:
        """End the model."""
        ...


def wait(
    deployment: Deployment, what: str, condition: Callable[[], bool], timeout: float = 600
) -> None:
    """Wait until a condition holds; a program that cannot be run now is one that does not yet.

    Raises NeverHappenedError with the last status.
    """

    def holds() -> bool:
        try:
            return condition()
        except CommandFailedError:
            return False

    end = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > end:
            seen = "\n".join(map(str, deployment.units()))
            raise NeverHappenedError(f"{what}: not within {timeout:.0f} s\n{seen}")
        time.sleep(0.5)


def whole(deployment: Deployment, units: int) -> None:
    """Wait until so many units are active and idle, and one of them is master."""

    def settled() -> bool:
        found = deployment.units()
        masters = [unit for unit in found if unit.message.startswith("master of")]
        at_rest = all(unit.status == "active" and unit.agent == "idle" for unit in found)
        return len(found) == units and at_rest and len(masters) == 1

    wait(deployment, f"{units} units whole", settled)


def master(deployment: Deployment) -> str:
    """Return the unit that says it is master."""
    (found,) = [u.name for u in deployment.units() if u.message.startswith("master of")]
    return found


@dataclass(frozen=True, slots=True)
class OnSandbox:
    """The sandbox: Juju's rules on this machine, a stand-in for Wazuh."""

    charm: Path
    driver: Driver = field(default_factory=lambda: Driver("tests-charm"))
    neighbours: dict[str, Neighbour] = field(default_factory=dict)
    """Those that are related, by endpoint."""

    def deploy(self, units: int) -> None:
        self.driver.destroy()
        self.driver.deploy(units, charm=str(self.charm))

    def refresh(self, charm: Path) -> None:
        self.driver.juju("refresh", APPLICATION, "--path", str(charm))

    def scale(self, units: int) -> None:
        self.driver.juju("scale-application", APPLICATION, str(units))

    def config(self, values: Mapping[str, str], reset: Sequence[str] = ()) -> None:
        pairs = [f"{name}={value}" for name, value in values.items()]
        options = ["--reset", ",".join(reset)] if reset else []
        self.driver.juju("config", APPLICATION, *pairs, *options)

    def use_secret(self, option: str, content: Mapping[str, str]) -> None:
        self.driver.use_secret(option, content)

    def run(self, unit: str, action: str, /, **params: str) -> Outcome:
        given = {name.replace("_", "-"): value for name, value in params.items()}
        record = self.driver.run(unit, action, **given)
        return Outcome(record["status"] == "completed", record["message"], record["results"])

    def units(self) -> list[Unit]:
        """Whoever looks has the neighbours answer first, who have no hooks of their own."""
        for one in self.neighbours.values():
            one.follow()
        return _units(self.driver.status())

    def version(self) -> str:
        return _version(self.driver.status())

    def secret(self, label: str) -> Mapping[str, str]:
        return self.driver.secret(label)

    def execute(self, unit: str, program: Sequence[str]) -> str:
        return self.driver.exec(unit, program)

    def delete_pod(self, unit: str) -> None:
        self.driver.juju("kill", unit)

    def lose_node(self, unit: str) -> None:
        self.driver.juju("lose-node", unit, "--keep-volume", "--never")

    def restore_node(self, unit: str) -> None:
        self.driver.juju("restore-node", unit)

    def integrate(self, endpoint: str) -> bool:
        self.neighbours[endpoint] = neighbour(self.driver, endpoint)
        self.neighbours[endpoint].relate()
        return True

    def told(self, endpoint: str) -> Mapping[str, str]:
        found = self.neighbours.get(endpoint)
        return self.driver.told(found.name) if found else {}

    def heard(self, endpoint: str) -> Mapping[str, str]:
        unit = self.units()[0].name
        return _heard({unit: self.driver.show_unit(unit)}, endpoint)

    def remove_relation(self, endpoint: str) -> None:
        self.neighbours[endpoint].part()

    def destroy(self) -> None:
        self.driver.destroy()


_EVERY_NODE = ("--selector", "kubernetes.io/os=linux")
#: Endpoint to a charm, its channel and the endpoint of it that is meant. The others' charms run on
#: machines, or need half a dozen more: they are had by an offer (`--neighbour ENDPOINT=OFFER`).
NEIGHBOURS = {
    "certificates": ("self-signed-certificates", "1/stable", "certificates"),
    "ingress": ("traefik-k8s", "latest/stable", "traefik-route"),
}


@dataclass(frozen=True, slots=True)
class OnJuju:
    """A real controller, by its command line; the model is made and ended by pytest-operator."""

    charm: Path
    image: str
    model: str
    """The model as `juju -m` takes it: `controller:name`."""
    offers: Mapping[str, str] = field(default_factory=dict)
    """Endpoint to the offer of another model, as `juju integrate` takes it."""

    def deploy(self, units: int) -> None:
        resource = f"{IMAGE}={self.image}"
        self._juju("deploy", str(self.charm), "-n", str(units), "--resource", resource)

    def refresh(self, charm: Path) -> None:
        resource = f"{IMAGE}={self.image}"
        self._juju("refresh", APPLICATION, "--path", str(charm), "--resource", resource)

    def scale(self, units: int) -> None:
        self._juju("scale-application", APPLICATION, str(units))

    def config(self, values: Mapping[str, str], reset: Sequence[str] = ()) -> None:
        pairs = [f"{name}={value}" for name, value in values.items()]
        options = ["--reset", ",".join(reset)] if reset else []
        self._juju("config", APPLICATION, *pairs, *options)

    def use_secret(self, option: str, content: Mapping[str, str]) -> None:
        pairs = [f"{key}={value}" for key, value in content.items()]
        uri = self._juju("add-secret", option, *pairs).strip()
        self._juju("grant-secret", option, APPLICATION)
        self.config({option: uri})

    def run(self, unit: str, action: str, /, **params: str) -> Outcome:
        pairs = [f"{name.replace('_', '-')}={value}" for name, value in params.items()]
        words = ["run", unit, action, *pairs, "--format", "json", "--wait", "5m"]
        (record,) = json.loads(self._juju(*words, check=False)).values()
        said = record.get("message", "")
        return Outcome(record["status"] == "completed", said, record.get("results", {}))

    def units(self) -> list[Unit]:
        return _units(self._status())

    def version(self) -> str:
        return _version(self._status())

    def secret(self, label: str) -> Mapping[str, str]:
        listed = json.loads(self._juju("secrets", "--format", "json"))
        found = [name for name, about in listed.items() if about.get("label") == label]
        shown = json.loads(self._juju("show-secret", found[0], "--reveal", "--format", "json"))
        return shown[found[0]]["content"]["Data"]

    def execute(self, unit: str, program: Sequence[str]) -> str:
        # Juju joins the words with spaces and gives them to a shell (caas kubernetes exec.go).
        return self._juju("ssh", "--container", APPLICATION, unit, shlex.join(program))

    def delete_pod(self, unit: str) -> None:
        self._kubectl("delete", "pod", unit.replace("/", "-"), "--wait=false")

    def lose_node(self, unit: str) -> None:
        """Keep Kubernetes from placing pods, then delete this one: it stays away."""
        self._kubectl("cordon", *_EVERY_NODE)
        self._kubectl("delete", "pod", unit.replace("/", "-"), "--grace-period=0", "--force")

    def restore_node(self, unit: str) -> None:
        self._kubectl("uncordon", *_EVERY_NODE)

    def integrate(self, endpoint: str) -> bool:
        if endpoint not in NEIGHBOURS and endpoint not in self.offers:
            return False
        if endpoint not in self.offers:
            charm, channel, _ = NEIGHBOURS[endpoint]
            if charm not in self._status()["applications"]:
                self._juju("deploy", charm, "--channel", channel, "--trust")
        self._juju("integrate", f"{APPLICATION}:{endpoint}", self._other_end(endpoint))
        return True

    def told(self, endpoint: str) -> Mapping[str, str]:
        (leader,) = [unit.name for unit in self.units() if unit.leader]
        script = f"relation-get -r $(relation-ids {endpoint}) --app --format json - {leader}"
        shown = self._juju("exec", "--unit", leader, "--", script, check=False)
        return json.loads(shown) if shown.startswith("{") else {}

    def heard(self, endpoint: str) -> Mapping[str, str]:
        unit = self.units()[0].name
        return _heard(json.loads(self._juju("show-unit", unit, "--format", "json")), endpoint)

    def remove_relation(self, endpoint: str) -> None:
        other = self._other_end(endpoint)
        if endpoint in self.offers:
            other = other.rpartition(".")[2]
        self._juju("remove-relation", f"{APPLICATION}:{endpoint}", other)

    def _other_end(self, endpoint: str) -> str:
        if endpoint in self.offers:
            return self.offers[endpoint]
        charm, _, theirs = NEIGHBOURS[endpoint]
        return f"{charm}:{theirs}"

    def destroy(self) -> None:
        """Leave it to pytest-operator, which keeps the model when it is asked to."""

    def _status(self) -> dict[str, Any]:
        return json.loads(self._juju("status", "--format", "json"))

    def _kubectl(self, *words: str) -> None:
        name = self.model.rpartition(":")[2].rpartition("/")[2]
        command = ["kubectl", "-n", name, *words]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def _juju(self, command: str, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["juju", command, "-m", self.model, *words],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode:
            raise CommandFailedError(f"juju {command}: {done.stdout}{done.stderr}")
        return done.stdout


def _units(status: Mapping[str, Any]) -> list[Unit]:
    """Read `juju status --format json`, whose shape the sandbox keeps."""
    found = status["applications"].get(APPLICATION, {}).get("units") or {}
    return [
        Unit(
            name,
            unit["workload-status"]["current"],
            unit["workload-status"].get("message", ""),
            unit["juju-status"]["current"],
            bool(unit.get("leader")),
            unit.get("address", ""),
        )
        for name, unit in sorted(found.items())
    ]


def _heard(shown: Mapping[str, Any], endpoint: str) -> Mapping[str, str]:
    """Read `juju show-unit --format json`."""
    (about,) = shown.values()
    found = [one for one in about.get("relation-info") or [] if one["endpoint"] == endpoint]
    return found[0].get("application-data") or {} if found else {}


def _version(status: Mapping[str, Any]) -> str:
    return status["applications"][APPLICATION].get("version", "")


def endpoints(project: Path) -> list[str]:
    """Return the endpoints that another application can be related to."""
    found = declared.parse(metadata(project)).endpoints
    return sorted(name for name, endpoint in found.items() if endpoint.role != "peers")
