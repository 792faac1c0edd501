"""The workload container: the only place that touches it, through Pebble alone."""

import contextlib
import http.client
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ops

from src import files, origin, values

CONTAINER = "wazuh-server"
STATE_NOTICE = "wazuh-server.local/state"
REPORT = "/run/wazuh-server/state.json"
OVERVIEW = "/run/wazuh-server/overview.json"
PREPARED = "/run/wazuh-server/master-state"
RESULT = "/var/lib/wazuh-repository/result.json"
_LONGEST_SENTENCE = 300
_TREE = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?(-[0-9a-f]{8})?")
"""A fetched tree: the commit, and a short digest of the subdirectory where one is set."""
_UNREACHABLE = (ops.pebble.Error, OSError, http.client.HTTPException)


class UnreachableError(Exception):
    """Pebble did not take a request; the text says which and why, without any content."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the supervisor says of itself; the empty value stands for none yet."""

    epoch: int = 0
    role: str = ""
    phase: str = ""
    sentence: str | None = None
    ready: bool = False
    highest_id: int = 0
    contested: bool = False
    orphaned: bool = False
    """Whether the master of `epoch` has not been heard for longer than it may be away."""
    serving_epoch: int = 0
    """The newest epoch whose master is known to have taken over."""
    answering: tuple[str, ...] = ()
    """The other nodes that are heard."""
    asks: bool = False
    """Whether it needs what the secret `master-state` holds before it can go on."""
    prepared: str = ""
    """The digest of what it has prepared for that secret; empty when nothing."""
    keys_prepared: bool = True
    """Whether the agents' keys are in it."""
    conflicts: tuple[str, ...] = ()
    """Agents that only this unit knew and that could not be put back, in a line each."""
    version: str = ""
    ruleset_error: str | None = None
    commit: str = ""
    """The commit of the configuration repository that is in place; empty when there is none."""
    mended: str | None = None
    """What of it somebody had changed by hand, and was put back."""
    indexer_away: str | None = None
    """Since when the indexer takes nothing, and why; None while it does."""
    in_force: Mapping[str, str] = field(default_factory=dict)
    """The generations that the serving master is known to have brought into force."""

    @property
    def exists(self) -> bool:
        """Tell whether a supervisor has ever reported since the container started."""
        return bool(self.phase)


@dataclass(frozen=True, slots=True)
class Applied:
    """The charm's own memory of what it last brought into the container, whole.

    It lies in the container and goes with it, and is taken away before anything is changed: so it
    never claims more than what is there, wherever a hook is killed.
    """

    inputs: str = ""
    pushed: Mapping[str, str] = field(default_factory=dict)
    layer: Mapping[str, Mapping[str, Mapping]] = field(default_factory=dict)
    password: str = ""
    renew_after: str = ""
    wake: int = 0
    serve: Mapping[str, str | None] | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why which option was not taken."""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """The small options as they were last taken: what counts where one is wrong now."""
    authorities: str = ""
    """The last good value of the option `logs-ca-cert`, PEM."""
    related: str = ""
    """A keyed digest of the relations' data, when this unit last read them as leader."""
    address: str = ""
    """Where the application is reached from outside, as the relations told the leader."""
    until: str = ""
    """When another authority's certificate, if one serves, ends: ISO 8601, UTC."""
    balancer: str = ""
    """Where the Service is reached from outside: a load balancer's address, or a node's."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The nodes' ports by those they lead to, when it is a node that is reached."""
    kept: str = ""
    """The digest of what this unit, as leader, last saw that the secret `master-state` holds."""
    kept_at: str = ""
    """When it last looked, and put there what is newer, in ISO 8601 and UTC."""
    notes: Sequence[Sequence[str | bool]] = ()
    """What there is to say of the relations: subject, sentence, whether somebody has to act."""
    leaving: bool = False
    """Whether this unit is being removed: then nothing is changed here any more."""
    awaits: Mapping[str, str] = field(default_factory=dict)
    """The generations that end a rotation once they are in force."""
    policy: str = ""
    """The rotation policy that every secret had when the leader last looked."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of the configuration repository; the empty value stands for nothing yet."""

    request: str = ""
    commit: str | None = None
    error: str | None = None
    option: str = origin.REPOSITORY
    """The option that has to be set right when there is an error."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What a hook finds in the container."""

    reachable: bool = False
    trouble: str | None = None
    applied: Applied = Applied()
    report: Report = Report()
    fetched: Fetched = Fetched()
    plan: Mapping[str, Mapping[str, Mapping]] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    """The services that are active, or that Pebble itself is about to start again."""

    def holds(self, layer: Mapping[str, Mapping[str, Mapping]]) -> bool:
        """Tell whether Pebble's plan has this layer and runs what it enables.

        A replan that was asked for without waiting may have come to nothing; then the service is
        not running although the plan is right, and it is asked for again.
        """
        enabled = {
            name
            for name, service in layer.get("services", {}).items()
            if service.get("startup") == "enabled"
        }
        return bool(enabled) and enabled <= self.running and _includes(self.plan, layer)


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply` brings into the container."""

    rendered: files.Rendered
    applied: Applied
    """The memory to leave behind; what was pushed and the inputs are filled in by `apply`."""
    fetch: bool = False
    """Tell whether the configuration repository is to be fetched now."""


def look(container: ops.Container, *, repository: bool) -> Workload:
    """Find out what the container holds and does, in four or five requests."""
    try:
        applied = _applied(_pull(container, files.APPLIED))
        return Workload(
            reachable=True,
            applied=applied,
            report=_report(_pull(container, REPORT)),
            fetched=_fetched(_pull(container, RESULT) if repository else {}),
            plan=_plan(container),
            running=_running(container),
        )
    except _UNREACHABLE as error:
        return Workload(trouble=type(error).__name__)


def apply(container: ops.Container, found: Workload, change: Change) -> bool:
    """Push what differs, `desired.json` last, and let Pebble replan without waiting for it.

    Tells whether anything differed. Raises UnreachableError; the next hook then begins again with
    everything.
    """
    with _reaching():
        return _apply(container, found, change)


def fetch(container: ops.Container) -> None:
    """Have the configuration repository fetched, without waiting. Raises UnreachableError."""
    with _reaching():
        _start_fetching(container)


def leave(container: ops.Container, found: Workload) -> None:
    """Tell the supervisor that this unit is being removed. Raises UnreachableError."""
    with _reaching():
        _push(container, files.File(files.LEAVING, ""))
        _push(container, _memory(found.applied, leaving=True))


def pull_overview(container: ops.Container) -> dict:
    """Fetch what the supervisor hears of all units; empty before it wrote. UnreachableError."""
    with _reaching(silent=True):
        return _pull(container, OVERVIEW)


def pull_state(container: ops.Container) -> str:
    """Fetch what the supervisor has prepared for `master-state`. Raises UnreachableError."""
    with _reaching(silent=True):
        return container.pull(PREPARED).read()


def give_state(container: ops.Container, answer: str) -> None:
    """Give the supervisor what `master-state` holds, once. Raises UnreachableError."""
    with _reaching(silent=True):
        if _pull(container, files.MASTER_STATE) != json.loads(answer):
            _push(container, files.File(files.MASTER_STATE, answer))


def remember(container: ops.Container, found: Workload, kept: str, kept_at: str) -> None:
    """Remember what `master-state` holds, and when this unit looked. Raises UnreachableError."""
    with _reaching():
        _push(container, _memory(found.applied, kept=kept, kept_at=kept_at))


@contextlib.contextmanager
def _reaching(*, silent: bool = False) -> Iterator[None]:
    """Make one error of all that Pebble and the way to it may raise.

    `silent`: say its kind only, where its text might show a secret.
    """
    try:
        yield
    except _UNREACHABLE as error:
        kind = type(error).__name__
        raise UnreachableError(kind if silent else f"{kind}: {error}") from None


def _apply(container: ops.Container, found: Workload, change: Change) -> bool:
    rendered = change.rendered
    known = found.applied.pushed
    pushed = rendered.digests()
    layer = files.without_indexer(rendered.layer, found.plan)
    memory = _memory(change.applied, inputs=rendered.inputs, pushed=pushed, layer=layer)
    if memory == _memory(found.applied) and found.holds(layer):
        if change.fetch:
            _start_fetching(container)
        return False
    if not found.applied.inputs:
        for path, mode in files.DIRECTORIES.items():
            container.make_dir(path, make_parents=True, permissions=mode)
    # What may be there from now on is on record, without a digest: a hook that is killed here
    # leaves no file behind that nobody knows of.
    unsure = dict.fromkeys([*known, *pushed], "")
    _push(container, _memory(found.applied, inputs="", pushed=unsure, layer={}))
    for path in sorted(set(known) - set(pushed)):
        # Recursive, since only then a file that is gone already is no error.
        container.remove_path(path, recursive=True)
    for file in rendered.files:
        if known.get(file.path) != file.digest:
            _push(container, file)
    if not found.holds(layer):
        container.add_layer(files.LAYER, ops.pebble.Layer(_mutable(layer)), combine=True)
        container.pebble.replan_services(timeout=0)
    if change.fetch:
        _start_fetching(container)
    _push(container, memory)
    return True


def _start_fetching(container: ops.Container) -> None:
    container.pebble.start_services(["repository"], timeout=0)


def _push(container: ops.Container, file: files.File) -> None:
    owner = file.owner
    container.push(
        file.path,
        file.content,
        make_dirs=True,
        permissions=owner.mode,
        user=owner.user,
        group=owner.group,
    )


def _memory(applied: Applied, **changes: object) -> files.File:
    memory = {name: getattr(applied, name) for name in Applied.__slots__} | changes
    return files.File(files.APPLIED, json.dumps(memory, sort_keys=True))


def _mutable(layer: Mapping[str, Mapping[str, Mapping]]) -> ops.pebble.LayerDict:
    return json.loads(json.dumps(layer))


def _includes(whole: object, part: object) -> bool:
    """Tell whether every key of `part` has the same value in `whole`, at any depth."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            key in whole and _includes(whole[key], value) for key, value in part.items()
        )
    return whole == part


def _pull(container: ops.Container, path: str) -> dict:
    """Read the JSON object of a file; empty when there is none."""
    try:
        content = container.pull(path, encoding=None).read()
    except ops.pebble.PathError:
        return {}
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _plan(container: ops.Container) -> dict:
    return dict(container.get_plan().to_dict())


def _running(container: ops.Container) -> frozenset[str]:
    """Name the services that are up, or that Pebble itself is about to start again (`backoff`)."""
    services = container.get_services()
    return frozenset(
        name
        for name, service in services.items()
        if service.is_running() or service.current == "backoff"
    )


_TYPES: dict[str, type | types.UnionType] = {
    "inputs": str,
    "pushed": dict,
    "layer": dict,
    "password": str,
    "renew_after": str,
    "wake": int,
    "serve": dict | None,
    "problems": dict,
    "settings": dict,
    "authorities": str,
    "kept": str,
    "kept_at": str,
    "related": str,
    "address": str,
    "until": str,
    "balancer": str,
    "ports": dict,
    "notes": list,
    "leaving": bool,
    "awaits": dict,
    "policy": str,
}


def _applied(value: Mapping) -> Applied:
    """Take what has the right type; another version of the charm may have written the rest."""
    known = {name: item for name, item in value.items() if isinstance(item, _TYPES.get(name, ()))}
    return Applied(**known)


def _report(value: Mapping) -> Report:
    told, in_force = value.get("ruleset"), value.get("in-force")
    ruleset = told if isinstance(told, dict) else {}
    commit = values.text(ruleset.get("commit"))
    return Report(
        epoch=values.whole(value.get("epoch")),
        role=values.text(value.get("role")),
        phase=values.text(value.get("phase")),
        sentence=_sentence(value.get("sentence")),
        ready=value.get("ready") is True,
        highest_id=values.whole(value.get("highest-id")),
        contested=value.get("contested") is True,
        orphaned=value.get("orphaned") is True,
        serving_epoch=values.whole(value.get("serving")),
        answering=values.texts(value.get("answering")),
        asks=value.get("asks") is True,
        prepared=values.text(value.get("prepared")),
        keys_prepared=value.get("keys-prepared") is not False,
        conflicts=values.texts(value.get("conflicts")),
        version=values.text(value.get("version")),
        ruleset_error=_sentence(ruleset.get("error")),
        commit=commit if _TREE.fullmatch(commit) else "",
        mended=_sentence(ruleset.get("mended")),
        indexer_away=_absence(value.get("indexer")),
        in_force=in_force if isinstance(in_force, dict) else {},
    )


def _absence(value: object) -> str | None:
    """Say since when, to the minute, and why; nothing while all is well."""
    found = value if isinstance(value, dict) else {}
    since, reason = values.text(found.get("since")), _sentence(found.get("reason"))
    return f"{since[:16].replace('T', ' ')} UTC ({reason})" if since and reason else None


def _fetched(value: Mapping) -> Fetched:
    commit, option = values.text(value.get("commit")), value.get("option")
    return Fetched(
        request=values.text(value.get("request")),
        commit=commit if _TREE.fullmatch(commit) else None,
        error=_sentence(value.get("error")),
        option=option if option in origin.OPTIONS else origin.REPOSITORY,
    )


def _sentence(value: object) -> str | None:
    """Take a text as one line of a length that a status shows."""
    return values.line(value, _LONGEST_SENTENCE) or None
