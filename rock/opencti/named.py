"""What an alert names that threat intelligence may know: addresses, domains, URLs, hashes. Pure.

Only decoded fields are read, never the log's free text: there a guess would name too much.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST = 20
"""Values of one alert that are looked up, the first ones found."""
_DEEPEST = 8
_LONGEST = 2048
_HASHES = {32: "MD5", 40: "SHA-1", 64: "SHA-256"}
_HASH = re.compile(r"(?<!IMPHASH=)\b(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})\b")
_HASH_KEY = re.compile(r"hash|md5|sha1|sha256")
_DOMAIN = re.compile(
    r"(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z]"
)
_DOMAIN_KEYS = frozenset(
    {"domain", "hostname", "http_host", "query", "queryname", "rrname", "sni"}
)
"""Fields whose text is a name: of Sysmon, Suricata and Wazuh's own decoders."""


@dataclass(frozen=True)
class Named:
    """One value, and what STIX calls its kind."""

    kind: str
    value: str

    @property
    def filter(self) -> str:
        """The key under which OpenCTI filters observables by it."""
        return f"hashes.{self.kind}" if self.kind in _HASHES.values() else "value"

    @property
    def quoted(self) -> str:
        """The value as it stands in a STIX pattern."""
        escaped = self.value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of indicators of this value alone, as OpenCTI and others write them."""
        if self.kind not in _HASHES.values():
            return (f"[{self.kind}:value = {self.quoted}]",)
        plain = (f"[file:hashes.MD5 = {self.quoted}]",) if self.kind == "MD5" else ()
        return (f"[file:hashes.'{self.kind}' = {self.quoted}]", *plain)


def find(alert: dict) -> list[Named]:
    """Return what an alert names, each once and at most `MOST`."""
    found: dict[Named, None] = {}
    for part in ("data", "syscheck"):
        for key, text in _texts(alert.get(part), "", 0):
            for one in _read(key.lower(), text.strip()):
                found[one] = None
                if len(found) == MOST:
                    return list(found)
    return list(found)


def _texts(value: object, key: str, depth: int) -> Iterator[tuple[str, str]]:
    """Give every text with the key it stands under."""
    if isinstance(value, str):
        yield key, value
    elif depth < _DEEPEST and isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, str(name), depth + 1)
    elif depth < _DEEPEST and isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key, depth + 1)


def _read(key: str, text: str) -> Iterator[Named]:
    if not text or len(text) > _LONGEST or not text.isprintable() or key.endswith("_before"):
        return
    if _HASH_KEY.search(key):
        for digest in _HASH.findall(text):
            yield Named(_HASHES[len(digest)], digest.lower())
    elif text.lower().startswith(("http://", "https://")):
        yield Named("url", text)
        yield from _host(text)
    elif key in _DOMAIN_KEYS:
        yield from _domain(text)
    else:
        yield from _address(text)


def _host(url: str) -> Iterator[Named]:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return
    yield from _domain(host)


def _domain(text: str) -> Iterator[Named]:
    name = text.lower().rstrip(".")
    if _DOMAIN.fullmatch(name):
        yield Named("domain-name", name)
    else:
        yield from _address(text)


def _address(text: str) -> Iterator[Named]:
    """Read an address that means the same everywhere: nobody knows one of a private network."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_global and not found.is_multicast and "%" not in text:
        yield Named(f"ipv{found.version}-addr", str(found))
