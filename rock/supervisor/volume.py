"""What this unit's volume remembers: the newest epoch, and what this unit was in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from . import files
from .machine import Memory, Term

_SCHEMA = 1


class UnreadableError(Exception):
    """The file is there but is not what this program writes."""


def load(path: Path) -> Memory:
    """Read the memory; a volume without one is new. Raises OSError, UnreadableError."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return Memory()
    except ValueError as error:
        raise UnreadableError(f"{path} is not JSON") from error
    try:
        return _memory(content)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{path} is of another version or damaged") from error


def store(path: Path, memory: Memory) -> None:
    """Write the memory so that it outlives a crash (fsync). Raises OSError."""
    content = {
        "schema": _SCHEMA,
        "epoch": memory.term.epoch,
        "master": memory.term.master,
        "served": memory.served,
        "serving": [memory.serving.epoch, memory.serving.master],
        "incarnation": memory.incarnation,
        "synchronised": memory.synchronised,
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, json.dumps(content).encode(), files.Owner())


def _memory(content: Mapping[str, object]) -> Memory:
    if content["schema"] != _SCHEMA:
        raise ValueError
    serving = content["serving"]
    if not isinstance(serving, list):
        raise TypeError
    return Memory(
        term=Term(_number(content["epoch"]), str(content["master"])),
        served=_number(content["served"]),
        serving=Term(_number(serving[0]), str(serving[1])),
        incarnation=str(content["incarnation"]),
        synchronised=content["synchronised"] is True,
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError
    return value
