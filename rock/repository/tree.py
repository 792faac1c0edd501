"""Which files of a commit are taken: decided on names and sizes before anything is read."""

import re
from dataclasses import dataclass

from repository.git import Git, TooLargeError
from repository.places import MEBIBYTE, Limits, RefusedError

_REGULAR = ("100644", "100755", "100664")
_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]{0,126}~?")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is taken from one folder: the names in it, and how deep they lie."""

    name: re.Pattern[str]
    depth: int = 1
    reason: str = ""
    """What is said of another name; without one it does not concern us."""


KINDS = {
    "rules": Kind(re.compile(r"(?is).*\.xml")),
    "decoders": Kind(re.compile(r"(?is).*\.xml")),
    "lists": Kind(re.compile(r"(?s).*")),
    "groups": Kind(re.compile(r"(?s).*"), depth=2),
    "integrations": Kind(re.compile(r"(?s)custom-.*"), reason="must begin with custom-"),
    "active-response": Kind(re.compile(r"(?s).*")),
    "sca": Kind(re.compile(r"(?is).*\.ya?ml")),
}
"""What may come from a repository, by its folders; rock/supervisor/bundle.py says whereto."""
FRAGMENT = "ossec.conf"

_FOLDERS = f"{', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}"

# What Wazuh's cluster never copies (framework/wazuh/core/cluster/cluster.json), and what it
# compiles from lists by itself.
_IGNORED_ENDINGS = ("~", ".tmp", ".lock", ".swp", ".cdb")
_OURS = frozenset(
    {
        "ar.conf",
        "authd.pass",
        "api.yaml",
        "client.keys",
        "local_internal_options.conf",
        "merged.mg",
        "private_key.pem",
        "public_key.pem",
        "rbac.db",
        "server.crt",
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
    """Choose what is taken, by its path; refuse what must not be there."""
    for entry in entries:
        _refuse_ours(entry)
    taken = {path: entry for entry in entries if (path := _destination(entry)) is not None}
    if not taken:
        raise RefusedError(f"nothing to take: no {FRAGMENT}, and no files in {_FOLDERS}")
    if len(taken) > limits.files:
        raise RefusedError(f"more than {limits.files} files in {_FOLDERS}")
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
    path = entry.path.decode("utf-8", "surrogateescape")
    folder, slash, rest = path.partition("/")
    kind = KINDS.get(folder)
    if path == FRAGMENT:
        return _regular(entry, path)
    if kind is None:
        return None
    if not slash:
        raise RefusedError(f"{folder} is no directory")
    parts = rest.split("/")
    if len(parts) == kind.depth and not kind.name.fullmatch(parts[-1]) and not kind.reason:
        return None
    if not all(_NAME.fullmatch(part) for part in parts):
        raise RefusedError(f"{folder} holds a file whose name is not plain ({ascii(rest)[:80]})")
    if len(parts) != kind.depth or _is_passing(parts):
        return None
    if not kind.name.fullmatch(parts[-1]):
        raise RefusedError(f"{folder}/{rest}: the name {kind.reason}")
    return _regular(entry, path)


def _is_passing(parts: list[str]) -> bool:
    return any(part.startswith(".") or part.endswith(_IGNORED_ENDINGS) for part in parts)


def _regular(entry: Entry, path: str) -> str:
    if entry.mode not in _REGULAR:
        raise RefusedError(f"{path} is no regular file")
    return path


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
