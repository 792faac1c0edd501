"""What goes on all the while: enrolments, logins, and a session on 1514 of every unit.

Run on the clients' host as `python -m sandbox.moves.traffic`, with the request as JSON on standard
input. Each answer is a line of JSON in the request's `record`, until its `stop` file appears.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from sandbox.clients import EVENTS_PORT, Api, enrol

_CROWD = 120
"""So many agents wait for an answer at most: a worker without master lets each wait 9 s."""
_SILENT = 6.0
"""A session whose words come back no more is cut: its node is gone without a word."""
_RETRY = 0.5


class Record:
    """One line for each thing that happened, whichever thread it was."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def write(self, **line: Any) -> None:
        """Write it so that a reader never meets half of it."""
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


class Traffic:
    """All of it; ends when the stop file is there."""

    def __init__(self, request: dict[str, Any], record: Record) -> None:
        self._request = request
        self._record = record
        self._stop = Path(request["stop"])
        self._ended = threading.Event()
        self._crowd = threading.Semaphore(_CROWD)

    def run(self) -> None:
        """Go on until the end."""
        request = self._request
        sessions = [
            threading.Thread(target=self._hold, args=(unit, host), daemon=True)
            for unit, host in request["sessions"].items()
        ]
        with ThreadPoolExecutor(_CROWD + 16) as pool:
            callers = [
                threading.Thread(target=self._each, args=(pool, self._enrol, request["rate"])),
                threading.Thread(target=self._each, args=(pool, self._log_in, request["logins"])),
            ]
            for thread in (*sessions, *callers):
                thread.start()
            while not self._stop.exists():
                time.sleep(0.2)
            self._ended.set()
            for thread in callers:
                thread.join()

    def _each(self, pool: ThreadPoolExecutor, one: Callable[[int], None], a_second: float) -> None:
        """Do one after the other, so many a second, without waiting for any."""
        due = time.monotonic()
        for number in itertools.count(1):
            due = max(due + 1 / a_second, time.monotonic() - 1)
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            if self._crowd.acquire(blocking=False):
                pool.submit(self._one, one, number)

    def _one(self, what: Callable[[int], None], number: int) -> None:
        try:
            what(number)
        finally:
            self._crowd.release()

    def _enrol(self, number: int) -> None:
        request, name = self._request, f"{self._request['prefix']}{number}"
        found = enrol(
            request["host"], name, request["password"], ca=request["ca"], timeout=request["wait"]
        )
        self._record.write(
            kind="enrolment",
            began=found.began,
            ended=found.began + found.took,
            good=found.id is not None,
            name=name,
            id=found.id,
            key=found.key_sha256,
            error=found.error,
        )

    def _log_in(self, number: int) -> None:
        request, began = self._request, time.time()
        try:
            api = Api(request["host"], ca=request["ca"], timeout=5)
            status, _ = api.log_in(request["user"], request["user-password"])
        except OSError:
            status = None
        self._record.write(
            kind="login", began=began, ended=time.time(), good=status == 200, status=status
        )

    def _hold(self, unit: str, host: str) -> None:
        """Keep one session on a unit, and say when it was cut and when there is one again."""
        while not self._ended.is_set():
            try:
                with socket.create_connection((host, EVENTS_PORT), 3) as session:
                    self._record.write(kind="open", unit=unit, at=time.time())
                    self._talk(session)
            except OSError:
                time.sleep(_RETRY)
                continue
            if not self._ended.is_set():
                self._record.write(kind="cut", unit=unit, at=time.time())

    def _talk(self, session: socket.socket) -> None:
        """Say something every second; return when it is cut, or nothing has come back for long."""
        session.settimeout(1)
        heard = time.monotonic()
        while not self._ended.is_set() and time.monotonic() - heard < _SILENT:
            try:
                session.sendall(b"still here\n")
                if session.recv(4096) == b"":
                    return
                heard = time.monotonic()
                time.sleep(1)
            except TimeoutError:
                continue
            except OSError:
                return


def lines(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the whole lines from an offset on: each with the offset behind it."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield offset, json.loads(line)


def main() -> int:
    """Play until the stop file is there."""
    request = json.load(sys.stdin)
    with Path(request["record"]).open("a") as file:
        Traffic(request, Record(file)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
