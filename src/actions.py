"""The charm's actions: what a person asks of it, checked, done or refused in one sentence."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import ops

from src import cluster, enrolment, overview, rotation, secrets, senders, wazuh
from src.occasion import Occasion
from src.picture import Picture

Results = dict[str, str | int | dict[str, dict[str, str | int]]]


class RefusedError(ValueError):
    """An action that is not done; the text says why, and what to do instead."""


_REFUSED = (RefusedError, cluster.RefusedError, rotation.RefusedError, senders.RefusedError)


class Charm(Protocol):
    """What actions need of the charm."""

    waiting_for: str | None
    rotation: rotation.Answer

    @property
    def model(self) -> ops.Model:
        """Juju's model."""
        ...

    @property
    def picture(self) -> Picture:
        """What this hook finds."""
        ...

    def begin(self, occasion: Occasion) -> None:
        """Say what this hook is to look at, before `picture` is asked for."""

    def reconcile(self, chosen: cluster.Decision | None = None) -> None:
        """Bring the unit to what `picture` says, and to what a person chose."""


class Actions(ops.Object):
    """Runs each action: its results, or why it failed."""

    def __init__(self, parent: ops.CharmBase, charm: Charm) -> None:
        super().__init__(parent, "actions")
        self._charm = charm
        # Each by name: charmlint reads them here.
        self.framework.observe(parent.on.enrolment_command_action, self._on_action)
        self.framework.observe(parent.on.issue_sender_certificate_action, self._on_action)
        self.framework.observe(parent.on.promote_action, self._on_action)
        self.framework.observe(parent.on.rotate_secret_action, self._on_action)
        self.framework.observe(parent.on.show_cluster_action, self._on_action)
        self.framework.observe(parent.on.sync_configuration_action, self._on_action)

    def _on_action(self, event: ops.ActionEvent) -> None:
        name = event.handle.kind.removesuffix("_action").replace("_", "-")
        try:
            if name in _LEADERS:
                _refuse_others(self._charm, name)
            event.set_results(_ACTIONS[name](self._charm, event))
        except _REFUSED as reason:
            event.fail(str(reason))


def _refuse_others(charm: Charm, action: str) -> None:
    """Refuse what only the leader may do."""
    if not charm.model.unit.is_leader():
        name = charm.model.app.name
        raise RefusedError(f"only the leader can do this: juju run {name}/leader {action} …")


def _promote(charm: Charm, event: ops.ActionEvent) -> Results:
    """Have the unit that a person chose become master; this leader does not undo it."""
    picture = charm.picture
    if picture.juju.missing():
        raise RefusedError(f"not possible yet: {picture.juju.missing()}")
    current, force = picture.juju.peers.decision, event.params.get("force") is True
    outlook = dataclasses.replace(picture.outlook(current), planned=picture.planned())
    unit = str(event.params.get("unit", ""))
    chosen = cluster.choose(current, outlook, unit, force=force)
    charm.reconcile(chosen)
    if charm.waiting_for:
        raise RefusedError(f"not possible now: {charm.waiting_for}")
    return {"master": chosen.master, "epoch": chosen.epoch}


def _rotate_secret(charm: Charm, event: ops.ActionEvent) -> Results:
    """Begin to rotate; the secrets themselves say how far it is."""
    asked = rotation.labels(str(event.params.get("secret", "")))
    charm.begin(Occasion(look=True, closely=True, asked=asked))
    charm.reconcile()
    answer = charm.rotation
    if not answer.begin:
        left = "; ".join(answer.left)
        reasons = charm.waiting_for or left or charm.picture.juju.missing()
        raise RefusedError(reasons or "the cluster is not deployed yet")
    return {**answer.results()}


def _sync_configuration(charm: Charm, _event: ops.ActionEvent) -> Results:
    """Have the configuration repository looked at now, not at the next update-status."""
    charm.begin(Occasion(again=True))
    reason = charm.picture.why_no_fetch()
    if reason:
        raise RefusedError(reason)
    charm.reconcile()
    return {"result": "asked for; the status shows the commit when it is in place"}


def _enrolment_command(charm: Charm, _event: ops.ActionEvent) -> Results:
    """Tell how a host enrols; the password itself stays in its secret."""
    try:
        secret_id = secrets.find(charm.model, secrets.ENROLMENT)
    except secrets.UnavailableError as label:
        raise RefusedError(f"not possible yet: the secret {label} cannot be read") from None
    names, picture = charm.picture.juju.names, charm.picture
    # Without a node's address people know one: any leads to the application.
    address = picture.address or ("NODE" if picture.ports else names.service)
    return {**enrolment.tell(address, secret_id, picture.ports, _authority(charm, address))}


def _authority(charm: Charm, address: str) -> str:
    """Return whom a host has to know to check that it enrols here; empty where that is unknown."""
    try:
        labels = (secrets.API_IDENTITY, secrets.AUTHORITY)
        return secrets.checked_by(secrets.read_all(charm.model, labels), address)
    except secrets.UnavailableError:
        return ""


def _issue_sender_certificate(charm: Charm, event: ops.ActionEvent) -> Results:
    """Issue a syslog sender's certificate; only the leader may make a secret."""
    issued = senders.issue(
        charm.model,
        name=event.params.get("name", ""),
        days=event.params.get("days", senders.DAYS),
        request=event.params.get("signing-request", ""),
        now=charm.picture.now,
    )
    return {**issued}


def _show_cluster(charm: Charm, _event: ops.ActionEvent) -> Results:
    """Show how every unit is, as this one hears it; any unit can be asked."""
    decision = charm.picture.juju.peers.decision
    container = charm.model.unit.get_container(wazuh.CONTAINER)
    try:
        content = wazuh.pull_overview(container)
    except wazuh.UnreachableError as reason:
        raise RefusedError(f"the container cannot be asked: {reason}") from None
    app = charm.model.app.name
    nodes = overview.read(content, app, charm.picture.planned())
    if decision is None or not nodes:
        raise RefusedError("nothing is known yet: this unit's supervisor has not reported")
    return {
        "master": decision.master,
        "epoch": decision.epoch,
        "planned-units": charm.picture.planned(),
        "table": overview.table(nodes),
        "units": {node.unit.replace("/", "-"): node.results() for node in nodes},
    }


_LEADERS = ("enrolment-command", "issue-sender-certificate", "promote", "rotate-secret")
"""Actions that read or write what is the application's: Juju lets the leader alone."""
_ACTIONS: dict[str, Callable[[Charm, ops.ActionEvent], Results]] = {
    "enrolment-command": _enrolment_command,
    "issue-sender-certificate": _issue_sender_certificate,
    "promote": _promote,
    "rotate-secret": _rotate_secret,
    "show-cluster": _show_cluster,
    "sync-configuration": _sync_configuration,
}
