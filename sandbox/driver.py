"""The sandbox from Python: what tests and the demo do to a model and see of it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import tables
from sandbox.cluster import PROJECT, Model
from sandbox.network import FIRST_CLIENT
from sandbox.talk import ask

APPLICATION = "wazuh-server"
_GIT_PORT = 8080


class NeverHappenedError(AssertionError):
    """Something that was waited for did not come about in its time."""


class CommandFailedError(AssertionError):
    """A command of the sandbox failed; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One model. Commands are really typed: they run `./sandbox/juju` as a process."""

    model: str = "wazuh"
    clock_factor: float = 10.0
    root: Path = field(default=PROJECT / ".sandbox")
    wazuh: Path | None = None
    """A Wazuh installation to run instead of the stand-in."""

    @property
    def scratch(self) -> Path:
        """Return a directory that clients see too; it goes with the model."""
        path = self.root / f"scratch-{self.model}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def home(self) -> Path:
        """Return the model's directory: debug.log, hooks.jsonl, arguments, pods."""
        return self._model.home

    @property
    def _model(self) -> Model:
        return Model(self.model, self.root)

    def process(self) -> int | None:
        """Return the id of the process that holds the model's namespaces; None: it is gone."""
        return self._model.process()

    # -- commands ---

    def juju(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Type a command; return what it prints. Raises `CommandFailedError`."""
        done = subprocess.run(
            self._command(arguments),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise CommandFailedError(f"juju {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def deploy(self, units: int = 3, *options: str, charm: str = ".") -> None:
        """Deploy the charm; options as for `./sandbox/juju deploy`."""
        self.juju("deploy", charm, "-n", str(units), *options)

    def destroy(self) -> None:
        """End the model, if there is one, with everything in it."""
        self.juju("destroy-model", "--no-prompt")
        shutil.rmtree(self.root / f"scratch-{self.model}", ignore_errors=True)

    def run(self, unit: str, action: str, /, **params: Any) -> dict[str, Any]:
        """Run an action; return its record: `status`, `message`, `results`, `log`."""
        return self._ask("run", unit=unit, action=action, params=params, wait=120)

    def config(self, app: str = APPLICATION, **values: Any) -> None:
        """Set options; None resets one. Underscores stand for dashes."""
        options = {key.replace("_", "-"): value for key, value in values.items()}
        self._ask("config", app=app, values=options, reset=[])

    def use_secret(self, option: str, content: Mapping[str, str], app: str = APPLICATION) -> str:
        """Make or renew a user's secret named like the option, grant it, and set the option."""
        uri, is_new = self._put_secret(option, content, app)
        if is_new:
            self._ask("config", app=app, values={option: uri}, reset=[])
        return uri

    def neighbour(self, name: str, endpoint: str, interface: str, role: str = "provides") -> None:
        """Add an application without a charm that has one endpoint, unless it is there."""
        if name not in self.status()["applications"]:
            self._ask("neighbour", name=name, endpoint=endpoint, interface=interface, role=role)

    def told(self, name: str) -> dict[str, str]:
        """Return what ours tells a neighbour in its relation; empty while there is none."""
        found = self.show_unit(f"{name}/0")["relation-info"]
        return found[0]["application-data"] if found else {}

    def tell(self, name: str, data: Mapping[str, str]) -> None:
        """Have a neighbour write its side of its relations."""
        self._ask("tell", app=name, data=dict(data))

    def lend(self, name: str, content: Mapping[str, str]) -> str:
        """Make or renew a secret that our application may read; return its URI."""
        return self._put_secret(name, content, APPLICATION)[0]

    def _put_secret(self, name: str, content: Mapping[str, str], app: str) -> tuple[str, bool]:
        """Make or renew a secret that an application may read: its URI, and whether it is new."""
        found = [s for s in self._ask("secrets") if s["label"] == name]
        if found:
            self._ask("update-secret", name=name, content=dict(content))
            return found[0]["uri"], False
        uri = self._ask("add-secret", name=name, content=dict(content))
        self._ask("grant-secret", name=name, app=app)
        return uri, True

    # -- looking ---

    def status(self) -> dict[str, Any]:
        """Return `juju status --format json`."""
        return self._ask("status")

    def units(self, app: str = APPLICATION) -> dict[str, dict[str, Any]]:
        """Return unit to what the status says of it."""
        return self.status()["applications"].get(app, {}).get("units", {})

    def address(self, unit: str) -> str:
        """Return the address of a unit's pod."""
        return self.units(unit.partition("/")[0])[unit]["address"]

    def secret(self, label: str) -> dict[str, str]:
        """Return the newest content of a secret, by its label or name."""
        found = [s for s in self._ask("secrets", reveal=True) if s["label"] == label]
        if not found:
            raise KeyError(label)
        return found[0]["content"]

    def secrets(self) -> list[dict[str, Any]]:
        """Return all secrets with their contents."""
        return self._ask("secrets", reveal=True)

    def show_unit(self, unit: str) -> dict[str, Any]:
        """Return what `juju show-unit` shows: databags as the unit reads them."""
        return self._ask("show-unit", unit=unit)[unit]

    def effects(self) -> dict[str, Any]:
        """Return, by unit, counts since its pod was made.

        `pebble-requests`, `service-starts`, `hooks`, `hook-tools`.
        """
        return self._ask("effects")

    def hooks(self, since: int = 0) -> list[dict[str, Any]]:
        """Return a record of each hook that has ended: unit, hook, took, code, tools, requests."""
        return self._ask("hooks", since=since)

    def log(self) -> str:
        """Return the whole debug-log."""
        return (self.home / "debug.log").read_text(errors="replace")

    # -- waiting ---

    def wait(
        self, what: str, condition: Callable[[], bool], timeout: float = 180, every: float = 0.3
    ) -> float:
        """Return the seconds until `condition` held. Raises `NeverHappenedError`."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout:
                raise NeverHappenedError(f"{what}: not within {timeout:.0f} s\n{self._sight()}")
            time.sleep(every)
        return time.monotonic() - began

    def wait_active(self, units: int = 3, timeout: float = 240, app: str = APPLICATION) -> float:
        """Return the seconds until so many units are active, ready, and no others are there."""

        def settled() -> bool:
            found = self.units(app)
            return len(found) == units and all(
                u["workload-status"]["current"] == "active" and u["ready"] for u in found.values()
            )

        return self.wait(f"{units} units active", settled, timeout)

    def wait_idle(self, timeout: float = 120) -> float:
        """Return the seconds until all units are active and no hook is running or due."""
        return self.wait(
            "all units idle",
            lambda: self.status()["sandbox"]["idle"] and tables.is_settled(self.status()),
            timeout,
        )

    def _sight(self) -> str:
        units = [
            pair for a in self.status()["applications"].values() for pair in a["units"].items()
        ]
        return "\n".join(
            f"{name}: {u['workload-status']['current']} {u['workload-status']['message']!r}, "
            f"agent {u['juju-status']['current']}, ready {u['ready']}"
            for name, u in units
        )

    # -- programs ---

    def exec(
        self,
        unit: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        check: bool = True,
        text: str | None = None,
        timeout: float = 60,
    ) -> str:
        """Run a program in a unit's container; return its output. `charm` is a container too."""
        where = ["--unit", unit, *(["--container", container] if container else [])]
        done = subprocess.run(
            self._command(["exec", *where, "--", *command]),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            input=text or "",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise CommandFailedError(f"{command} in {unit}: {done.stdout}{done.stderr}")
        return done.stdout

    def client(self, role: str, request: Mapping[str, Any], timeout: float = 600) -> str:
        """Let the clients' host play a role of `sandbox.clients`; return what it prints."""
        process = self.client_process(role, request)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if process.returncode:
            raise CommandFailedError(f"client {role}: {output}")
        return output

    def client_process(self, role: str, request: Mapping[str, Any]) -> subprocess.Popen[str]:
        """Start the same in the background; its output is a pipe."""
        return self.client_module("sandbox.clients", request, role)

    def client_module(
        self, module: str, request: Mapping[str, Any], *arguments: str
    ) -> subprocess.Popen[str]:
        """Start a module on the clients' host that reads its request from standard input."""
        process = self.start_client([sys.executable, "-m", module, *arguments])
        if process.stdin is not None:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            process.stdin = None
        return process

    def start_client(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start any program on the clients' host; ending the process ends the program."""
        return subprocess.Popen(
            self._command(["exec", "--client", "--", *command]),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextlib.contextmanager
    def serve_repository(self, repository: Path, port: int = _GIT_PORT) -> Iterator[str]:
        """Serve a Git repository from the clients' host; the value is its URL."""
        where = ["--address", FIRST_CLIENT, "--port", str(port)]
        server = self.start_client(
            [sys.executable, "-m", "sandbox.git_server", "--repository", str(repository), *where]
        )
        try:
            self.wait("the Git server listens", lambda: self.listens(port), 30)
            yield f"http://{FIRST_CLIENT}:{port}/{repository.name}"
        finally:
            server.terminate()
            server.wait(timeout=10)

    def listens(self, port: int) -> bool:
        """Say whether anything listens on a port of the clients' host."""
        probe = f"import socket; print(socket.socket().connect_ex(('{FIRST_CLIENT}', {port})))"
        process = self.start_client([sys.executable, "-c", probe])
        output, _ = process.communicate(timeout=20)
        return output.strip() == "0"

    def _command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line; a deploy is told which clock and which Wazuh to take."""
        top = [sys.executable, "-m", "sandbox.cli", "--root", str(self.root)]
        options = []
        if arguments[0] == "deploy":
            options += ["--clock-factor", f"{self.clock_factor:g}"]
            options += ["--wazuh", str(self.wazuh)] if self.wazuh else []
        return [*top, arguments[0], "-m", self.model, *options, *arguments[1:]]

    def _ask(self, command: str, **fields: Any) -> Any:
        return ask(self._model, command, **fields)


def from_environment() -> Driver:
    """Return the driver that SANDBOX_MODEL and SANDBOX_CLOCK_FACTOR ask for."""
    return Driver(
        os.environ.get("SANDBOX_MODEL", "wazuh"),
        float(os.environ.get("SANDBOX_CLOCK_FACTOR", "10")),
    )
