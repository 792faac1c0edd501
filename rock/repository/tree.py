"""Which files of a commit are taken: decided on names and sizes before anything is read."""

import re
from dataclasses import dataclass

from repository.git import Git, TooLargeError
from repository.places import MEBIBYTE, Limits, RefusedError

_REGULAR = ("100644", "100755", "100664")
_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]{0,126}~?")
# What Wazuh's cluster never copies (framework/wazuh/core/cluster/cluster.json), and what it
# compiles from lists by itself.
_IGNORED_ENDINGS = ("~", ".tmp", ".lock", ".swp", ".cdb")
_OURS = frozenset(
    {
        "authd.pass",
        "client.keys",
        "private_key.pem",
        "rbac.db",
        "server.key",
        "sslmanager.cert",
        "sslmanager.key",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `git ls-tree`: mode, object, size in bytes (0 where it has none), path."""

    mode: str
    identifier: str
    size: int
    path: bytes


def listing(git: Git, commit: str, subdirectory: str | None, limits: Limits) -> list[Entry]:
    """List every file of a commit, at most as many as the limits say."""
    name = f"{commit}:{subdirectory or ''}"
    if subdirectory is not None and _kind(git, name) != "tree":
        raise RefusedError(f'no directory "{subdirectory}" in the repository')
    too_many = RefusedError(f"more than {limits.entries} files")
    try:
        output = git.run("ls-tree", "-r", "-z", "-l", name, most=limits.listing_bytes)
    except TooLargeError:
        raise too_many from None
    lines = output.split(b"\0")[:-1]
    if len(lines) > limits.entries:
        raise too_many
    return [_entry(line) for line in lines]


def _kind(git: Git, name: str) -> str | None:
    try:
        return git.run("cat-file", "-t", name).decode("ascii").strip()
    except RefusedError:
        return None


def _entry(line: bytes) -> Entry:
    facts, _, path = line.partition(b"\t")
    mode, _, identifier, size = facts.decode("ascii").split()
    return Entry(mode, identifier, int(size) if size.isdigit() else 0, path)


def select(entries: list[Entry], limits: Limits) -> dict[str, Entry]:
    """Choose what is taken, by its path below Wazuh's `etc`; refuse what must not be there."""
    for entry in entries:
        _refuse_ours(entry)
    taken = {path: entry for entry in entries if (path := _destination(entry)) is not None}
    if not taken:
        raise RefusedError("nothing to take: no rules/*.xml, decoders/*.xml or lists/*")
    if len(taken) > limits.files:
        raise RefusedError(f"more than {limits.files} rules, decoders and lists")
    for path, entry in taken.items():
        if entry.size > limits.file_bytes:
            raise RefusedError(f"{path} is larger than {limits.file_bytes // MEBIBYTE} MiB")
    if sum(entry.size for entry in taken.values()) > limits.total_bytes:
        raise RefusedError(f"all files are larger than {limits.total_bytes // MEBIBYTE} MiB")
    return taken


def _refuse_ours(entry: Entry) -> None:
    name = entry.path.rpartition(b"/")[2].decode("ascii", "replace").lower()
    if name in _OURS:
        raise RefusedError(f"holds {name}, which only this application makes")


def _destination(entry: Entry) -> str | None:
    """Return the path of a file that is taken, None for one that does not concern us."""
    folder, slash, name = entry.path.decode("utf-8", "surrogateescape").partition("/")
    if folder not in ("rules", "decoders", "lists"):
        return None
    if not slash:
        raise RefusedError(f"{folder} is no directory")
    if folder != "lists" and not name.lower().endswith(".xml"):
        return None
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise RefusedError(f"{folder} holds a file whose name is not plain ({ascii(name)[:80]})")
    if "/" in name or name.startswith(".") or name.endswith(_IGNORED_ENDINGS):
        return None
    if entry.mode not in _REGULAR:
        raise RefusedError(f"{folder}/{name} is no regular file")
    return f"{folder}/{name}"


def contents(git: Git, entries: dict[str, Entry]) -> dict[str, bytes]:
    """Read the chosen files; no filter, attribute or link of the repository plays a part."""
    identifiers = "".join(f"{entry.identifier}\n" for entry in entries.values())
    output = memoryview(git.run("cat-file", "--batch", stdin=identifiers.encode("ascii")))
    position = 0
    found = {}
    for path, entry in entries.items():
        header = f"{entry.identifier} blob {entry.size}\n".encode("ascii")
        start = position + len(header)
        if output[position:start] != header:
            raise RefusedError(f"{path} cannot be read from the repository")
        found[path] = bytes(output[start : start + entry.size])
        position = start + entry.size + 1
    return found
