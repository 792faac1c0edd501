"""A stand-in Filebeat: sends the lines of alerts.json on, and notes how far it came.

It reads the real one's configuration, which has to be JSON here, and keeps its rules: the file is
its own or root's and nobody else writes it, `${x}` names a variable and `$$` is a `$`, a file is
known by its inode, a note is written once lines are acknowledged, and it retries for ever. It asks
who answers first, and names a type of each document to who is older than 7, as Filebeat 7.10.
Standard library only; it runs as /opt/wazuh-server/bin/filebeat in the sandbox's image.
"""

import base64
import http.client
import json
import os
import re
import ssl
import stat
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIGURATION = "/etc/wazuh-server/filebeat/filebeat.yml"
DATA = "/var/ossec/queue/keep/filebeat"
ALERTS = "/var/ossec/logs/alerts/alerts.json"
_BATCH = 50
_SECONDS = 5.0
_TYPELESS = 7


class ConfigurationError(Exception):
    """It does not start; the text says why."""


def read(path: Path) -> dict[str, Any]:
    """Read the configuration. Raises ConfigurationError."""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigurationError(
            f"{path} has to be its user's or root's, and written by none else"
        )
    return json.loads(path.read_text(), object_hook=_expanded)


def _expanded(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _text(value) if isinstance(value, str) else value for key, value in table.items()}


def _text(value: str) -> str:
    """Expand as go-ucfg does."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] not in os.environ:
            raise ConfigurationError("missing field accessing a variable")
        return os.environ[match[1]]

    return re.sub(r"\$\$|\$\{([^}]*)\}", one, value)


class Registry:
    """Up to where each file was sent, by inode."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "registry.json"
        self._offsets: dict[str, int] = {}
        if self._path.exists():
            self._offsets = json.loads(self._path.read_text())

    def offset(self, inode: int) -> int:
        """Return where to go on."""
        return self._offsets.get(str(inode), 0)

    def note(self, inode: int, offset: int) -> None:
        """Note what was acknowledged, at once and for good."""
        self._offsets[str(inode)] = offset
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._offsets))
        draft.replace(self._path)


class Output:
    """The hosts that lines are sent to, one after the other."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._hosts = list(settings["hosts"])
        pair = f"{settings['username']}:{settings['password']}".encode()
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-ndjson",
        }
        (authority,) = settings["ssl.certificate_authorities"]
        self._context = ssl.create_default_context(cafile=authority)

    def send(self, lines: list[bytes]) -> None:
        """Have the lines indexed. Raises OSError or HTTPException when no host takes them."""
        error: Exception = OSError("no host")
        for host in self._hosts:
            try:
                self._post(host, lines)
            except (OSError, http.client.HTTPException) as found:
                error = found
            else:
                return
        raise error

    def _post(self, host: str, lines: list[bytes]) -> None:
        parts = urllib.parse.urlsplit(host)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=_SECONDS, context=self._context
        )
        try:
            banner = json.loads(_ask(connection, "GET", "/", b"", self._headers))
            major = int(banner["version"]["number"].partition(".")[0])
            _ask(connection, "POST", "/_bulk", _bulk(lines, major), self._headers)
        except (ValueError, KeyError, TypeError):
            raise OSError("it does not tell its version") from None
        finally:
            connection.close()


def _ask(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
) -> bytes:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise OSError(f"status {answer.status}: {content.decode(errors='replace')}")
    return content


def _bulk(lines: list[bytes], major: int) -> bytes:
    """Write a bulk request as libbeat/outputs/elasticsearch/client.go does."""
    meta = {"_index": time.strftime("wazuh-alerts-4.x-%Y.%m.%d", time.gmtime())}
    old = major < _TYPELESS
    action = json.dumps({"index": meta | {"_type": "doc"}} if old else {"create": meta})
    return "".join(f"{action}\n{line.decode().strip()}\n" for line in lines).encode()


def batches(alerts: Path, registry: Registry) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield whole lines that were not sent: inode, where they end, the lines."""
    try:
        with alerts.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(registry.offset(inode))
            lines: list[bytes] = []
            for line in file:
                if not line.endswith(b"\n"):
                    break
                lines.append(line)
                if len(lines) == _BATCH:
                    break
            if lines:
                yield inode, registry.offset(inode) + sum(map(len, lines)), lines
    except FileNotFoundError:
        return


def run(configuration: Path, data: Path, alerts: Path, pause: float = 0.5) -> int:
    """Send until killed."""
    try:
        output = Output(read(configuration)["output.elasticsearch"])
        registry = Registry(data)
        registry.note(0, 0)
    except (ConfigurationError, OSError, KeyError, ValueError) as error:
        print(f"Filebeat stand-in: Exiting: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    complaint = ""
    while True:
        sent = False
        for inode, offset, lines in batches(alerts, registry):
            try:
                output.send(lines)
            except (OSError, http.client.HTTPException) as error:
                if complaint != str(error):
                    print(f"Filebeat stand-in: cannot send: {error}", file=sys.stderr, flush=True)
                complaint = str(error)
            else:
                registry.note(inode, offset)
                sent, complaint = True, ""
        if not sent:
            time.sleep(pause)


if __name__ == "__main__":
    sys.exit(run(Path(CONFIGURATION), Path(DATA), Path(ALERTS)))
