"""What units say to each other: one JSON object after its length, bounded in size and time.

Whatever does not fit the form is dropped with the connection; nothing of it is acted on.
"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from . import values
from .machine import Answer, Edition, Keys, Phase, Term
from .parts import Parts

_LENGTH = struct.Struct("!I")
_SCHEMA = 1
_NODE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{0,100}")
_TREE = re.compile(r"none|[0-9a-f]{7,64}(-[0-9a-f]{8})?")
_HEX = re.compile(r"[0-9a-f]{0,64}")
#: A question is small; an answer may bring the keys of some hundred thousand agents.
QUESTION = 16 * 1024
ANSWER = 64 * 1024 * 1024


class FormError(Exception):
    """What came is not what units say; the text never repeats it."""


@dataclass(frozen=True, slots=True)
class Message:
    """How a unit is, and what it gives or wishes to have.

    That is client.keys, what people made through the API, the configuration of a commit, and
    the record of deleted agents.
    """

    answer: Answer
    wants_keys: bool = False
    keys: str | None = None
    wants_rbac: bool = False
    rbac: str | None = None
    wants_tree: str = ""
    tree: str | None = None
    kept: str | None = None  # beside the keys: what a returning unit has for the master
    wants_deleted: bool = False
    deleted: str | None = None


def send(stream: socket.socket, message: Message) -> None:
    """Write one message. Raises OSError."""
    text = json.dumps(_dump(message)).encode()
    stream.sendall(_LENGTH.pack(len(text)) + text)


def receive(stream: socket.socket, limit: int, heard: float) -> Message:
    """Read one message of at most `limit` bytes. Raises OSError, FormError."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    if length > limit:
        raise FormError("too large")
    try:
        content = json.loads(_read(stream, length))
        return _load(content, heard)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormError(type(error).__name__) from None


def _read(stream: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = stream.recv(min(count - len(data), 65536))
        if not chunk:
            raise FormError("ended early")
        data += chunk
    return bytes(data)


def _dump(message: Message) -> dict[str, object]:
    answer = message.answer
    return {
        "schema": _SCHEMA,
        "node": answer.node,
        "epoch": answer.term.epoch,
        "master": answer.term.master,
        "served": answer.served,
        "serving-epoch": answer.serving.epoch,
        "serving-master": answer.serving.master,
        "phase": answer.phase,
        "released": answer.released,
        "agents": answer.keys.agents,
        "removed": answer.keys.removed,
        "highest-id": answer.keys.highest,
        "digest": answer.keys.digest,
        "incarnation": answer.incarnation,
        "rbac-epoch": answer.rbac.epoch,
        "rbac-counter": answer.rbac.counter,
        "hears-master": answer.hears_master,
        "leaving": answer.leaving,
        "version": answer.version,
        "wanted": dataclasses.asdict(answer.wanted),
        "in-force": dataclasses.asdict(answer.parts),
        "wants-keys": message.wants_keys,
        "keys": message.keys,
        "wants-rbac": message.wants_rbac,
        "rbac": message.rbac,
        "configuration": answer.tree,
        "offer": answer.offer,
        "wants-tree": message.wants_tree,
        "tree": message.tree,
        "kept": message.kept,
        "deleted": answer.deleted,
        "returns": answer.returns,
        "wants-deleted": message.wants_deleted,
        "deletions": message.deleted,
    }


def _load(content: object, heard: float) -> Message:
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ValueError("schema")
    keys, rbac = (_optional(content, name) for name in ("keys", "rbac"))
    answer = Answer(
        node=values.text(content, "node", _NODE),
        term=_term(content, "epoch", "master"),
        served=values.number(content["served"]),
        serving=_term(content, "serving-epoch", "serving-master"),
        phase=_phase(content),
        released=values.number(content["released"]),
        keys=Keys(
            values.number(content["agents"]),
            values.number(content["highest-id"]),
            values.text(content, "digest", _HEX),
            values.number(content["removed"]),
        ),
        incarnation=values.text(content, "incarnation", _TOKEN),
        rbac=_edition(content),
        hears_master=content.get("hears-master") is True,
        leaving=content.get("leaving") is True,
        version=_version(content),
        wanted=_parts(content, "wanted"),
        parts=_parts(content, "in-force"),
        tree=_tree(content, "configuration"),
        offer=_tree(content, "offer"),
        deleted=_digest(content, "deleted"),
        returns=_digest(content, "returns"),
        heard=heard,
    )
    wants_keys, wants_rbac = (content.get(f"wants-{name}") is True for name in ("keys", "rbac"))
    wants_tree, tree = _tree(content, "wants-tree"), _optional(content, "tree")
    kept, deleted = (_optional(content, name) for name in ("kept", "deletions"))
    wants = content.get("wants-deleted") is True
    return Message(
        answer, wants_keys, keys, wants_rbac, rbac, wants_tree, tree, kept, wants, deleted
    )


def _digest(content: Mapping[str, object], name: str) -> str:
    """Read a digest; units of an older image say none."""
    return values.text(content, name, _HEX) if content.get(name) else ""


def _tree(content: Mapping[str, object], name: str) -> str:
    """Read a commit's name; units of an older image say nothing of it."""
    return values.text(content, name, _TREE) if content.get(name) else ""


def _version(content: Mapping[str, object]) -> str:
    """Read Wazuh's version, which only a sentence needs: nothing is refused for it."""
    value = content.get("version")
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""


def _optional(content: Mapping[str, object], name: str) -> str | None:
    value = content.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError(name)
    return value


def _edition(content: Mapping[str, object]) -> Edition:
    """Read which copy a unit holds; one of an older image says nothing of it."""
    if "rbac-epoch" not in content:
        return Edition()
    return Edition(values.number(content["rbac-epoch"]), values.number(content["rbac-counter"]))


def _term(content: Mapping[str, object], epoch: str, master: str) -> Term:
    """Read who is master; epoch 0 and no name go together."""
    number = values.number(content[epoch])
    if number == 0:
        return Term()
    return Term(number, values.text(content, master, _NODE))


def _parts(content: Mapping[str, object], name: str) -> Parts:
    """Read digests; a unit of an older image says nothing of them."""
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise TypeError(name)
    known = [field.name for field in dataclasses.fields(Parts) if field.name in table]
    return Parts(**{field: values.text(table, field, _TOKEN) for field in known})


def _phase(content: Mapping[str, object]) -> Phase:
    value = content["phase"]
    for phase in get_args(Phase):
        if value == phase:
            return phase
    raise ValueError("phase")
