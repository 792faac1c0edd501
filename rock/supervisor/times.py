"""How long the supervisor waits for what, in real seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCALE = "WAZUH_SERVER_TIME_SCALE"


@dataclass(frozen=True, slots=True)
class Times:
    """The supervisor's own delays (seconds). Only the sandbox makes them shorter.

    `takeover` has to exceed `fence` by more than a fenced master needs to end
    enrolment: that order is what keeps two masters from serving at once.
    """

    tick: float = 0.5  # between two steps of the state machine
    poll: float = 1.0  # between two questions to a peer
    resolve: float = 3.0  # between two looks at who the peers are
    hearing: float = 3.5  # an answer older than this counts as none
    settle: float = 3.0  # for hearing peers once, after a start or after being cut off
    quiet: float = 3.0  # client.keys unchanged for so long: nothing is pending
    release: float = 10.0  # a release does not wait longer for quiet
    fence: float = 20.0  # a master that reaches nobody for so long stands down
    takeover: float = 30.0  # a claimant waits so long for an old master's answer
    patience: float = 60.0  # a worker waits so long for a new master to serve
    drain: float = 6.0  # until the Service has noticed that a leaving unit is not ready
    orphan: float = 60.0  # a master may be away for so long before another leader's unit serves
    wake: float = 1.0  # before the wake-up notice the charm asked for
    grace: float = 20.0  # for a daemon started alone to leave its pid file
    steady: float = 60.0  # a daemon that lived so long is no longer counted as failing
    pause: float = 30.0  # the longest between two starts of what keeps failing

    def scaled(self, factor: float) -> Times:
        """Divide by `factor` (at least 1), keeping what a real machine needs."""
        factor = max(1.0, factor)
        fence = max(4.0, self.fence / factor)
        return Times(
            tick=max(0.2, self.tick / factor),
            poll=max(0.3, self.poll / factor),
            resolve=max(0.5, self.resolve / factor),
            hearing=max(1.5, self.hearing / factor),
            settle=max(1.0, self.settle / factor),
            quiet=max(0.5, self.quiet / factor),
            release=max(2.0, self.release / factor),
            fence=fence,
            takeover=fence + max(4.0, (self.takeover - self.fence) / factor),
            patience=max(5.0, self.patience / factor),
            drain=max(1.0, self.drain / factor),
            orphan=max(5.0, self.orphan / factor),
            wake=self.wake,
            grace=max(10.0, self.grace / factor),
            steady=max(5.0, self.steady / factor),
            pause=max(2.0, self.pause / factor),
        )


REAL = Times()


def from_environment(environment: Mapping[str, str]) -> Times:
    """Read the sandbox's factor; anything that is no number of at least 1 counts as 1."""
    try:
        factor = float(environment.get(SCALE, "1"))
    except ValueError:
        factor = 1.0
    return REAL.scaled(factor) if factor > 1 else REAL
