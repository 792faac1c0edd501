"""Somebody who tries Wazuh's default passwords on every unit for as long as the demo runs."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections import Counter
from types import TracebackType

from sandbox.cluster import SandboxError
from sandbox.demo.cluster import Cluster
from sandbox.demo.report import Line
from sandbox.driver import CommandFailedError
from sandbox.network import FIRST_CLIENT

_ROUND = 12
"""Tries of one round: 40 a source address and 200 a minute are what the API bears."""


class DefaultPasswords:
    """Tries from the first moment a unit has an address; only a 401 counts as refused."""

    def __init__(self, cluster: Cluster):
        self._cluster = cluster
        self._ended = threading.Event()
        self._answers: Counter[int | None] = Counter()
        self._thread = threading.Thread(target=self._try_on, name="default passwords")

    def __enter__(self) -> DefaultPasswords:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=60)

    def line(self) -> Line:
        """What came of it: refused at least once, and never let in."""
        let_in = sum(n for status, n in self._answers.items() if status and status < 400)
        refused = self._answers[401]
        return Line(
            "default API passwords, tried on every unit all the while",
            f"{self._answers.total()} tries, {refused} refused, {let_in} let in",
            holds=refused > 0 and let_in == 0,
            figures={"tries": self._answers.total(), "refused": refused, "let in": let_in},
        )

    def _try_on(self) -> None:
        number = 0
        while not self._ended.wait(0.5):
            # Before the deployment there is no model, and while it ends none that answers.
            with contextlib.suppress(SandboxError, CommandFailedError, OSError):
                if hosts := self._cluster.addresses():
                    number += 1
                    self._count(hosts, self._source(number))

    def _count(self, hosts: list[str], source: str) -> None:
        answers = self._cluster.ask("defaults", hosts=hosts, source=source, tries=_ROUND)
        self._answers.update(answer["status"] for answer in answers)

    def _source(self, number: int) -> str:
        """An address of the clients' host, the next after three rounds: 36 tries each."""
        return str(ipaddress.ip_address(FIRST_CLIENT) + 1 + number // 3)
