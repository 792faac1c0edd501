"""All files of one fetched commit as one value, and where each of them belongs.

A bundle is kept on the volume as one file, so that it is there whole or not at all; units hand
it to each other in the same form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import files
from .places import Places

#: The name of "no files of a repository".
NONE = "none"
FRAGMENT = "ossec.conf"
TREE = re.compile(r"none|[0-9a-f]{7,64}(-[0-9a-f]{8})?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}")
_LARGEST = 32 * 1024 * 1024
#: Written by each node itself, or in passing; never taken from a repository.
PASSING = (".cdb", ".tmp", ".swp", "~")
_GENERATED = ("ar.conf", "merged.mg")


class BundleError(Exception):
    """It cannot be had; one sentence for the status."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where one folder of a repository goes, whom its files belong to, and who reads them."""

    target: str
    owner: files.Owner
    depth: int = 1
    shared: bool = False  # the cluster copies it from the master to the workers
    loaded: bool = False  # analysisd reads it again without a restart
    daemon: str = ""  # is restarted alone
    seeded: bool = False  # the image has such files, and they come back


_WAZUHS = files.Owner("wazuh", "wazuh", 0o660)
_PROGRAM = files.Owner("root", "wazuh", 0o750)
KINDS: Mapping[str, Kind] = {
    "rules": Kind("etc/rules", _WAZUHS, shared=True, loaded=True, seeded=True),
    "decoders": Kind("etc/decoders", _WAZUHS, shared=True, loaded=True, seeded=True),
    "lists": Kind("etc/lists", _WAZUHS, shared=True, loaded=True, seeded=True),
    # remoted looks at the groups again every ten seconds.
    "groups": Kind("etc/shared", _WAZUHS, depth=2, shared=True, seeded=True),
    "integrations": Kind("integrations", _PROGRAM, daemon="wazuh-integratord"),
    "active-response": Kind("active-response/bin", _PROGRAM, daemon="wazuh-execd"),
    "sca": Kind("ruleset/sca", files.Owner("root", "wazuh", 0o640), daemon="wazuh-modulesd"),
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A commit's files by their path in the repository; the name tells commits apart."""

    name: str = NONE
    files: Mapping[str, bytes] = field(default_factory=dict)

    def fragment(self) -> bytes:
        """Return what is added to ossec.conf."""
        return self.files.get(FRAGMENT, b"")

    def placed(self, *, master: bool) -> dict[str, bytes]:
        """Return what this unit puts in place, by its path below Wazuh's home."""
        return {
            where: content
            for path, content in self.files.items()
            if (where := target(path)) is not None and (master or not kind(path).shared)
        }


def kind(path: str) -> Kind:
    """Return the kind of a file of a repository. Raises KeyError for the fragment."""
    return KINDS[path.partition("/")[0]]


def target(path: str) -> str | None:
    """Return where a file goes, below Wazuh's home; None for the fragment, which is merged."""
    folder, _, rest = path.partition("/")
    return None if path == FRAGMENT else f"{KINDS[folder].target}/{rest}"


def _is_fit(path: str) -> bool:
    folder, _, rest = path.partition("/")
    if path == FRAGMENT:
        return True
    parts = rest.split("/")
    plain = all(_NAME.fullmatch(part) and not part.endswith(PASSING) for part in parts)
    known = folder in KINDS and len(parts) == KINDS[folder].depth
    return known and plain and parts[-1] not in _GENERATED


def read(places: Places, name: str) -> Bundle:
    """Return a bundle: from the volume, else as it was fetched. Raises BundleError."""
    if name == NONE:
        return Bundle(NONE, {})
    kept = load(places, name)
    return kept if kept is not None else _fetched(places, name)


def _fetched(places: Places, name: str) -> Bundle:
    """Read a fetched commit: regular files with plain names in known places only."""
    root = places.repository / name
    if not root.is_dir():
        raise BundleError(f"the fetched commit {name[:12]} is not in the container")
    found, size = {}, 0
    for path in sorted(root.rglob("*")):
        relative = str(path.relative_to(root))
        if path.is_symlink() or not path.is_file() or not _is_fit(relative):
            continue
        size += path.stat().st_size
        if size > _LARGEST:
            raise BundleError("the fetched commit is larger than it may be")
        found[relative] = path.read_bytes()
    return Bundle(name, found)


def dump(bundle: Bundle) -> str:
    """Write a bundle as text, with a digest of the whole."""
    coded = {path: base64.b64encode(data).decode() for path, data in sorted(bundle.files.items())}
    content = {"name": bundle.name, "files": coded, "digest": digest(bundle.files)}
    return json.dumps(content)


def parse(text: str | bytes) -> Bundle:
    """Read what `dump` wrote. Raises BundleError for anything else."""
    try:
        content = json.loads(text)
        name = content["name"]
        found = {
            str(path): base64.b64decode(data, validate=True)
            for path, data in content["files"].items()
        }
        whole = digest(found) == content["digest"]
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise BundleError("a damaged copy of the configuration") from None
    if not whole or not isinstance(name, str) or not TREE.fullmatch(name):
        raise BundleError("a damaged copy of the configuration")
    if not all(_is_fit(path) for path in found):
        raise BundleError("a copy of the configuration with files that have no place")
    return Bundle(name, found)


def digest(found: Mapping[str, bytes]) -> str:
    """Digest files with their names."""
    whole = hashlib.sha256()
    for path, data in sorted(found.items()):
        whole.update(f"{path}\0{len(data)}\0".encode() + data)
    return whole.hexdigest()


def load(places: Places, name: str) -> Bundle | None:
    """Return the bundle of that name that the volume holds."""
    with suppress(OSError, BundleError):
        found = parse(_file(places, name).read_bytes())
        return found if found.name == name else None
    return None


def has(places: Places, name: str) -> bool:
    """Tell whether the volume holds a bundle of that name, without reading it."""
    return _file(places, name).is_file()


def keep(places: Places, bundle: Bundle) -> None:
    """Put a bundle on the volume, for good. Raises OSError."""
    if bundle.name != NONE and load(places, bundle.name) != bundle:
        folder(places).mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(_file(places, bundle.name), dump(bundle).encode(), files.Owner())


def forget(places: Places, kept: set[str]) -> None:
    """Remove every bundle but those."""
    for path in folder(places).glob("*.bundle"):
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def folder(places: Places) -> Path:
    """Return where bundles lie."""
    return places.own / "configuration"


def _file(places: Places, name: str) -> Path:
    return folder(places) / f"{name}.bundle"
