"""What of the charm's order is in force at one unit's daemons, and how that changes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from supervisor import machine
from supervisor.parts import NOTHING, Parts

ALONE = {machine.CLUSTER: 5.0, machine.API: 8.0, machine.ENROLMENT: 2.0}
"""Seconds for which a daemon is away that is restarted alone."""
USERS = "users"
_FIELDS = {
    USERS: "users",
    machine.ENROLMENT: "enrolment",
    machine.API: "api",
    machine.CLUSTER: "cluster",
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """The part of an order that changes while all runs."""

    parts: Parts = NOTHING
    key: str = ""
    """A digest of the cluster's key."""
    password: str = field(default="", repr=False)
    """What agents enrol with."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What the daemons that run were started with."""

    secrets: Secrets = Secrets()
    back: Mapping[str, float] = field(default_factory=dict)
    """When a daemon that is restarted alone is there again."""

    def due(self, wanted: Secrets, hold: frozenset[str]) -> list[str]:
        """Name the daemons (and `users`) to which something else is to be given now."""
        return [
            name
            for name, part in _FIELDS.items()
            if name not in hold
            and getattr(self.secrets.parts, part) != getattr(wanted.parts, part)
        ]

    def after(self, wanted: Secrets, name: str, now: float) -> "Taken":
        """Return what is in force when one of them was given its part."""
        part = _FIELDS[name]
        have = machine.replace(self.secrets.parts, **{part: getattr(wanted.parts, part)})
        secrets = Secrets(
            have,
            wanted.key if name == machine.CLUSTER else self.secrets.key,
            wanted.password if name == machine.ENROLMENT else self.secrets.password,
        )
        if name == USERS:
            return replace(self, secrets=secrets)
        return Taken(secrets, {**self.back, name: now + ALONE[name]})

    def away(self, now: float) -> frozenset[str]:
        """Name the daemons that are being restarted."""
        return frozenset(name for name, until in self.back.items() if now < until)

    def in_force(self, running: frozenset[str]) -> Parts:
        """Say what is in force of the daemons that run; the users are the API's."""
        of = {name: machine.API if name == USERS else name for name in _FIELDS}
        gone = {part: "" for name, part in _FIELDS.items() if of[name] not in running}
        return machine.replace(self.secrets.parts, **gone)
