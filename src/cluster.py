"""Who is master: the one decision that the leader publishes and every unit reads. Pure, no I/O."""

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

SCHEMA = 1
FIRST_EPOCH = 1


class UnreadableError(ValueError):
    """The peers' data is not what this charm writes; the text says what is wrong."""


class RefusedError(ValueError):
    """A wish that is not granted, as `<parameter>: <reason>`."""


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
    decided_by: str = ""
    """The leader who decided; it does not undo its own decision. Empty: the master itself."""
    regardless: bool = False
    """Whether the master is to go on although agents' keys are known to be missing."""

    @property
    def leader(self) -> str:
        """The leader who decided; a charm that kept no record of it always named itself."""
        return self.decided_by or self.master

    def role(self, unit: str) -> Role:
        """Return the role of a unit, which never depends on who is leader."""
        return Role.MASTER if unit == self.master else Role.WORKER

    def dump(self) -> dict[str, str]:
        """Return the databag's keys and values.

        What an older charm neither knows nor takes away names the epoch it belongs to.
        """
        values = {
            "schema": str(SCHEMA),
            "epoch": str(self.epoch),
            "master": self.master,
            "high-water": str(self.high_water),
        }
        if self.decided_by:
            values["decided-by"] = f"{self.epoch} {self.decided_by}"
        if self.regardless:
            values["regardless"] = str(self.epoch)
        return values


@dataclass(frozen=True, slots=True)
class Names:
    """The application's names in the cluster's DNS."""

    application: str
    model: str

    @property
    def endpoints(self) -> str:
        """The headless Service: an address for each pod, ready or not."""
        return f"{self.application}-endpoints.{self.model}.svc.cluster.local"

    @property
    def service(self) -> str:
        """The application's Service: one address for all units that are ready."""
        return f"{self.application}.{self.model}.svc.cluster.local"

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
        decided_by=_decided_by(databag),
        regardless=databag.get("regardless") == databag["epoch"],
    )
    if decision.epoch < FIRST_EPOCH:
        raise UnreadableError("epoch is below 1")
    if not _is_unit(decision.master):
        raise UnreadableError("master is not the name of a unit")
    return decision


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the leader knows when it decides."""

    leader: str
    planned: int
    """How many units there are to be, without those that are being removed."""
    configured: bool = True
    """Whether its own Wazuh was configured before: the role never goes to who cannot act."""
    seen_epoch: int = 0
    """The newest epoch its supervisor knows of."""
    highest_id: int = 0
    contested: bool = False
    """Whether two units hold this epoch, as after a first hook that failed once it had acted."""
    orphaned: bool = False
    """Whether its supervisor has waited in vain for the master of the newest epoch."""
    leaving: bool = False
    """Whether it is being removed; it leads until its last hook."""
    serving_epoch: int = 0
    """The newest epoch whose master is known to have taken over."""
    answering: Collection[str] = ()
    """The other nodes that its supervisor hears."""

    @property
    def leaves(self) -> bool:
        """Tell whether the leader itself is being removed, told so or not."""
        return self.leaving or not self.stays(self.leader)

    def stays(self, unit: str) -> bool:
        """Tell whether a unit is there and is to stay: Juju removes the highest numbers.

        Never built on who has departed: survivors may hear of one departure out of several.
        """
        return _number_of(unit) < self.planned and not (self.leaving and unit == self.leader)


def next_decision(current: Decision | None, outlook: Outlook) -> Decision | None:
    """Decide what the leader has to publish; None when everything stays.

    The first leader names itself at once. Whoever leads after the one who decided takes the role
    over, and so does a leader whose master is gone for good. What a leader decided itself stays:
    a promotion, and a role that was handed over. A leader that is being removed gives the role
    to the lowest unit that stays. A master that may not serve its epoch is named again.
    """
    if current is None:
        first = Decision(FIRST_EPOCH, outlook.leader, decided_by=outlook.leader)
        return None if outlook.leaves else first
    master = _due_master(current, outlook)
    if master is not None:
        return _moved(current, outlook, master)
    if outlook.leader == current.master != current.leader and not outlook.leaves:
        return dataclasses.replace(current, decided_by=outlook.leader)
    return None


def choose(
    current: Decision | None, outlook: Outlook, unit: str, *, force: bool = False
) -> Decision:
    """Make the decision that a person asks for. Raises RefusedError.

    With `force` a unit is named that does not answer, is master already or has yet to take over,
    and it goes on although agents' keys are known to be missing.
    """
    reason = _why_not(current, outlook, unit) or (
        None if force else _why_not_now(current, outlook, unit)
    )
    if reason or current is None:
        raise RefusedError(f"unit: {reason}")
    return dataclasses.replace(_moved(current, outlook, unit), regardless=force)


def _due_master(current: Decision, outlook: Outlook) -> str | None:
    """Name who has to be master under a new epoch; None when this one stays."""
    if outlook.leaves:
        return None if outlook.stays(current.master) else _heir(outlook)
    if not outlook.configured:
        return None
    mine = current.master == outlook.leader
    gone = outlook.orphaned or not outlook.stays(current.master)
    if not mine and (current.leader != outlook.leader or gone):
        return outlook.leader
    known = outlook.seen_epoch
    outdated = known > current.epoch or (outlook.contested and known == current.epoch)
    return current.master if outdated else None


def _heir(outlook: Outlook) -> str | None:
    """Name the lowest unit that stays; None where nobody does."""
    app = outlook.leader.partition("/")[0]
    units = (f"{app}/{number}" for number in range(outlook.planned))
    return next((unit for unit in units if outlook.stays(unit)), None)


def _moved(current: Decision, outlook: Outlook, master: str) -> Decision:
    return Decision(
        epoch=max(current.epoch, outlook.seen_epoch) + 1,
        master=master,
        high_water=max(current.high_water, outlook.highest_id),
        decided_by=outlook.leader,
    )


def _why_not(current: Decision | None, outlook: Outlook, unit: str) -> str | None:
    """Say why a unit cannot be master at all."""
    app = outlook.leader.partition("/")[0]
    if not _is_unit(unit) or unit.partition("/")[0] != app:
        return f"not a unit of {app}, such as {app}/0"
    if current is None:
        return "no master was named yet"
    if outlook.leaves:
        return "this leader is being removed; ask the next one"
    if not outlook.stays(unit):
        return f"{unit} is not among the {outlook.planned} units that are to stay"
    return None


def _why_not_now(current: Decision | None, outlook: Outlook, unit: str) -> str | None:
    """Say why a unit is not to be master now, which force overrules."""
    if current is None:
        return None
    if unit == current.master:
        return f"{unit} is master already (epoch {current.epoch})"
    if outlook.serving_epoch < max(current.epoch, outlook.seen_epoch):
        return (
            f"{current.master} has not taken over yet (epoch {current.epoch}); run this again "
            "when it has, or with force=true"
        )
    if unit != outlook.leader and node_name(unit) not in outlook.answering:
        return f"{unit} does not answer the other units; with force=true it is named all the same"
    return None


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


def _decided_by(databag: Mapping[str, str]) -> str:
    """Read who decided; what another charm left there for another epoch says nothing."""
    epoch, _, unit = databag.get("decided-by", "").partition(" ")
    return unit if epoch == databag["epoch"] and _is_unit(unit) else ""


def _number_of(unit: str) -> int:
    return int(unit.rpartition("/")[2])


def _is_unit(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9-]*/[0-9]{1,9}", name) is not None
