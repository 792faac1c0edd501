"""The indexer that alerts and states are sent to: Wazuh's credentials for it, and its presence.

Wazuh's connector takes user and password from a store of its own, once in the life of its daemon
(src/shared_modules/indexer_connector), and from nowhere else. Filebeat says nowhere that is easy
to read whether it gets rid of its lines; so the indexer is asked here, as Filebeat asks it.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import logging
import shutil
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import files
from .places import Places

#: The daemon that reads the store.
READER = "wazuh-modulesd"
_TOOL = "wazuh-keystore"
_TOOL_SECONDS = 20.0
_ASK_SECONDS = 5.0
_PAUSE = 15.0  # seconds between two questions
_FILEBEAT = files.Owner("filebeat", "wazuh", 0o700)
_LONGEST_ANSWER = 64 * 1024
_SETTING = "compatibility.override_main_response_version"
_TYPELESS = 7
"""The first version to which Filebeat 7.10 names no type of a document, which OpenSearch 2 refuses
(elastic/beats libbeat/outputs/elasticsearch/client.go; opensearch-project/OpenSearch#3484)."""
_WITHOUT_SETTING = 3
"""The first OpenSearch that has no such setting (opensearch-project/OpenSearch#18228)."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Indexer:
    """Where it is, and as whom it is asked."""

    hosts: tuple[str, ...]
    username: str
    password: str = field(repr=False)
    authority: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Absence:
    """Since when (ISO 8601, UTC) nothing can be sent, and why."""

    since: str
    reason: str


def load(orders: Path) -> Indexer | None:
    """Read indexer.json; None where no indexer is related, or the file is not whole."""
    try:
        content = json.loads((orders / "indexer.json").read_text())
        return Indexer(
            hosts=tuple(str(host) for host in content["hosts"]),
            username=str(content["username"]),
            password=str(content["password"]),
            authority=str(content["authority"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("indexer.json cannot be read: %s", type(error).__name__)
        return None


def give_credentials(places: Places, generation: str, environment: Mapping[str, str]) -> None:
    """Bring Wazuh's store to this generation of the credentials; empty: to none at all.

    To be called while its reader is down. What fails is logged and done again before the reader's
    next start: Wazuh serves its agents without an indexer too.
    """
    mark = places.own / "indexer"
    try:
        if (mark.read_text() if mark.exists() else "") == generation:
            return
        mark.unlink(missing_ok=True)
        found = load(places.orders)
        if generation and found is not None:
            _store(places, "username", found.username, environment)
            _store(places, "password", found.password, environment)
        else:
            _empty(places)
        files.write(mark, generation.encode(), files.Owner())
    except (OSError, subprocess.SubprocessError) as error:
        _log.error("the indexer's credentials could not be stored: %s", type(error).__name__)


def _store(places: Places, key: str, value: str, environment: Mapping[str, str]) -> None:
    """Hand one value to Wazuh's tool, by its standard input. Raises CalledProcessError."""
    subprocess.run(
        [places.home / "bin" / _TOOL, "-f", "indexer", "-k", key],
        input=value.encode() + b"\n",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=places.home,
        env=dict(environment),
        timeout=_TOOL_SECONDS,
        check=True,
    )


def _empty(places: Places) -> None:
    """Take away all that the store holds: its tool knows no way to."""
    folder = places.volume / "keystore"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def make_room(places: Places) -> None:
    """Make the folder in which Filebeat notes what it has sent. Raises OSError."""
    folder = places.keep / "filebeat"
    folder.mkdir(mode=0o700, exist_ok=True)
    files.give_folder(folder, _FILEBEAT)


def ask(found: Indexer) -> str:
    """Ask one host after the other; return why none of them takes anything, or nothing."""
    reason = "no address"
    try:
        context = ssl.create_default_context(cadata=found.authority)
    except ssl.SSLError:
        return "its authority cannot be read"
    for host in found.hosts:
        reason = _ask(host, found, context)
        if not reason:
            return ""
    return reason


def _ask(url: str, found: Indexer, context: ssl.SSLContext) -> str:
    parts = urllib.parse.urlsplit(url)
    pair = base64.b64encode(f"{found.username}:{found.password}".encode()).decode()
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=_ASK_SECONDS, context=context
    )
    try:
        connection.request("GET", "/", headers={"Authorization": f"Basic {pair}"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read(_LONGEST_ANSWER)
    except ssl.SSLCertVerificationError:
        return "its certificate is not the one that was announced"
    except (OSError, http.client.HTTPException):
        return "it cannot be reached"
    finally:
        connection.close()
    if status in (401, 403):
        return "it refuses the user"
    return _unfit(body) if status == http.client.OK else f"it answers {status}"


def _unfit(body: bytes) -> str:
    """Tell why Filebeat 7.10 gets rid of nothing at who presents itself so, or nothing."""
    try:
        number = str(json.loads(body)["version"]["number"])
        major = int(number.partition(".")[0])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it does not tell its version"
    if major >= _TYPELESS:
        return ""
    shown = "".join(letter for letter in number if letter.isprintable())[:20]
    if major >= _WITHOUT_SETTING:
        return f"OpenSearch {shown} takes nothing from Filebeat 7.10, OpenSearch 2 does"
    return f"OpenSearch {shown} needs the setting {_SETTING}: true"


class Watch:
    """Asks again and again, in a thread of its own."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._absence: Absence | None = None
        self._room = False

    @property
    def absence(self) -> Absence | None:
        """Return since when the related indexer takes nothing; None: it does, or there is none."""
        return self._absence

    def keep(self, stopping: threading.Event, pause: float = _PAUSE) -> None:
        """Look until told to stop."""
        while True:
            self.look()
            if stopping.wait(pause if self._room else 0.5):
                return

    def look(self) -> None:
        """Look once."""
        if not self._room and self._places.own.is_dir():
            try:
                make_room(self._places)
                self._room = True
            except OSError as error:
                _log.warning("no folder for Filebeat: %s", error.strerror)
        found = load(self._places.orders)
        reason = ask(found) if found is not None else ""
        before = self._absence
        if not reason:
            self._absence = None
        elif before is None or before.reason != reason:
            self._absence = Absence(before.since if before else _now(), reason)
        if (before and before.reason) != (self._absence and self._absence.reason):
            _log.info("the indexer: %s", reason or "takes alerts again, or is no longer related")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
