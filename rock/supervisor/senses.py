"""What takes time to find out, each found out in a thread of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import probes
from .machine import Times
from .places import Places

ENOUGH = 100 * 1024 * 1024  # bytes free on the volume


class Sense:
    """Asks again and again; the last answer counts until it is too old."""

    def __init__(self, question: Callable[[], bool | None], every: float, fresh: float) -> None:
        self._question = question
        self._every = every
        self._fresh = fresh
        self._last: tuple[float, bool | None] = (0.0, None)

    def start(self, stop: threading.Event) -> None:
        """Ask until stopped."""
        threading.Thread(target=self._run, args=(stop,), daemon=True).start()

    def value(self) -> bool | None:
        """Return the last answer, None when there is none that is fresh."""
        at, value = self._last
        return value if time.monotonic() - at <= self._fresh else None

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            value = self._question()
            self._last = (time.monotonic(), value)
            stop.wait(self._every)


@dataclass(frozen=True, slots=True)
class Need:
    """What is worth asking now."""

    database: bool = False
    master: bool = False
    kubernetes: bool = False


class Senses:
    """All of them."""

    def __init__(self, places: Places, times: Times, environment: Mapping[str, str]) -> None:
        self.need = Need()
        self._places = places
        self._environment = environment
        self._stop = threading.Event()
        slow = max(1.0, 2 * times.poll)
        self.database = Sense(self._ask_database, times.tick, times.hearing)
        self.connected = Sense(self._ask_master, slow, 8 + 2 * slow)
        self.kubernetes = Sense(self._ask_kubernetes, times.poll, times.hearing)

    def start(self) -> None:
        """Begin to ask."""
        for sense in (self.database, self.connected, self.kubernetes):
            sense.start(self._stop)

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def api(self) -> bool:
        """Tell whether the API's port is open."""
        return probes.listens(self._places.ports.api)

    def cluster(self) -> bool:
        """Tell whether a master's cluster daemon takes workers."""
        return probes.listens(self._places.ports.cluster)

    def free(self) -> int | None:
        """Count the bytes that are free on the volume; None when it cannot be told."""
        try:
            status = os.statvfs(self._places.volume)
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    def _ask_database(self) -> bool | None:
        return probes.database_answers(self._places.home) if self.need.database else None

    def _ask_master(self) -> bool | None:
        return probes.connected_to_master(self._places.home) if self.need.master else None

    def _ask_kubernetes(self) -> bool | None:
        """Try the Kubernetes API; without an address it is no evidence of anything."""
        host = self._environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environment.get("KUBERNETES_SERVICE_PORT", "")
        if not (self.need.kubernetes and host and port.isdigit()):
            return None
        return probes.reaches(host, int(port))
