"""Shuts the door of enrolment while authd goes on writing.

authd acknowledges an agent before it writes client.keys, and its writer ends at its first look
after SIGTERM (src/os_auth/main-server.c, run_writer): whoever was acknowledged while it was busy
with wazuh-db is lost. It cannot be told to take nobody any more. But it holds at most 999
connections (AUTH_POOL), ends what comes above these at once, and waits without limit for a
client's first word. So idle connections of our own take every place there is: clients are turned
away, those that were inside get their answer, and the writer comes to rest.
"""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

_BATCH = 64
"""Less than the queue before the door holds (BACKLOG, 128)."""
_MOST = 4096
"""More places than any authd has."""
_CALM = 0.3
"""Turned away for so long, over and over: whoever was inside has left, and we have the place."""
_PACE = 0.01
"""Between two tries: more often than any crowd of agents, yet each is a line in authd's log."""


class Door:
    """The door of one port on the loopback. Not safe for two threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._held = selectors.DefaultSelector()
        self._full = False
        self._limits: tuple[int, int] | None = None

    def shut(self, seconds: float) -> bool:
        """Take every place; False when it is not certain yet that none is left.

        Call it again and again. Nobody listening counts as shut.
        """
        end = time.monotonic() + seconds
        self._raise_limit()
        try:
            return self._fill(end) and self._calm(end)
        except ConnectionRefusedError:
            return True
        except OSError:
            # So many wait to be let in that there is no room in the queue before the door.
            return False

    def open(self) -> None:
        """Give every place back."""
        for key in list(self._held.get_map().values()):
            self._leave(key.fileobj)
        self._full = False
        if self._limits is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)
            self._limits = None

    def _fill(self, end: float) -> bool:
        """Come in, many at once, until the first is turned away."""
        while not self._full:
            if time.monotonic() > end or len(self._held.get_map()) >= _MOST:
                return False
            for _ in range(_BATCH):
                self._knock()
            self._full = bool(self._turned_away(0.03))
        return True

    def _calm(self, end: float) -> bool:
        """Take each place that a client leaves, until none has left any for a while."""
        since = time.monotonic()
        while time.monotonic() - since < _CALM:
            if time.monotonic() > end:
                return False
            last = self._knock()
            if last not in self._turned_away(0.05):
                since = time.monotonic()
            time.sleep(_PACE)
        return True

    def _knock(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), 0.5)
        connection.setblocking(False)
        self._held.register(connection, selectors.EVENT_READ)
        return connection

    def _turned_away(self, seconds: float) -> Sequence[object]:
        """Name those that authd has ended meanwhile; it says nothing to anybody first."""
        ended = [key.fileobj for key, _ in self._held.select(seconds)]
        for connection in ended:
            self._leave(connection)
        return ended

    def _leave(self, connection: object) -> None:
        if isinstance(connection, socket.socket):
            self._held.unregister(connection)
            connection.close()

    def _raise_limit(self) -> None:
        """Allow ourselves as many open files as there are places."""
        if self._limits is not None:
            return
        soft, hard = self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * _MOST if hard == resource.RLIM_INFINITY else min(2 * _MOST, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
