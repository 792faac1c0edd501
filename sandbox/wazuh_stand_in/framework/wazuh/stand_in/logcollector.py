"""logcollector: follows the files of <localfile> and hands their lines to analysisd."""

import socket
import time
from contextlib import suppress
from pathlib import Path

from . import configuration
from .configuration import ConfigurationError, Node
from .home import Home, scaled
from .process import stopping

LOOP_SECONDS, NEW_FILES_SECONDS = 2, 64
"""Defaults of logcollector.loop_timeout and logcollector.vcheck_files."""
LONGEST = 60000


def check(home: Home) -> bool:
    """Return True; raise ConfigurationError for a <localfile> without format or place."""
    for block in configuration.read(home / "etc/ossec.conf").all("localfile"):
        if not block.value("log_format"):
            raise ConfigurationError("(1904): Missing 'log_format' element.")
        if block.value("log_format") in ("syslog", "json") and not block.value("location"):
            raise ConfigurationError("(1902): Missing 'location' element.")
    return True


def serve(home: Home) -> int:
    """Follow the files until told to stop."""
    collector = Collector(home)
    collector.look(first=True)
    loop = configuration.internal_option(home.path, "logcollector.loop_timeout", LOOP_SECONDS)
    renew = configuration.internal_option(
        home.path, "logcollector.vcheck_files", NEW_FILES_SECONDS
    )
    looked = time.monotonic()
    while not stopping.wait(scaled(loop)):
        if time.monotonic() - looked >= scaled(renew):
            collector.look(first=False)
            looked = time.monotonic()
        collector.pass_on()
    return 0


class Collector:
    """The files followed, and how far each has been read."""

    def __init__(self, home: Home):
        self.home = home
        self.blocks = [
            block
            for block in configuration.read(home / "etc/ossec.conf").all("localfile")
            if block.value("log_format") in ("syslog", "json")
        ]
        self.places: dict[str, int] = {}

    def look(self, *, first: bool) -> None:
        """Find the files: at start from their end on, later ones from their beginning."""
        for block in self.blocks:
            for name in paths(self.home.path, block):
                if name not in self.places and Path(name).is_file():
                    from_end = first and block.value("only-future-events", "yes") == "yes"
                    self.places[name] = Path(name).stat().st_size if from_end else 0
                    self.home.log("INFO", f"(1950): Analyzing file: '{name}'.")

    def pass_on(self) -> None:
        """Hand on what was added."""
        for name in self.places:
            with suppress(OSError):
                self._one(name)

    def _one(self, name: str) -> None:
        path = Path(name)
        size = path.stat().st_size
        if size < self.places[name]:
            self.places[name] = 0
        if size == self.places[name]:
            return
        with path.open("rb") as file, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as queue:
            queue.connect(str(self.home / "queue/sockets/queue"))
            file.seek(self.places[name])
            for line in file:
                if not line.endswith(b"\n"):
                    break
                text = line.rstrip(b"\r\n")[:LONGEST]
                queue.send(b"1:" + name.replace(":", "|:").encode() + b":" + text)
                self.places[name] += len(line)


def paths(home: Path, block: Node) -> "list[str]":
    """Return the files a <location> means now.

    A date is put in only where there is no wildcard (src/config/localfile-config.c): with
    both, the percent signs are taken as they stand.
    """
    location = str(home / block.value("location"))
    if any(sign in location for sign in "*?["):
        return sorted(str(path) for path in Path("/").glob(location.lstrip("/")))
    return [time.strftime(location)] if "%" in location else [location]
