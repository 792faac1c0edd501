"""One unit of the charm over ops.testing, whose container keeps its files between hooks.

Where ops.testing differs from Juju this module does as Juju does: a label is never given twice,
and peers see the application's secrets as somebody else's.
"""

import collections
import contextlib
import copy
import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ops
import yaml
from ops import testing
from scenario import mocking

from src.charm import WazuhOperatorCharm

ROOT = Path(__file__).resolve().parents[3]
MODEL = "sec"
PEERS = "wazuh-peers"
CONTAINER = "wazuh-server"
_PLACES = ("/etc/wazuh-server", "/run/wazuh-server", "/var/lib/wazuh-repository")
_READS = ("pull", "get_plan", "get_services", "list_files", "get_system_info")
_HOOK_TOOLS = (
    "config_get",
    "relation_get",
    "relation_set",
    "secret_get",
    "secret_set",
    "secret_add",
    "secret_info_get",
    "planned_units",
    "status_set",
    "application_version_set",
    "opened_ports",
    "open_port",
)
_WRITES = (
    "push",
    "make_dir",
    "remove_path",
    "add_layer",
    "replan_services",
    "start_services",
    "stop_services",
    "restart_services",
    "exec",
)


class KilledError(BaseException):
    """The hook's process is gone: no handler of the charm may see it."""


@functools.cache
def _metadata() -> dict[str, Any]:
    """Read charmcraft.yaml; ops.testing would write its parts into the charm's own folder."""
    content = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
    apart = {name: content.pop(name, {}) for name in ("actions", "config")}
    return {"meta": content, **apart}


class Unit:
    """A unit as Juju and Kubernetes keep it; `run` plays one hook on it."""

    def __init__(
        self,
        folder: Path,
        *,
        number: int = 0,
        leader: bool = True,
        databag: Mapping[str, str] | None = None,
        secrets: Iterable[testing.Secret] = (),
        config: Mapping[str, str | int | bool] | None = None,
        reachable: bool = True,
        planned: int = 3,
        app: str = "wazuh-server",
    ) -> None:
        self.folder = folder
        self.name = f"{app}/{number}"
        self.context = testing.Context(
            WazuhOperatorCharm, **_metadata(), app_name=app, unit_id=number
        )
        self.state = testing.State(
            leader=leader,
            config=dict(config or {}),
            relations={
                testing.PeerRelation(
                    PEERS,
                    local_app_data=dict(databag or {}),
                    peers_data={n: {} for n in range(planned) if n != number},
                )
            },
            containers={
                testing.Container(CONTAINER, can_connect=reachable, mounts=_mounts(folder))
            },
            secrets=set(secrets),
            planned_units=planned,
            model=testing.Model(name=MODEL),
        )
        self.calls: collections.Counter[str] = collections.Counter()
        self.tools: collections.Counter[str] = collections.Counter()
        self.pushes: list[tuple[str, dict[str, Any]]] = []
        self.fault: Callable[[int, str], None] | None = None
        self.timeouts: dict[str, float | None] = {}
        self.left: testing.Container | None = None

    def copy(self, folder: Path) -> "Unit":
        """Make another unit that stands exactly here; layers and files are its own."""
        shutil.copytree(self.folder, folder)
        twin = object.__new__(Unit)
        twin.__dict__.update(self.__dict__)
        twin.folder = folder
        twin.calls, twin.tools, twin.pushes = type(self.calls)(), type(self.tools)(), []
        container = copy.deepcopy(dataclasses.replace(self.container, mounts={}))
        twin.configure(containers={dataclasses.replace(container, mounts=_mounts(folder))})
        return twin

    # What a hook does

    def run(self, event: str = "update_status", *args: Any, commit: bool = True) -> testing.State:
        """Play one hook; with `commit` false Juju throws away what it wrote (R19)."""
        self.calls.clear()
        self.tools.clear()
        self.pushes.clear()
        with _watched(self):
            after = self.context.run(self._event(event, args), self.state)
        self.state = after if commit else _rolled_back(self.state, after)
        _refuse_two_secrets_of_a_label(after)
        return after

    def notice(self, key: str) -> testing.State:
        """Play the hook for a Pebble notice of this key."""
        notice = testing.Notice(key=key)
        self.configure(containers={dataclasses.replace(self.container, notices=[notice])})
        return self.run("pebble_custom_notice", notice)

    def act(
        self, action: str = "issue-sender-certificate", /, **parameters: Any
    ) -> dict[str, Any]:
        """Play an action and return its result."""
        event = self.context.on.action(action, params=parameters)
        self.calls.clear()
        with _watched(self):
            self.state = self.context.run(event, self.state)
        return dict(self.context.action_results or {})

    # Other applications

    def relate(self, endpoint: str, interface: str, **options: Any) -> testing.Relation:
        """Relate another application, and let this unit hear of it."""
        relation = testing.Relation(endpoint, interface, remote_app_name="other", **options)
        self.configure(relations={*self.state.relations, relation})
        self.run("created", relation)
        return self.related(endpoint)

    def offer(self, endpoint: str, data: Mapping[str, str]) -> testing.State:
        """Let the other application write its side, whole."""
        relation = dataclasses.replace(self.related(endpoint), remote_app_data=dict(data))
        others = {one for one in self.state.relations if one.id != relation.id}
        self.configure(relations={*others, relation})
        return self.run("changed", relation)

    def part(self, endpoint: str) -> None:
        """Remove the relation."""
        relation = self.related(endpoint)
        self.run("broken", relation)
        others = {one for one in self.state.relations if one.id != relation.id}
        self.configure(relations=others)

    def related(self, endpoint: str) -> testing.Relation:
        """Return the relation of an endpoint."""
        found = [one for one in self.state.relations if one.endpoint == endpoint]
        return next(one for one in found if isinstance(one, testing.Relation))

    def _event(self, name: str, args: tuple[Any, ...]) -> Any:
        on = self.context.on
        if name in ("created", "changed", "broken"):
            return getattr(on, f"relation_{name}")(*args)
        if name.startswith("pebble"):
            return getattr(on, name)(self.container, *args)
        if name.startswith("storage"):
            self.configure(storages={testing.Storage("data")})
            return getattr(on, name)(next(iter(self.state.storages)))
        if name in ("relation_created", "relation_broken"):
            return getattr(on, name)(self.relation)
        if name.startswith("relation"):
            return getattr(on, name)(self.relation, remote_unit=min(self.relation.peers_data))
        return getattr(on, name)(*args)

    # What is around it

    def configure(self, **changes: Any) -> None:
        """Change what Juju says: leader, config, planned_units …"""
        self.state = dataclasses.replace(self.state, **changes)

    def publish(self, databag: Mapping[str, str]) -> None:
        """Replace the application's side of the peer relation, as another unit's leader does."""
        relation = dataclasses.replace(self.relation, local_app_data=dict(databag))
        self.configure(relations={relation})

    def report(self, **changes: Any) -> None:
        """Let the supervisor report; a healthy master of epoch 1 unless told otherwise."""
        content = {
            "schema": 1,
            "epoch": 1,
            "role": "master",
            "phase": "serving",
            "sentence": None,
            "since": "2026-01-01T00:00:00Z",
            "ready": True,
            "keys": 60,
            "highest-id": 63,
            "version": "v4.14.7",
            "ruleset": {"commit": None, "error": None},
            "wake": 0,
        }
        self.write("/run/wazuh-server/state.json", json.dumps(content | changes))

    def fetched(self, **content: Any) -> None:
        """Let the fetching of the configuration repository end."""
        self.write("/var/lib/wazuh-repository/result.json", json.dumps(content))

    def stop(self, service: str) -> None:
        """Let a service of the container end."""
        statuses = dict(self.container.service_statuses)
        statuses[service] = ops.pebble.ServiceStatus.INACTIVE
        self.configure(containers={dataclasses.replace(self.container, service_statuses=statuses)})

    def restart_container(self) -> None:
        """Let Kubernetes make the workload container anew: files, plan and services are gone."""
        for place in _PLACES:
            shutil.rmtree(_source(self.folder, place))
        container = testing.Container(CONTAINER, can_connect=True, mounts=_mounts(self.folder))
        self.configure(containers={container})

    def kill(self, step: int, event: str = "config_changed") -> bool:
        """Play a hook that is killed before its n-th request of Pebble; whether it came to it.

        Juju keeps nothing of such a hook, the container keeps what it was given so far.
        """
        self.fault = _killer(step)
        try:
            self.run(event)
        except KilledError:
            if self.left:
                self.configure(containers={self.left})
            return True
        finally:
            self.fault = None
        return False

    def connect(self, reachable: bool) -> None:
        """Let Pebble answer, or not."""
        self.configure(containers={dataclasses.replace(self.container, can_connect=reachable)})

    # What can be seen

    @property
    def relation(self) -> testing.PeerRelation:
        return next(r for r in self.state.relations if isinstance(r, testing.PeerRelation))

    @property
    def container(self) -> testing.Container:
        return self.state.get_container(CONTAINER)

    @property
    def databag(self) -> dict[str, str]:
        return dict(self.relation.local_app_data)

    @property
    def status(self) -> ops.StatusBase:
        status = self.state.unit_status
        return ops.StatusBase.from_name(status.name, status.message)

    @property
    def desired(self) -> dict[str, Any]:
        return json.loads(self.read("/etc/wazuh-server/desired.json"))

    @property
    def configured(self) -> bool:
        return self.path("/etc/wazuh-server/desired.json").exists()

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        return {
            secret.label: dict(secret.latest_content or secret.tracked_content)
            for secret in self.state.secrets
            if secret.label
        }

    @property
    def writes(self) -> dict[str, int]:
        """What the last hook did to the container."""
        return {name: count for name, count in self.calls.items() if name in _WRITES}

    @property
    def requests(self) -> int:
        """How many requests the last hook made of Pebble."""
        return sum(count for name, count in self.calls.items() if name in _READS + _WRITES)

    @property
    def environment(self) -> dict[str, str]:
        return self.container.plan.services["wazuh"].environment

    def path(self, path: str) -> Path:
        """Where a file of the container lies on this machine."""
        place = next(place for place in _PLACES if path.startswith(place))
        return _source(self.folder, place) / path.removeprefix(place).lstrip("/")

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    def write(self, path: str, text: str) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def files(self) -> dict[str, str]:
        """Every file the charm keeps in the container, by its path.

        Not the answer about `master-state`: the supervisor asks for it, and takes it away.
        """
        root = _source(self.folder, "/etc/wazuh-server")
        return {
            f"/etc/wazuh-server/{path.relative_to(root)}": path.read_text()
            for path in root.rglob("*")
            if path.is_file() and path.name != "master-state.json"
        }


def leader(folder: Path, **options: Any) -> Unit:
    """Make a leader that is configured, reports to serve and is quiet."""
    unit = Unit(folder, **options)
    unit.run("pebble_ready")
    unit.report()
    unit.run("update_status")
    return unit


def peer_of(unit: Unit, folder: Path, *, number: int = 1, **options: Any) -> Unit:
    """Make another unit of the same application, which sees what the leader published."""
    return Unit(
        folder,
        number=number,
        leader=False,
        databag=unit.databag,
        secrets=shared_secrets(unit),
        **options,
    )


def shared_secrets(unit: Unit) -> set[testing.Secret]:
    """Return the application's secrets as the other units see them."""
    return {
        testing.Secret(content, label=label, owner=None) for label, content in unit.secrets.items()
    }


def own(secret: testing.Secret) -> testing.Secret:
    """Return a shared secret as the leader sees it."""
    return dataclasses.replace(secret, owner="app")


def _mounts(folder: Path) -> dict[str, testing.Mount]:
    mounts = {}
    for place in _PLACES:
        source = _source(folder, place)
        source.mkdir(parents=True, exist_ok=True)
        mounts[source.name] = testing.Mount(location=place, source=source)
    return mounts


def _source(folder: Path, place: str) -> Path:
    return folder / place.strip("/").replace("/", "-")


def _rolled_back(before: testing.State, after: testing.State) -> testing.State:
    """Keep only what Juju does not roll back: the container."""
    return dataclasses.replace(before, containers=after.containers)


def _refuse_two_secrets_of_a_label(state: testing.State) -> None:
    labels = [secret.label for secret in state.secrets if secret.label]
    assert len(labels) == len(set(labels)), "Juju refuses two secrets of one label at commit"


def _killer(step: int) -> Callable[[int, str], None]:
    def fault(number: int, _name: str) -> None:
        if number == step:
            raise KilledError

    return fault


@contextlib.contextmanager
def _watched(unit: Unit) -> Iterator[None]:
    """Count every request of Pebble, and let `unit.fault` stand in its way."""
    client, backend = mocking._MockPebbleClient, mocking._MockModelBackend
    with contextlib.ExitStack() as stack:
        for name in _READS + _WRITES:
            if hasattr(client, name):
                original = getattr(client, name)
                stack.enter_context(_replaced(client, name, _counting(unit, name, original)))
        for name in _HOOK_TOOLS:
            original = getattr(backend, name)
            stack.enter_context(_replaced(backend, name, _noting(unit, name, original)))
        yield


@contextlib.contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _noting(unit: Unit, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        unit.tools[name] += 1
        return original(self, *args, **options)

    return call


def _counting(unit: Unit, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        unit.calls[name] += 1
        unit.left = self._container
        unit.timeouts[name] = options.get("timeout")
        if unit.fault:
            unit.fault(sum(unit.calls.values()), name)
        if name == "push":
            unit.pushes.append((str(args[0]), options))
            _let_write(self._root / str(args[0])[1:])
        return original(self, *args, **options)

    return call


def _let_write(path: Path) -> None:
    """Let a file be written anew whoever runs the tests: Pebble is root, whom no mode stops."""
    if path.exists():
        path.chmod(0o600)
