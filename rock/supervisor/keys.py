"""client.keys: which agents may report. Pure but for `load` and `store`.

A line is `id name ip key`. A removed agent's line stays as `id !name ip key` (older
versions: `#`), so that its id is never given again (src/shared/keys.c).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import files
from .machine import Keys

_GAP = f" !reserved any {'0' * 64}"
_REMOVED = ("!", "#")
_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One agent: id, name without a removal's mark, whether removed, and the text."""

    id: int
    name: str
    removed: bool
    text: str

    @property
    def gap(self) -> bool:
        """Only keeps an id from being given; an agent may be called `reserved` too."""
        return self.removed and self.text.endswith(_GAP)

    @property
    def agent(self) -> str:
        """The agent's text without a removal's mark: who it is, removed or not."""
        number, _, ip, key = self.text.split(" ")
        return f"{number} {self.name} {ip} {key}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """One id that two agents have: who keeps it, and who loses it."""

    id: int
    kept: str
    lost: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The union, and what could not be had in one file."""

    text: str
    conflicts: tuple[Conflict, ...]


def parse(text: str) -> list[Line]:
    """Read what Wazuh would read; comments and malformed lines are left out."""
    return [line for line in map(_line, text.split("\n")) if line is not None]


def _line(text: str) -> Line | None:
    if not text or text[0] in "# ":
        return None
    parts = text.rstrip("\r").split(" ")
    number = parts[0]
    if len(parts) < 4 or not all(parts[:4]) or not (number.isascii() and number.isdigit()):
        return None
    if len(number) > 15:
        return None
    name = parts[1]
    removed = name.startswith(_REMOVED)
    return Line(int(number), name.lstrip("!#") if removed else name, removed, " ".join(parts[:4]))


def summary(text: str) -> Keys:
    """Count the agents in use and find the highest id of any line."""
    lines = parse(text)
    return Keys(
        agents=sum(not line.removed for line in lines),
        highest=max((line.id for line in lines), default=0),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        removed=sum(line.removed and not line.gap for line in lines),
    )


def standing(text: str) -> list[Line]:
    """Read what is so now: an id that was given again after a removal has both lines.

    authd looks for ids in use alone, and writes the lines of removed agents last (OS_WriteKeys).
    """
    lines = parse(text)
    used = {line.id for line in lines if not line.removed}
    return [line for line in lines if not line.removed or line.id not in used]


def merge(texts: Sequence[str]) -> Merged:
    """Unite by id. A removal wins; of two agents in use with one id, the first's line.

    So the order counts for such a conflict, which comes about only where a master gave ids that
    nobody heard of and no gap was left for them; and for an id that somebody gave again after a
    removal: the first text knows that, where others may know of the removal alone.
    """
    back = _given_again(texts[0]) if texts else set()
    by_id: dict[int, list[Line]] = {}
    for text in texts:
        for line in standing(text):
            if not (line.removed and line.agent in back):
                by_id.setdefault(line.id, []).append(line)
    kept: list[str] = []
    conflicts: list[Conflict] = []
    for number in sorted(by_id):
        line, lost = _choose(by_id[number])
        kept.append(line.text)
        conflicts.extend(Conflict(number, line.name, name) for name in lost)
    return Merged("".join(f"{text}\n" for text in kept), tuple(conflicts))


def _given_again(text: str) -> set[str]:
    return {line.agent for line in set(parse(text)) - set(standing(text))}


def _choose(lines: Sequence[Line]) -> tuple[Line, list[str]]:
    """Pick one id's line; also name the agents in use that lose it.

    A gap's line gives way to any other: it only keeps an id from being given.
    """
    active = {line.text: line for line in lines if not line.removed}
    gone = [line for line in lines if line.removed and not line.gap]
    if gone:
        kept = min(gone, key=lambda line: line.text)
        removed = {line.name for line in gone}
        return kept, [line.name for line in active.values() if line.name not in removed]
    if active:
        kept, *others = active.values()
        return kept, [line.name for line in others]
    return min(lines, key=lambda line: line.text), []


def reserve(text: str, number: int) -> str:
    """Leave a gap: authd goes on above `number`, and no agent shows for it.

    Only with `<purge>no`, which keeps removed agents' lines.
    """
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}{number:03d}{_GAP}\n"


def load(path: Path) -> str:
    """Read the file; none there is an empty one. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def store(path: Path, text: str) -> None:
    """Replace the file at once, keeping owner and mode. Raises OSError."""
    files.rewrite(path, text.encode(), files.WAZUH)


def describe(conflicts: Iterable[Conflict]) -> list[str]:
    """Say each conflict in one line (names only, never a key)."""
    return [
        f"id {c.id} belongs to {c.kept}; {c.lost} had it too and is left out" for c in conflicts
    ]
