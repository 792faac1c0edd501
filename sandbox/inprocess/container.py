"""One workload container: Pebble over ops-scenario's, files in memory, effects counted."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO, NoReturn, TextIO

import ops
from ops.pebble import PathError
from scenario import Container, State
from scenario.mocking import _MockPebbleClient

from sandbox.inprocess.effects import Effects

Source = str | bytes | BinaryIO | TextIO
MODES = 0o777


@dataclass(frozen=True, slots=True)
class File:
    """A file in a container. `mode` is what was asked for, owners are names."""

    content: bytes
    mode: int
    user: str | None
    group: str | None


@dataclass(slots=True)
class Box:
    """A container between two hooks. A restart makes another box: files and layers are gone."""

    name: str
    boot: int
    up: bool = False
    """Whether Pebble answers yet."""
    up_at: float = 0.0
    """When it will."""
    files: dict[str, File] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    running: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Services that run, with the configuration they were started with."""
    runs: dict[str, int] = field(default_factory=dict)
    """How often each service was started: another number is another process."""
    scenario: Container = field(init=False)

    def __post_init__(self) -> None:
        self.scenario = Container(self.name, can_connect=True)

    def write(self, path: str, text: str) -> None:
        """Write a file as the workload does."""
        self.files[path] = File(text.encode(), 0o644, "root", "root")

    def read(self, path: str) -> str | None:
        """Read a file as the workload does; None when there is none."""
        found = self.files.get(path)
        return None if found is None else found.content.decode()

    def start(self, service: str, settings: Mapping[str, Any]) -> None:
        """Start a service, or start it again."""
        self.running[service] = settings
        self.runs[service] = self.runs.get(service, 0) + 1
        self.status(service, ops.pebble.ServiceStatus.ACTIVE)

    def stop(self, service: str) -> None:
        """End a service."""
        self.running.pop(service, None)
        self.status(service, ops.pebble.ServiceStatus.INACTIVE)

    def status(self, service: str, status: ops.pebble.ServiceStatus) -> None:
        """Set what Pebble says of a service."""
        statuses = dict(self.scenario.service_statuses)
        statuses[service] = status
        object.__setattr__(self.scenario, "service_statuses", statuses)


class Pebble(_MockPebbleClient):
    """Pebble of a box. Replan starts again what changed, as the real one does.

    ops-scenario wipes the container's files before every event and starts nothing again, hence
    the own file methods and `replan_services`; plan, layers and checks are ops-scenario's.
    """

    def __init__(self, box: Box, effects: Effects) -> None:
        self._box = box
        self._effects = effects
        self._container_name = box.name
        self.socket_path = f"/charm/containers/{box.name}/pebble.socket"
        self._state = State(containers={box.scenario})
        self._notices = {}
        self._check_infos = {}
        self._changes = {}

    def _check_connection(self) -> None:
        if not self._box.up:
            raise ops.pebble.ConnectionError("cannot connect to Pebble")

    def _count(self, kind: str) -> None:
        self._effects.pebble[kind] += 1
        self._effects.step(f"pebble {kind}")
        self._check_connection()

    # -- plan and services ----------------------------------------------------------------

    def get_system_info(self) -> ops.pebble.SystemInfo:
        """Give Juju's Pebble version."""
        self._count("system-info")
        return ops.pebble.SystemInfo(version="1.26.0")

    def get_plan(self) -> ops.pebble.Plan:
        """Give the plan."""
        self._count("plan")
        return super().get_plan()

    def get_services(self, names: list[str] | None = None) -> list[ops.pebble.ServiceInfo]:
        """Give the services."""
        self._count("services")
        return super().get_services(names)

    def add_layer(
        self,
        label: str,
        layer: str | ops.pebble.LayerDict | ops.pebble.Layer,
        *,
        combine: bool = False,
    ) -> None:
        """Add or combine a layer."""
        self._count("layer")
        text = layer.to_yaml() if isinstance(layer, ops.pebble.Layer) else str(layer)
        self._effects.shown("layer", text)
        super().add_layer(label, layer, combine=combine)

    def replan_services(self, timeout: float = 30.0, delay: float = 0.1) -> None:
        """Start what is enabled and not running, and again what runs with other settings."""
        self._count("replan")
        self._effects.replans += 1
        for name, service in self._render_services().items():
            settings = service.to_dict()
            running = self._box.running.get(name)
            enabled = service.startup == "enabled"
            if (running is None and enabled) or (running is not None and running != settings):
                self._start(name, dict(settings))

    def start_services(
        self, services: list[str], timeout: float = 30.0, delay: float = 0.1
    ) -> ops.pebble.ChangeID:
        """Start services that are not running."""
        self._count("start")
        change = super().start_services(services, timeout, delay)
        for name in services:
            if name not in self._box.running:
                self._start(name, dict(self._render_services()[name].to_dict()))
        return change

    def stop_services(
        self, services: list[str], timeout: float = 30.0, delay: float = 0.1
    ) -> ops.pebble.ChangeID:
        """End services."""
        self._count("stop")
        change = super().stop_services(services, timeout, delay)
        for name in services:
            self._box.stop(name)
        self._effects.started.extend(f"-{name}" for name in services)
        return change

    def restart_services(
        self, services: list[str], timeout: float = 30.0, delay: float = 0.1
    ) -> ops.pebble.ChangeID:
        """Start services again."""
        self._count("restart")
        change = super().restart_services(services, timeout, delay)
        for name in services:
            self._start(name, dict(self._render_services()[name].to_dict()))
        return change

    def _start(self, name: str, settings: Mapping[str, Any]) -> None:
        self._box.start(name, settings)
        self._effects.started.append(name)

    def exec(self, command: list[str], **settings: Any) -> NoReturn:
        """Refuse every command: the charm runs none."""
        self._count("exec")
        self._effects.execs.append(tuple(command))
        raise ops.pebble.ExecError(command, 127, "", f"{command[0]}: not found")

    # -- files ------------------------------------------------------------------------------

    def pull(self, path: str | PurePath, *, encoding: str | None = "utf-8") -> Any:
        """Read a file."""
        self._count("pull")
        found = self._box.files.get(str(path))
        if found is None:
            raise PathError("not-found", f"stat {path}: no such file or directory")
        raw = io.BytesIO(found.content)
        return raw if encoding is None else io.TextIOWrapper(raw, encoding=encoding)

    def push(
        self,
        path: str | PurePath,
        source: Any,
        *,
        encoding: str = "utf-8",
        make_dirs: bool = False,
        permissions: int | None = None,
        user_id: int | None = None,
        user: str | None = None,
        group_id: int | None = None,
        group: str | None = None,
    ) -> None:
        """Write a file; the folder must be there unless `make_dirs`."""
        self._count("push")
        folder = str(PurePath(path).parent)
        if not make_dirs and not self._is_folder(folder):
            raise PathError("not-found", f"parent directory not found: {path}")
        self._make(folder)
        content = source.read() if hasattr(source, "read") else source
        raw = content.encode(encoding) if isinstance(content, str) else bytes(content)
        mode = 0o644 if permissions is None else permissions & MODES
        self._box.files[str(path)] = File(raw, mode, user, group)
        self._effects.pushes.append(str(path))

    def make_dir(
        self,
        path: str | PurePath,
        *,
        make_parents: bool = False,
        permissions: int | None = None,
        user_id: int | None = None,
        user: str | None = None,
        group_id: int | None = None,
        group: str | None = None,
    ) -> None:
        """Make a folder."""
        self._count("make-dir")
        if self._is_folder(str(path)):
            if not make_parents:
                raise PathError("generic-file-error", f"mkdir {path}: file exists")
            return
        if not make_parents and not self._is_folder(str(PurePath(path).parent)):
            raise PathError("not-found", f"parent directory not found: {path}")
        self._make(str(path))
        self._box.folders[str(path)] = permissions or 0o755
        self._effects.pushes.append(f"{path}/")

    def remove_path(self, path: str | PurePath, *, recursive: bool = False) -> None:
        """Remove a file or a folder."""
        self._count("remove")
        below = [name for name in self._box.files if name.startswith(f"{path}/")]
        if str(path) not in self._box.files and not self._is_folder(str(path)) and not recursive:
            raise PathError("not-found", f"remove {path}: no such file or directory")
        if below and not recursive:
            raise PathError("generic-file-error", "cannot remove non-empty directory")
        for name in [str(path), *below]:
            self._box.files.pop(name, None)
        self._box.folders.pop(str(path), None)
        self._effects.pushes.append(f"-{path}")

    def _is_folder(self, path: str) -> bool:
        return path in {"/", "/etc", "/run", "/var", "/var/lib"} or path in self._box.folders

    def _make(self, path: str) -> None:
        for parent in (PurePath(path), *PurePath(path).parents):
            self._box.folders.setdefault(str(parent), 0o755)
