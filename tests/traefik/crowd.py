"""Agents and users of the API who come through Traefik, and try again as the real ones do.

Run on the clients' host as `python -m tests.traefik.crowd` with the request as JSON on standard
input; a line of JSON in the request's `record` for each one that has what it came for, or gave up.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sandbox.clients import Api, enrol

_AT_ONCE = 8
_AGAIN = 1.0
"""Seconds before another try; a real agent waits longer, and comes back all the same."""


class Crowd:
    """All of them, so many a second."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._end = time.monotonic() + request["seconds"]

    def run(self) -> None:
        """Let them come; return when each has ended."""
        kinds = {"enrolment": self._enrol, "login": self._log_in}
        with ThreadPoolExecutor(2 * _AT_ONCE) as pool:
            for number in range(self._request["count"]):
                for kind, one in kinds.items():
                    pool.submit(self._until_done, kind, number, one)
                time.sleep(1 / self._request["rate"])

    def _until_done(self, kind: str, number: int, one: Callable[[int], tuple[bool, Any]]) -> None:
        began, said, done = time.monotonic(), [], False
        while not done and time.monotonic() < self._end:
            done, answer = one(number)
            said.append(answer)
            if not done:
                time.sleep(_AGAIN)
        took = time.monotonic() - began
        line = {"kind": kind, "number": number, "done": done, "said": said, "took": took}
        with self._lock, Path(self._request["record"]).open("a") as record:
            record.write(json.dumps(line) + "\n")

    def _enrol(self, number: int) -> tuple[bool, Any]:
        request = self._request
        found = enrol(
            request["host"], f"agent-{number}", request["password"], ca=request["ca"], timeout=10
        )
        return found.id is not None, found.id or found.error

    def _log_in(self, number: int) -> tuple[bool, Any]:
        """Log in, and use the token: another connection, so mostly another unit."""
        request = self._request
        api = Api(request["host"], ca=request["ca"], timeout=10)
        try:
            status, token = api.log_in(request["user"], request["user-password"])
            used = api.get("/cluster/local/info", token)[0] if token else None
        except OSError as error:
            return False, str(error) or type(error).__name__
        return used == 200, [status, used]


if __name__ == "__main__":
    Crowd(json.load(sys.stdin)).run()
