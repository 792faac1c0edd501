"""Juju's hook tools: from a command line to a call of the model's hook, and its answer as text."""

import argparse
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import yaml

from sandbox.model.errors import ToolError
from sandbox.model.interface import HookInterface

NAMES = (
    "action-fail",
    "action-get",
    "action-log",
    "action-set",
    "application-version-set",
    "close-port",
    "config-get",
    "credential-get",
    "goal-state",
    "is-leader",
    "juju-log",
    "juju-reboot",
    "leader-get",
    "network-get",
    "open-port",
    "opened-ports",
    "relation-get",
    "relation-ids",
    "relation-list",
    "relation-model-get",
    "relation-set",
    "resource-get",
    "secret-add",
    "secret-get",
    "secret-grant",
    "secret-ids",
    "secret-info-get",
    "secret-remove",
    "secret-revoke",
    "secret-set",
    "state-delete",
    "state-get",
    "state-set",
    "status-get",
    "status-set",
    "storage-get",
    "storage-list",
    "unit-get",
)


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a hook tool; `files` holds what its arguments name, by path."""

    tool: str
    args: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the tool prints and how it exits."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0


def answer(hook: HookInterface, call: Call, now: float) -> Answer:
    """Carry out `call` for `hook`; `now` is the model's clock, to which expiry is relative."""
    run = _TOOLS.get(call.tool)
    if run is None:
        return Answer(stderr=f"ERROR unknown hook tool {call.tool}\n", code=2)
    try:
        asked = _parse(call.tool, call.args)
        value = run(hook, asked, _Context(call.files, now))
    except ToolError as error:
        return Answer(stderr=f"ERROR {error.text}\n", code=error.code)
    return Answer(stdout=_text(value, asked.format))


@functools.lru_cache(maxsize=1024)
def _parse(tool: str, args: tuple[str, ...]) -> argparse.Namespace:
    """Parse once what is asked again and again; nobody changes what comes of it."""
    return _PARSERS[tool].parse_args(args)


@dataclass(frozen=True, slots=True)
class _Context:
    files: Mapping[str, str]
    now: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ToolError(message, 2)


def _text(value: Any, form: str) -> str:
    if value is None:
        return ""
    if form == "json":
        return json.dumps(value) + "\n"
    if isinstance(value, str):
        return value + "\n"
    if isinstance(value, list):
        return "".join(f"{item}\n" for item in value)
    return yaml.safe_dump(value) if form == "yaml" or isinstance(value, dict) else f"{value}\n"


def _mapping(asked: argparse.Namespace, context: _Context) -> dict[str, str]:
    """Return key=value arguments together with the content of `--file`."""
    data: dict[str, str] = {}
    if asked.file is not None:
        content = context.files[asked.file]
        loaded = json.loads(content) if content.startswith("{") else yaml.safe_load(content)
        data.update({key: str(value) for key, value in (loaded or {}).items()})
    data.update(_pairs(asked.pairs, context))
    return data


def _pairs(pairs: list[str], context: _Context) -> dict[str, str]:
    data: dict[str, str] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found:
            raise ToolError(f'expected "key=value", got "{pair}"', 2)
        if key.endswith("#file"):
            key, value = key.removesuffix("#file"), context.files[value]
        data[key] = value
    return data


def _relation(hook: HookInterface, asked: argparse.Namespace) -> str:
    relation = asked.relation or hook.environment().get("JUJU_RELATION_ID")
    if relation is None:
        raise ToolError("no relation id specified", 2)
    return relation


def _expiry(text: str | None, context: _Context) -> float | None:
    if text is None:
        return None
    then = datetime.fromisoformat(text)
    return context.now + (then - datetime.now(UTC)).total_seconds()


def _relation_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    member = asked.member or hook.environment().get("JUJU_REMOTE_UNIT", "")
    data = hook.relation_get(_relation(hook, asked), member, app=asked.app)
    return data if asked.key in {None, "-"} else data.get(asked.key)


def _relation_set(hook: HookInterface, asked: argparse.Namespace, context: _Context) -> None:
    hook.relation_set(_relation(hook, asked), _mapping(asked, context), app=asked.app)


def _relation_list(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    return hook.relation_list(_relation(hook, asked), app=asked.app)


def _config_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    values = hook.config_get()
    return values if asked.key in {None, "-"} else values.get(asked.key)


def _action_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    values = hook.action_get()
    for part in (asked.key or "").split(".") if asked.key else ():
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _secret_add(hook: HookInterface, asked: argparse.Namespace, context: _Context) -> str:
    return hook.secret_add(
        _mapping(asked, context),
        label=asked.label,
        description=asked.description,
        expire=_expiry(asked.expire, context),
        rotate=asked.rotate,
        owner="unit" if asked.owner == "unit" else "application",
    )


def _secret_set(hook: HookInterface, asked: argparse.Namespace, context: _Context) -> None:
    hook.secret_set(
        asked.uri,
        _mapping(asked, context) or None,
        label=asked.label,
        description=asked.description,
        expire=_expiry(asked.expire, context),
        rotate=asked.rotate,
    )


def _secret_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    content = hook.secret_get(asked.uri, label=asked.label, refresh=asked.refresh, peek=asked.peek)
    return content if asked.key is None else content.get(asked.key)


def _secret_remove(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> None:
    hook.secret_remove(asked.uri, revision=int(asked.revision) if asked.revision else None)


def _status_set(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> None:
    hook.status_set(asked.status, " ".join(asked.message), app=asked.application)


def _state_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    return hook.state_get(None if asked.key in {None, "-"} else asked.key)


def _network_get(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> Any:
    return hook.network_get(asked.binding, asked.relation)


def _each(method: str, values: str) -> Callable[..., None]:
    def run(hook: HookInterface, asked: argparse.Namespace, _: _Context) -> None:
        for value in getattr(asked, values):
            getattr(hook, method)(value)

    return run


_Tool = Callable[[HookInterface, argparse.Namespace, _Context], Any]
_TOOLS: dict[str, _Tool] = {
    "action-fail": lambda h, a, _: h.action_fail(" ".join(a.message)),
    "action-get": _action_get,
    "action-log": lambda h, a, _: h.action_log(" ".join(a.message)),
    "action-set": lambda h, a, c: h.action_set(_pairs(a.pairs, c)),
    "application-version-set": lambda h, a, _: h.application_version_set(a.version),
    "close-port": _each("close_port", "ports"),
    "config-get": _config_get,
    "credential-get": lambda h, a, _: h.credential_get(),
    "goal-state": lambda h, a, _: h.goal_state(),
    "is-leader": lambda h, a, _: h.is_leader(),
    "juju-log": lambda h, a, _: h.juju_log(a.level, " ".join(a.message)),
    "juju-reboot": lambda h, a, _: h.juju_reboot(now=a.now),
    "leader-get": lambda h, a, _: h.leader_get(),
    "network-get": _network_get,
    "open-port": _each("open_port", "ports"),
    "opened-ports": lambda h, a, _: h.opened_ports(),
    "relation-get": _relation_get,
    "relation-ids": lambda h, a, _: h.relation_ids(a.endpoint),
    "relation-list": _relation_list,
    "relation-model-get": lambda h, a, _: h.relation_model_get(_relation(h, a)),
    "relation-set": _relation_set,
    "resource-get": lambda h, a, _: h.resource_get(a.name),
    "secret-add": _secret_add,
    "secret-get": _secret_get,
    "secret-grant": lambda h, a, _: h.secret_grant(a.uri, relation=a.relation, unit=a.unit),
    "secret-ids": lambda h, a, _: h.secret_ids(),
    "secret-info-get": lambda h, a, _: h.secret_info_get(a.uri, label=a.label),
    "secret-remove": _secret_remove,
    "secret-revoke": lambda h, a, _: h.secret_revoke(
        a.uri, relation=a.relation, app=a.app, unit=a.unit
    ),
    "secret-set": _secret_set,
    "state-delete": lambda h, a, _: h.state_delete(a.key),
    "state-get": _state_get,
    "state-set": lambda h, a, c: h.state_set(_mapping(a, c)),
    "status-get": lambda h, a, _: h.status_get(app=a.application),
    "status-set": _status_set,
    "storage-get": lambda h, a, _: h.storage_get(a.storage),
    "storage-list": lambda h, a, _: h.storage_list(a.name),
    "unit-get": lambda h, a, _: h.unit_get(a.key),
}

# Flags and arguments by tool: `--x` takes a value, `--x!` none, `--x~` true or false.
_SHAPES = {
    "action-fail": "message*",
    "action-get": "key?",
    "action-log": "message*",
    "action-set": "pairs*",
    "application-version-set": "version",
    "close-port": "--endpoints ports*",
    "config-get": "key?",
    "juju-log": "--log-level=level message*",
    "juju-reboot": "--now!",
    "network-get": "-r=relation binding",
    "open-port": "--endpoints ports*",
    "opened-ports": "--endpoints!",
    "relation-get": "-r=relation --app! key? member?",
    "relation-ids": "endpoint",
    "relation-list": "-r=relation --app!",
    "relation-model-get": "-r=relation",
    "relation-set": "-r=relation --app! --file pairs*",
    "resource-get": "name",
    "secret-add": "--label --description --expire --rotate --owner --file pairs*",
    "secret-get": "--label --refresh! --peek! uri? key?",
    "secret-grant": "--relation --unit uri",
    "secret-info-get": "--label uri?",
    "secret-remove": "--revision uri",
    "secret-revoke": "--relation --app --unit uri",
    "secret-set": "--label --description --expire --rotate --owner --file uri pairs*",
    "state-delete": "key",
    "state-get": "key?",
    "state-set": "--file pairs*",
    "status-get": "--application~ --include-data!",
    "status-set": "--application~ status message*",
    "storage-get": "-s=storage key?",
    "storage-list": "name?",
    "unit-get": "key",
}


def _parser(tool: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=tool, add_help=False, allow_abbrev=False)
    parser.add_argument("--format", default="smart")
    for word in _SHAPES.get(tool, "").split():
        flag, _, name = word.partition("=")
        dest = name or flag.strip("-~!").replace("-", "_")
        if word.endswith("!"):
            parser.add_argument(flag[:-1], action="store_true")
        elif word.endswith("~"):
            parser.add_argument(flag[:-1], type=_truth, nargs="?", const=True, default=False)
        elif word.startswith("-"):
            parser.add_argument(flag, dest=dest)
        elif word[-1] in "?*":
            parser.add_argument(word[:-1], nargs=word[-1])
        else:
            parser.add_argument(word)
    if tool == "juju-log":
        parser.set_defaults(level="INFO")
    return parser


def _truth(text: str) -> bool:
    return text.casefold() == "true"


_PARSERS = {tool: _parser(tool) for tool in NAMES}
