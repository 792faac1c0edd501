"""Who is master: the one decision that the leader publishes and every unit reads. Pure, no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SCHEMA = 1
FIRST_EPOCH = 1


class UnreadableError(ValueError):
    """The peers' data is not what this charm writes; the text says what is wrong."""


class Role(StrEnum):
    """What a unit is in the Wazuh cluster, in Wazuh's own words (`<node_type>`)."""

    MASTER = "master"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Decision:
    """The content of the peers' application databag."""

    epoch: int
    """Grows by one at each move of the master."""
    master: str
    """The unit's name, as Juju writes it."""
    high_water: int = 0
    """The highest agent id known at the last move."""

    def role(self, unit: str) -> Role:
        """Return the role of a unit, which never depends on who is leader."""
        return Role.MASTER if unit == self.master else Role.WORKER

    def dump(self) -> dict[str, str]:
        """Return the databag's keys and values."""
        return {
            "schema": str(SCHEMA),
            "epoch": str(self.epoch),
            "master": self.master,
            "high-water": str(self.high_water),
        }


@dataclass(frozen=True, slots=True)
class Names:
    """The application's names in the cluster's DNS."""

    application: str
    model: str

    @property
    def endpoints(self) -> str:
        """The headless Service: an address for each pod, ready or not."""
        return f"{self.application}-endpoints.{self.model}.svc.cluster.local"

    def address(self, unit: str) -> str:
        """Return the name of a unit's pod, whatever its address is now."""
        return f"{node_name(unit)}.{self.endpoints}"

    def hosts(self) -> tuple[str, ...]:
        """List every name under which a client may call a unit, for its certificate."""
        domains = ("", f".{self.model}", f".{self.model}.svc", f".{self.model}.svc.cluster.local")
        of_service = [f"{self.application}{domain}" for domain in domains]
        of_pods = [f"*.{self.application}-endpoints{domain}" for domain in domains]
        return (*of_service, *of_pods, "localhost", "127.0.0.1", "::1")


def parse(databag: Mapping[str, str]) -> Decision | None:
    """Read the databag; None when no decision was ever published. Raises UnreadableError."""
    if "schema" not in databag and "epoch" not in databag:
        return None
    schema = _number(databag, "schema")
    if schema > SCHEMA:
        raise UnreadableError(f"written by a newer charm (schema {schema}); refresh this unit")
    decision = Decision(
        epoch=_number(databag, "epoch"),
        master=databag.get("master", ""),
        high_water=_number(databag, "high-water", default="0"),
    )
    if decision.epoch < FIRST_EPOCH:
        raise UnreadableError("epoch is below 1")
    if not _is_unit(decision.master):
        raise UnreadableError("master is not the name of a unit")
    return decision


def next_decision(
    current: Decision | None,
    *,
    leader: str,
    configured: bool,
    seen_epoch: int,
    highest_id: int,
    contested: bool = False,
) -> Decision | None:
    """Decide what the leader has to publish; None when everything stays.

    The first leader names itself at once. Later a leader takes the role over only when its own
    Wazuh was configured before (`configured`), so that the role never goes to a unit that cannot
    act. `seen_epoch` and `highest_id` are what its supervisor reports. A leader that is master
    already names itself again when its supervisor may not serve this epoch: a newer one is known,
    or two units hold this one (`contested`), as after a first hook that failed once it had acted.
    """
    if current is None:
        return Decision(FIRST_EPOCH, leader)
    outdated = seen_epoch > current.epoch or (contested and seen_epoch == current.epoch)
    if not configured or (current.master == leader and not outdated):
        return None
    return Decision(
        epoch=max(current.epoch, seen_epoch) + 1,
        master=leader,
        high_water=max(current.high_water, highest_id),
    )


def acted_on(committed: Decision | None, published: Decision | None) -> Decision | None:
    """Return the decision a hook may act on: one committed before the hook began.

    A hook may fail after it acted, and then nothing of what it published ever existed. Only a new
    application's first epoch is acted on at once, for there is no other master it could meet.
    """
    if committed is None and published is not None and published.epoch == FIRST_EPOCH:
        return published
    return committed


def node_name(unit: str) -> str:
    """Return Wazuh's name of a unit; it refuses a slash (error 3060)."""
    return unit.replace("/", "-")


def _number(databag: Mapping[str, str], key: str, default: str = "") -> int:
    text = databag.get(key, default)
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise UnreadableError(f"{key} is not a number")
    return int(text)


def _is_unit(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9-]*/[0-9]+", name) is not None
