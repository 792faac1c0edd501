"""One question to OpenCTI: which indicators there are for some values.

As OpenCTI 5.12 and later has it: `stixCyberObservables` and `indicators` take a `FilterGroup`
(docs.opencti.io, reference/filters), and a file's hashes are filtered by `hashes.SHA-256`.
TLS is verified against the image's authorities; no redirect is followed and no proxy is used.
"""

from __future__ import annotations

import http.client
import json
import queue
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from opencti.named import Named

LONGEST = 1024 * 1024
MOST = 20
"""Observables, indicators, and indicators of one observable that are read."""
_QUERY = """
query Lookup($observables: FilterGroup, $indicators: FilterGroup, $first: Int) {
  stixCyberObservables(filters: $observables, first: $first) { edges { node {
    observable_value
    ... on StixFile { hashes { algorithm hash } }
    ... on Artifact { hashes { algorithm hash } }
    indicators { edges { node { ...Known } } }
  } } }
  indicators(filters: $indicators, first: $first) { edges { node { ...Known } } }
}
fragment Known on Indicator { id name pattern revoked valid_until x_opencti_score }
"""
_REFUSED = ("AUTH_REQUIRED", "FORBIDDEN_ACCESS")


class AwayError(Exception):
    """OpenCTI gave no answer; the text says why and holds nothing that it sent, nor the token."""


@dataclass(frozen=True)
class Platform:
    """Where OpenCTI is, and with what it lets in."""

    url: str
    token: str = field(repr=False)
    authorities: Path
    """The certificates of those that TLS trusts, PEM."""
    seconds: float
    """All that a question may take, the name's resolution included."""


@dataclass(frozen=True)
class Known:
    """One indicator, and the value of the alert that it is for."""

    named: Named
    id: str
    name: str
    score: int


def load(path: Path, authorities: Path, seconds: float) -> Platform | None:
    """Read the charm's file; None where there is none, or none of ours: then nothing is asked."""
    try:
        content = json.loads(path.read_bytes())
        url, token = content["url"], content["token"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    plain = isinstance(url, str) and isinstance(token, str) and token.isascii()
    return Platform(url, token, authorities, seconds) if plain and token.isprintable() else None


def ask(platform: Platform, values: Sequence[Named], now: str) -> list[Known]:
    """Return the indicators that hold at `now` (ISO 8601, UTC), the worst first.

    Raises AwayError, after `platform.seconds` at the latest.
    """
    answers: queue.SimpleQueue[bytes | AwayError] = queue.SimpleQueue()
    body = json.dumps({"query": _QUERY, "variables": _variables(values)}).encode()
    # A thread that dies with the program: nothing else ends the resolution of a name.
    arguments = (platform, body, answers)
    threading.Thread(target=_post, args=arguments, daemon=True).start()
    try:
        answer = answers.get(timeout=platform.seconds)
    except queue.Empty:
        raise AwayError("it does not answer in time") from None
    if isinstance(answer, AwayError):
        raise answer
    found = {known.id: known for known in _read(answer, values, now)}
    return sorted(found.values(), key=lambda known: (-known.score, known.id))


def _variables(values: Sequence[Named]) -> dict[str, object]:
    by_key: dict[str, list[str]] = {}
    for one in values:
        by_key.setdefault(one.filter, []).append(one.value)
    patterns = [pattern for one in values for pattern in one.patterns]
    return {
        "observables": _any(by_key),
        "indicators": _any({"pattern": patterns}),
        "first": MOST,
    }


def _any(wanted: dict[str, list[str]]) -> dict[str, object]:
    filters = [
        {"key": key, "values": values, "operator": "eq", "mode": "or"}
        for key, values in wanted.items()
    ]
    return {"mode": "or", "filters": filters, "filterGroups": []}


def _post(platform: Platform, body: bytes, answers: queue.SimpleQueue[bytes | AwayError]) -> None:
    """Put the answer, or why there is none, into the queue."""
    try:
        answers.put(_exchange(platform, body))
    except AwayError as reason:
        answers.put(reason)
    except ssl.SSLCertVerificationError:
        answers.put(AwayError("its certificate is not to be trusted"))
    except (OSError, http.client.HTTPException, ValueError):
        answers.put(AwayError("it cannot be reached"))


def _exchange(platform: Platform, body: bytes) -> bytes:
    url = urlsplit(platform.url)
    host, port = url.hostname or "", url.port
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=str(platform.authorities))
        connection = http.client.HTTPSConnection(
            host, port, timeout=platform.seconds, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=platform.seconds)
    headers = {
        "Authorization": f"Bearer {platform.token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    connection.request("POST", f"{url.path.rstrip('/')}/graphql", body, headers)
    answer = connection.getresponse()
    content = answer.read(LONGEST + 1)
    if answer.status in (401, 403):
        raise AwayError("it refuses the token")
    if answer.status != http.client.OK:
        raise AwayError(f"it answers {answer.status}")
    if len(content) > LONGEST:
        raise AwayError("its answer is too long")
    return content


def _read(text: bytes, values: Sequence[Named], now: str) -> Iterator[Known]:
    """Give what of the answer is for these values and holds. Raises AwayError."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise AwayError("its answer is no JSON") from None
    if _at(answer, "errors"):
        codes = [_at(one, "extensions", "code") for one in _list(_at(answer, "errors"))]
        refused = any(code in _REFUSED for code in codes)
        raise AwayError("it refuses the token" if refused else "it refuses the question")
    for node in _nodes(_at(answer, "data", "stixCyberObservables")):
        named = _of_observable(node, values)
        if named is not None:
            for indicator in _nodes(_at(node, "indicators")):
                yield from _known(indicator, named, now)
    for indicator in _nodes(_at(answer, "data", "indicators")):
        pattern = str(_at(indicator, "pattern")).lower()
        for named in values:
            if named.quoted.lower() in pattern:
                yield from _known(indicator, named, now)


def _of_observable(node: object, values: Sequence[Named]) -> Named | None:
    """Return the value that an observable is of: a filter may find more than was asked."""
    hashes = [_at(one, "hash") for one in _list(_at(node, "hashes"))]
    texts = {str(text).lower() for text in (_at(node, "observable_value"), *hashes)}
    return next((one for one in values if one.value.lower() in texts), None)


def _known(indicator: object, named: Named, now: str) -> Iterator[Known]:
    """Give an indicator that is neither withdrawn nor out of date."""
    number, until = _at(indicator, "id"), _at(indicator, "valid_until")
    outdated = isinstance(until, str) and until[:19] < now[:19]
    if not isinstance(number, str) or _at(indicator, "revoked") is True or outdated:
        return
    name, score = _at(indicator, "name"), _at(indicator, "x_opencti_score")
    yield Known(
        named,
        number[:100],
        name[:200] if isinstance(name, str) else "an indicator without a name",
        score if isinstance(score, int) else 0,
    )


def _nodes(connection: object) -> list[object]:
    return [_at(edge, "node") for edge in _list(_at(connection, "edges"))[:MOST]]


def _list(value: object) -> list:
    return value if isinstance(value, list) else []


def _at(value: object, *keys: str) -> object:
    """Return what stands at a path of keys; None where there is no such place."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
