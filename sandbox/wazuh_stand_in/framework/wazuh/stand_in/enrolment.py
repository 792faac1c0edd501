"""What agents ask on 1515 and what they are answered (src/os_auth/auth.c, local-server.c)."""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network

from .configuration import ConfigurationError, Node
from .keystore import Agent, KeyStore

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}
ERRORS = {
    9002: "Parsing JSON input",
    9003: "No such function",
    9004: "No such argument",
    9005: "No such name",
    9006: "No such IP",
    9007: "Duplicate IP",
    9008: "Duplicate name",
    9010: "No such agent ID",
    9011: "Agent ID not found",
    9012: "Duplicate ID",
    9014: "Invalid Group(s) Name(s)",
    9015: "Cannot execute this request on a worker node",
}
FIELDS = (("V", "version"), ("G", "group"), ("IP", "IP"), ("K", "key"))


class RefusedError(Exception):
    """An enrolment that is answered with an error; the text is the answer."""


class LocalRefusedError(Exception):
    """A request on the local socket that is answered with an error code."""

    def __init__(self, code: int):
        super().__init__(ERRORS[code])
        self.code = code


@dataclass(frozen=True)
class Request:
    """An agent's request, once the password was right."""

    name: str
    ip: str
    groups: "str | None" = None
    key_hash: "str | None" = None


@dataclass(frozen=True)
class Force:
    """When an agent may take the place of one of the same name, id or address."""

    enabled: bool = True
    key_mismatch: bool = True
    registered: float = 3600.0


def interval(text: str) -> float:
    """Return seconds from `1h`, `30m`, `0`."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", text.strip())
    if not found:
        raise ConfigurationError(f"(1235): Invalid value for element: {text}.")
    return float(found[1]) * UNITS[found[2]]


def force_from(node: "Node | None") -> Force:
    """Read `<force>`; its defaults are on, key mismatch, one hour."""
    if node is None:
        return Force()
    return Force(
        node.value("enabled", "yes") == "yes",
        node.value("key_mismatch", "yes") == "yes",
        interval(node.value("after_registration_time", "1h")),
    )


def parse(line: str, password: "str | None", source: str, *, use_source_ip: bool) -> Request:
    """Read an agent's line; raise RefusedError with the answer it gets."""
    if password is not None:
        before = f"OSSEC PASS: {password} "
        if not line.startswith(before):
            raise RefusedError("ERROR: Invalid password")
        line = line[len(before) :]
    found = re.match(r"OSSEC A:'([^']*)'", line)
    if not found:
        raise RefusedError("ERROR: Invalid request for new agent")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{2,128}", found[1]):
        raise RefusedError(f"ERROR: Invalid agent name: {found[1]}")
    values = _fields(line[found.end() :])
    groups = values.get("G")
    if groups is not None and not re.fullmatch(r"[A-Za-z0-9_.,-]+", groups):
        raise RefusedError(f"ERROR: Invalid group name: {groups}")
    ip = _address(values.get("IP"), source, use_source_ip=use_source_ip)
    return Request(found[1], ip, groups, values.get("K"))


def _fields(rest: str) -> "dict[str, str]":
    values = {}
    for tag, word in FIELDS:
        if rest.startswith(f" {tag}:'"):
            value, quote, rest = rest[len(tag) + 3 :].partition("'")
            if not quote:
                raise RefusedError(f"ERROR: Unterminated {word} field")
            values[tag] = value
    return values


def _address(given: "str | None", source: str, *, use_source_ip: bool) -> str:
    if given is None:
        return source if use_source_ip else "any"
    if given.startswith("src"):
        return source
    if given != "any":
        try:
            ip_network(given, strict=False)
        except ValueError:
            raise RefusedError(f"ERROR: Invalid IP: {given}") from None
    return given


def key_hash(agent: Agent) -> str:
    """Return the digest by which an agent shows the key it holds."""
    return hashlib.sha1(
        f"{agent.id} {agent.name} {agent.ip} {agent.key}".encode(), usedforsecurity=False
    ).hexdigest()


def may_replace(
    store: KeyStore, agent: Agent, key: "str | None", force: Force, now: float
) -> bool:
    """Return whether an enrolled agent may give way to another."""
    if not force.enabled or now - store.dates.get(agent.id, now) < force.registered:
        return False
    return not (key and force.key_mismatch and key_hash(agent) == key)


@dataclass
class Registrar:
    """Adds agents to the key store under the master's rules."""

    store: KeyStore
    force: Force
    host: str
    has_group: "Callable[[str], bool]"

    def enrol(self, request: Request) -> Agent:
        """Enrol an agent that talks to this node; raise RefusedError."""
        for group in (request.groups or "").split(","):
            if group and not self.has_group(group):
                raise RefusedError(f"ERROR: Invalid group: {group}")
        if not self._free(self.store.at(request.ip), request.key_hash, self.force):
            raise RefusedError(f"ERROR: Duplicate IP: {request.ip}")
        if request.name == self.host:
            raise RefusedError(f"ERROR: Invalid agent name: {request.name}")
        if not self._free(self.store.named(request.name), request.key_hash, self.force):
            raise RefusedError(f"ERROR: Duplicate agent name: {request.name}")
        return self.store.add(request.name, request.ip, None, None, time.time())

    def add(self, arguments: "dict[str, object]") -> Agent:
        """Add an agent asked for on the local socket; raise LocalRefusedError."""
        identity, name, ip, groups, key, held = (
            None if arguments.get(word) is None else str(arguments[word])
            for word in ("id", "name", "ip", "groups", "key", "key_hash")
        )
        if name is None or ip is None:
            raise LocalRefusedError(9005 if name is None else 9006)
        if not all(self.has_group(group) for group in (groups or "").split(",") if group):
            raise LocalRefusedError(9014)
        force = force_from_json(arguments.get("force")) or self.force
        if identity and not self._free(self.store.agents.get(identity), held, force):
            raise LocalRefusedError(9012)
        if not self._free(self.store.at(ip), held, force):
            raise LocalRefusedError(9007)
        if name == self.host or not self._free(self.store.named(name), held, force):
            raise LocalRefusedError(9008)
        return self.store.add(name, ip, identity, key, time.time())

    def _free(self, agent: "Agent | None", key: "str | None", force: Force) -> bool:
        if agent is None:
            return True
        if not may_replace(self.store, agent, key, force, time.time()):
            return False
        self.store.remove(agent.id, purge=False)
        return True


def force_from_json(value: object) -> "Force | None":
    """Read the force options of a request on the local socket."""
    if not isinstance(value, dict):
        return None
    return Force(
        bool(value.get("enabled", True)),
        bool(value.get("key_mismatch", True)),
        interval(str(value.get("after_registration_time", "1h"))),
    )
