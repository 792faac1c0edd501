"""Agents of a unit that is being removed: told to connect again, before they are cut.

A unit that leaves is not ready any more, so whoever connects through the Service comes to another
one. Once the Service knows, the API is asked to have this node's agents connect again
(`PUT /agents/reconnect`; the node's own remoted tells them `force_reconnect`). Without an API, as
on a master that has handed over already, that remoted is told by itself, for all its agents at
once, as Wazuh's API does it (framework/wazuh/core/wazuh_queue.py, remoted/ar-forward.c).

Whatever comes in between, the stop or an error, costs nothing but this courtesy: an agent that is
cut connects again too.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from . import users
from .places import Places
from .times import Times

#: `GET /agents` is not to be asked for more at once (api/spec/spec.yaml, parameter limit).
_PORTION = 500
#: The API takes 300 calls a minute from everybody together.
_PAUSE = 0.4
#: Seconds for one answer: the unit goes in a few.
_PATIENCE = 4.0
#: Those who came back meanwhile are told again; the master learns within 10 s where agents report.
_ROUNDS = 3
#: All agents that are connected here (remoted/ar-forward.c: A = all, ! = no active response).
_EVERYBODY = b"(msg_to_agent) [] A!N (null) force_reconnect"
_FAULTS = (users.UsersError, *users.FAULTS)
_log = logging.getLogger(__name__)


class Drain:
    """Sends this unit's agents to the others once the unit is being removed."""

    def __init__(self, places: Places, times: Times) -> None:
        self._places = places
        self._times = times
        self.sentence: str | None = None

    def keep(
        self, leaves: Callable[[], bool], node: Callable[[], str], stop: threading.Event
    ) -> None:
        """Wait until this unit `leaves` for others that stay, then tell its agents."""
        while not leaves():
            if stop.wait(self._times.tick):
                return
        for _ in range(_ROUNDS):
            if not self.tell(node(), stop) or stop.wait(self._times.drain):
                return

    def tell(self, node: str, stop: threading.Event) -> bool:
        """Tell every agent of this node once; False when there was nobody left, or no time.

        Who is here is found out while the Service takes notice.
        """
        began = time.monotonic()
        try:
            session: users.Session | None = users.as_charm(self._places, _PATIENCE)
            here = self._listed(session, node) if session else []
        except _FAULTS as error:
            _log.info("the API does not say which agents are here: %s", type(error).__name__)
            session, here = None, []
        if session is not None and not here:
            return False
        if stop.wait(max(0.0, self._times.drain - (time.monotonic() - began))):
            return False
        try:
            return self._by_api(session, here, stop) if session else self._by_socket()
        except _FAULTS as error:
            _log.info("the API does not tell the agents: %s", type(error).__name__)
            return self._by_socket()

    def _listed(self, session: users.Session, node: str) -> list[str]:
        """Return the ids of the agents that are connected to this node, as the master has it."""
        path = f"/agents?node_name={node}&status=active&select=id&sort=%2Bid&limit={_PORTION}"
        found: list[str] = []
        while True:
            page = [str(one["id"]) for one in session.get(f"{path}&offset={len(found)}")]
            found += page
            if len(page) < _PORTION:
                return [number for number in found if number.isdigit() and int(number)]
            time.sleep(_PAUSE)

    def _by_api(self, session: users.Session, here: Sequence[str], stop: threading.Event) -> bool:
        told = 0
        for first in range(0, len(here), _PORTION):
            if first and stop.wait(_PAUSE):
                return False
            told += session.reconnect(here[first : first + _PORTION])
        self._say(f"{told} of its {len(here)} agents were told to connect to another unit")
        return True

    def _by_socket(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.settimeout(_PATIENCE)
                speaker.connect(str(self._places.home / "queue/alerts/ar"))
                speaker.send(_EVERYBODY)
        except OSError as error:
            self._say(f"its agents could not be told ({error.strerror})")
            return True
        self._say("its agents were told to connect to another unit")
        return True

    def _say(self, text: str) -> None:
        self.sentence = f"being removed: {text}"
        _log.info("%s", self.sentence)
