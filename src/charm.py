#!/usr/bin/env python3
"""The Wazuh server as one cluster whose master moves by itself."""

import contextlib
import dataclasses
import datetime
import functools
import logging
from dataclasses import dataclass

import ops

from src import (
    cluster,
    enrolment,
    exposure,
    files,
    master_state,
    network,
    relations,
    rotation,
    secrets,
    senders,
    state,
    status,
    wazuh,
)
from src.picture import Picture

logger = logging.getLogger(__name__)

_RELATED = ("relation_created", "relation_changed", "relation_broken")
_FREQUENT = (
    ops.UpdateStatusEvent,
    ops.PebbleCheckFailedEvent,
    ops.PebbleCheckRecoveredEvent,
    ops.PebbleCustomNoticeEvent,
    ops.PebbleReadyEvent,
)


@dataclass(frozen=True, slots=True)
class _Opened:
    """All secrets, as far as one hook may act on them, and what it tells the others."""

    vault: secrets.Vault
    digest: str
    """Stands in the peers' databag: of what every unit is to bring into force."""
    before: secrets.Contents
    policy: str = ""


class WazuhOperatorCharm(ops.CharmBase):
    """Brings one unit to what Juju says; everything that takes time is its supervisor's.

    No event is trusted to come, or to come once: each of them leads to the same `_reconcile`,
    which changes nothing when nothing changed.
    """

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._container = self.unit.get_container(wazuh.CONTAINER)
        self._waiting_for: str | None = None
        self._try_again = False
        self._look = False
        self._planned = functools.cache(self.app.planned_units)
        self._closely = False
        self._elected = False
        self._asked: tuple[str, ...] = ()
        self._rotation = rotation.Answer()
        peers, pebble = self.on[state.PEERS], self.on[wazuh.CONTAINER]
        for event in (
            self.on.data_storage_attached,
            self.on.start,
            peers.relation_created,
            peers.relation_joined,
            peers.relation_changed,
            peers.relation_departed,
            pebble.pebble_ready,
            pebble.pebble_check_failed,
            pebble.pebble_check_recovered,
        ):
            framework.observe(event, self._reconcile)
        for name in relations.ENDPOINTS:
            for event in _RELATED:
                framework.observe(getattr(self.on[name], event), self._reconcile)
        framework.observe(self.on.data_storage_detaching, self._on_storage_detaching)
        framework.observe(self.on.install, self._on_install)
        framework.observe(self.on.leader_elected, self._on_leader_elected)
        framework.observe(self.on.upgrade_charm, self._on_upgrade_charm)
        framework.observe(self.on.config_changed, self._on_config_changed)
        framework.observe(self.on.update_status, self._on_update_status)
        framework.observe(self.on.secret_changed, self._on_secret_changed)
        framework.observe(self.on.secret_rotate, self._on_secret_rotate)
        framework.observe(self.on.secret_expired, self._on_secret_rotate)
        framework.observe(self.on.secret_remove, self._on_secret_remove)
        framework.observe(pebble.pebble_custom_notice, self._on_pebble_custom_notice)
        framework.observe(self.on.issue_sender_certificate_action, self._on_issue_certificate)
        framework.observe(self.on.promote_action, self._on_promote)
        framework.observe(self.on.rotate_secret_action, self._on_rotate_secret)
        framework.observe(self.on.sync_configuration_action, self._on_sync_configuration)
        framework.observe(self.on.enrolment_command_action, self._on_enrolment_command)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)

    def _reconcile(self, event: ops.EventBase) -> None:
        """Read what is, decide what is due, and do only that."""
        self._look = self._look or not _is_frequent(event)
        self._answer_supervisor()
        if self._picture.is_settled() and not self._closely:
            self._fetch()
            self._keep_master_state()
            return
        try:
            opened = self._open_secrets()
            published = self._publish(opened.digest) if opened else None
        except ops.ModelError as reason:
            logger.warning("Juju did not take what this unit wrote as leader: %s", reason)
            self._waiting_for = "waiting for Juju to take what this unit wrote as leader"
            return
        if opened:
            self._configure(opened, published)

    def _on_install(self, event: ops.InstallEvent) -> None:
        """Put the ports on the application's Service, which Juju keeps from then on."""
        self.unit.set_ports(*files.PORTS)
        self._reconcile(event)

    def _on_leader_elected(self, event: ops.LeaderElectedEvent) -> None:
        """Go on from what the secrets say: the last leader may have told nobody (Juju 3.6)."""
        self._closely = self._elected = self.unit.is_leader()
        self._reconcile(event)

    def _on_upgrade_charm(self, event: ops.UpgradeCharmEvent) -> None:
        """Do the same: another revision may have other ports."""
        self.unit.set_ports(*files.PORTS)
        self._reconcile(event)

    def _on_config_changed(self, event: ops.ConfigChangedEvent) -> None:
        self._reconcile(event)

    def _on_update_status(self, event: ops.UpdateStatusEvent) -> None:
        """Try again what failed for an outside cause."""
        self._try_again = True
        self._reconcile(event)

    def _on_secret_changed(self, event: ops.SecretChangedEvent) -> None:
        """Follow the newest revision: a quiet hook reads the one that this unit follows.

        The application's own secrets have a label, and no unit but the leader may name id and
        label together; those are read anew when the leader publishes another digest. The leader
        itself looks at once, for the hook that changed one may have failed to publish it.
        """
        if event.secret.label:
            self._closely = self.unit.is_leader()
        else:
            secrets.follow(event.secret)
        self._reconcile(event)

    def _on_secret_rotate(self, event: ops.SecretRotateEvent | ops.SecretExpiredEvent) -> None:
        """Rotate what Juju says is due; one that the operator's own secret sets is the operator's.

        An expired revision goes like any other, when nobody follows it any more.
        """
        if event.secret.label in rotation.PARTS:
            self._asked, self._closely = (event.secret.label,), True
        self._reconcile(event)

    def _on_secret_remove(self, event: ops.SecretRemoveEvent) -> None:
        """Drop a revision that nobody follows any more; they would pile up.

        Where Juju refuses it, since this unit has just ceased to lead, the next leader is told.
        """
        with contextlib.suppress(ops.ModelError):
            event.remove_revision()

    def _on_pebble_custom_notice(self, event: ops.PebbleCustomNoticeEvent) -> None:
        """Take up the supervisor's news; only then may the workload have another version."""
        version = self._picture.workload.report.version
        if event.notice.key == wazuh.STATE_NOTICE and version:
            self.unit.set_workload_version(version)
        self._reconcile(event)

    def _on_issue_certificate(self, event: ops.ActionEvent) -> None:
        """Issue a syslog sender's certificate; only the leader may make a secret."""
        if not self.unit.is_leader():
            event.fail(f"only the leader can do this: juju run {self.app.name}/leader …")
            return
        try:
            result = senders.issue(
                self.app,
                self.model,
                name=event.params.get("name", ""),
                days=event.params.get("days", senders.DAYS),
                request=event.params.get("signing-request", ""),
                now=_now(),
            )
        except senders.RefusedError as reason:
            event.fail(str(reason))
            return
        event.set_results(result)

    def _on_storage_detaching(self, _event: ops.StorageDetachingEvent) -> None:
        """Give the master's role away before this unit goes for good.

        A leader leads until its last hook. Its container is left as it is from now on: the
        supervisor hears of the new master and hands over to it, however long the hooks take.
        What the last unit knows is kept, for its volume goes with it.
        """
        if self._picture.juju.may_publish and self._planned() == 0:
            self._keep_master_state(last=True)
            self._raise_high_water()
        self._picture = dataclasses.replace(self._picture, leaving=True)
        self._hand_over()
        if self._picture.workload.reachable:
            try:
                wazuh.leave(self._container, self._picture.workload)
            except wazuh.UnreachableError as reason:
                logger.warning("the container was not told that this unit leaves: %s", reason)

    def _hand_over(self) -> None:
        """Publish who is to be master instead of a leader that is being removed."""
        relation = self.model.get_relation(state.PEERS)
        if relation is None or not self._picture.juju.may_publish:
            return
        decision = self._picture.next_decision()
        if decision:
            relation.data[self.app].update(decision.dump())
            logger.info("epoch %s: %s is to be master", decision.epoch, decision.master)

    def _on_promote(self, event: ops.ActionEvent) -> None:
        """Have the unit that a person chose become master; this leader does not undo it."""
        picture, unit = self._picture, str(event.params.get("unit", ""))
        if not picture.juju.leader:
            event.fail(f"only the leader can do this: juju run {self.app.name}/leader promote …")
            return
        if picture.juju.missing():
            event.fail(f"not possible yet: {picture.juju.missing()}")
            return
        current, force = picture.juju.peers.decision, event.params.get("force") is True
        outlook = dataclasses.replace(picture.outlook(current), planned=self._planned())
        try:
            chosen = cluster.choose(current, outlook, unit, force=force)
        except cluster.RefusedError as reason:
            event.fail(str(reason))
            return
        self._picture = dataclasses.replace(picture, chosen=chosen)
        self._reconcile(event)
        if self._waiting_for:
            event.fail(f"not possible now: {self._waiting_for}")
            return
        event.set_results({"master": chosen.master, "epoch": chosen.epoch})

    def _raise_high_water(self) -> None:
        """Say how many agents a master that begins anew has to find."""
        relation, decision = (
            self.model.get_relation(state.PEERS),
            self._picture.juju.peers.decision,
        )
        if relation is None or decision is None:
            return
        highest = max(decision.high_water, self._picture.workload.report.highest_id)
        relation.data[self.app].update(dataclasses.replace(decision, high_water=highest).dump())

    def _on_rotate_secret(self, event: ops.ActionEvent) -> None:
        """Begin to rotate; the secrets themselves say how far it is."""
        if not self.unit.is_leader():
            event.fail(
                f"only the leader can do this: juju run {self.app.name}/leader rotate-secret …"
            )
            return
        try:
            self._asked = rotation.labels(str(event.params.get("secret", "")))
        except rotation.RefusedError as reason:
            event.fail(str(reason))
            return
        self._closely = True
        self._reconcile(event)
        answer = self._rotation
        if not answer.begin:
            reasons = self._waiting_for or "; ".join(answer.left) or self._picture.juju.missing()
            event.fail(reasons or "the cluster is not deployed yet")
            return
        event.set_results(answer.results())

    def _on_sync_configuration(self, event: ops.ActionEvent) -> None:
        """Have the configuration repository looked at now, not at the next update-status."""
        self._try_again = True
        reason = self._picture.why_no_fetch()
        if reason:
            event.fail(reason)
            return
        self._reconcile(event)
        event.set_results({"result": "asked for; the status shows the commit when it is in place"})

    def _on_enrolment_command(self, event: ops.ActionEvent) -> None:
        """Tell how a host enrols; the password itself stays in its secret."""
        if not self.unit.is_leader():
            event.fail(f"only the leader can do this: juju run {self.app.name}/leader …")
            return
        try:
            secret_id = secrets.find(self.model, secrets.ENROLMENT)
        except secrets.UnavailableError as label:
            event.fail(f"not possible yet: the secret {label} cannot be read")
            return
        names, address = self._picture.juju.names, self._picture.address
        event.set_results(enrolment.tell(address or names.service, secret_id))

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        """Say what holds; the only place that sets a status."""
        for found in self._statuses:
            event.add_status(found)

    @functools.cached_property
    def _statuses(self) -> list[ops.StatusBase]:
        """Find what there is to say once, for the unit and, on the leader, the application."""
        return status.find(self._picture, self._waiting_for)

    @functools.cached_property
    def _picture(self) -> Picture:
        """Tell what Juju and the container say at the beginning of this hook."""
        juju = state.load(self.model)
        found = wazuh.look(self._container, repository=bool(juju.origin.address))
        look = juju.leader and (self._look or not found.applied.inputs)
        related = relations.load(self.model) if look else None
        return Picture(juju, found, _now(), self._planned, self._try_again, related)

    def _fetch(self) -> None:
        """Start what fetches the configuration repository, when that alone is due."""
        if not self._picture.is_to_fetch():
            return
        try:
            wazuh.fetch(self._container)
        except wazuh.UnreachableError as reason:
            logger.warning("the configuration repository is not fetched: %s", reason)

    def _open_secrets(self) -> _Opened | None:
        """Read all secrets, which the leader sees to first; None while one is missing."""
        juju = self._picture.juju
        if juju.missing() and not juju.may_publish:
            return None
        try:
            found = secrets.read_all(self.model)
            kept = self._lead(found) if juju.may_publish else secrets.Kept(found, found)
        except secrets.UnavailableError as label:
            self._waiting_for = f"waiting for Juju to hand out the secret {label}"
            return None
        missing = secrets.first_missing(kept.told)
        if missing:
            self._waiting_for = f"waiting for the leader to make the secret {missing}"
            return None
        return _Opened(
            vault=secrets.open_vault(kept.acted_on),
            digest=secrets.open_vault(kept.told).digest,
            before=found,
            policy=self._follow_policy(found) if juju.may_publish else "",
        )

    def _lead(self, found: secrets.Contents) -> secrets.Kept:
        """Bring the application's secrets and our side of the relations up to date."""
        juju, now = self._picture.juju, self._picture.now
        contents = {**found, **secrets.read_all(self.model, secrets.LEADERS_LABELS)}
        related = self._picture.relations or relations.load(self.model)
        heard = network.read(related, juju.names, contents, now, self._expose(contents))
        whole = not secrets.first_missing(contents)
        option = state.ENROLMENT_OPTION if juju.password_option else None
        self._rotation = rotation.answer(self._asked, contents, set_by_option=option)
        wishes = secrets.Wishes(
            hosts=heard.hosts,
            agent_password=juju.agent_password,
            now=now,
            given=heard.given,
            proven=self._picture.proven(contents) if whole else frozenset(),
            begin=self._rotation.begin,
            policy=self._picture.policy() or rotation.NEVER,
        )
        kept = secrets.ensure(self.app, self.model, contents, wishes)
        changes = network.wanted(related, juju.names, kept.told, self._share(related, kept))
        relations.publish(self.model, changes)
        self._picture = self._picture.knowing(related.with_ours(changes), heard)
        return kept

    def _share(self, related: relations.Relations, kept: secrets.Kept) -> str:
        """Hand the API's credentials to who is related; returns the secret's id, if there is one.

        Of a rotation they get what is in force, until all units have what comes.
        """
        told = network.granted(related)
        if not told:
            return ""
        content = network.credentials(kept.acted_on)
        endpoint = relations.WAZUH_API
        return secrets.share(self.app, self.model, secrets.API_CLIENT, content, told, endpoint)

    def _expose(self, contents: secrets.Contents) -> network.Service:
        """Make the Service what the options say, or say why it is not; nothing stops for it."""
        picture, key = self._picture, contents.get(secrets.CLUSTER_KEY)
        present = network.Service(picture.juju.peers.service, picture.workload.applied.balancer)
        if key is None:
            return present
        try:
            wanted = exposure.parse(picture.juju.exposure)
        except exposure.BadOptionError as reason:
            note = relations.Note(reason.option, reason.reason, bad=True)
            return dataclasses.replace(present, notes=(note,))
        if not picture.asks(secrets.digest_key(key), wanted):
            return present
        from src import kubernetes

        try:
            address = kubernetes.expose(picture.juju.names, wanted)
        except kubernetes.RefusedError as reason:
            note = relations.Note(exposure.TYPE, str(reason), bad=True)
            return dataclasses.replace(present, notes=(note,))
        mark = picture.service_mark(secrets.digest_key(key), wanted)
        waits = wanted.type == exposure.LOAD_BALANCER and not address
        note = relations.Note(exposure.TYPE, "waiting for the load balancer's address")
        return network.Service(mark, address, (note,) if waits else ())

    def _follow_policy(self, found: secrets.Contents) -> str:
        """Set the option's rotation policy; returns the one that all secrets have, if known."""
        wanted, known = self._picture.policy(), self._picture.workload.applied.policy
        if wanted is None or (wanted == known and not self._elected):
            return known
        if not set(rotation.PARTS) & set(found):
            return wanted
        return wanted if secrets.follow_policy(self.model, wanted) else ""

    def _service(self) -> str | None:
        """Return what is to be remembered of the Service; None when that stays as it is."""
        known, heard = self._picture.juju.peers.service, self._picture.network
        return heard.service.mark if heard and heard.service.mark != known else None

    def _publish(self, digest: str) -> cluster.Decision | None:
        """Tell all units who is master and which secrets hold, as leader and only on change."""
        peers = self._picture.juju.peers
        relation = self.model.get_relation(state.PEERS)
        if relation is None or not self._picture.juju.may_publish:
            return None
        decision = self._picture.next_decision()
        told = decision or peers.decision
        if told is None:
            return None
        # ops writes in one call what differs, and nothing when nothing does.
        relation.data[self.app].update(state.dump_peers(told, digest, self._service()))
        if decision:
            logger.info("epoch %s: %s is to be master", decision.epoch, decision.master)
        return decision

    def _answer_supervisor(self) -> None:
        """Give a new master that found nobody's keys what the secret `master-state` holds."""
        if not self._picture.workload.report.asks:
            return
        try:
            wazuh.give_state(self._container, master_state.answer(self.model))
        except secrets.UnavailableError as label:
            self._waiting_for = f"waiting for Juju to hand out the secret {label}"
        except wazuh.UnreachableError as reason:
            logger.warning("the container did not take master-state: %s", reason)

    def _keep_master_state(self, *, last: bool = False) -> None:
        """Keep, as leader, what a master without any volume would begin from."""
        if not master_state.due(self._picture, last=last):
            return
        picture = self._picture
        prepared, now = picture.workload.report.prepared, picture.now.isoformat()
        try:
            master_state.keep(self.app, self.model, wazuh.pull_state(self._container))
            wazuh.remember(self._container, picture.workload, prepared, now)
        except (ops.ModelError, wazuh.UnreachableError) as reason:
            logger.warning("master-state was not kept: %s", reason)

    def _configure(self, opened: _Opened, published: cluster.Decision | None) -> None:
        """Bring the container to what was decided before this hook began."""
        picture = self._picture
        decision = cluster.acted_on(picture.juju.peers.decision, published)
        if decision is None:
            return
        vault = opened.vault
        self._picture = picture.acting_on(decision, vault.digest_key)
        if not picture.workload.reachable:
            return
        spec = picture.spec(decision, vault.digest_key, picture.wake(decision, published))
        change = picture.change(spec, vault, opened.before, opened.policy)
        try:
            wazuh.apply(self._container, picture.workload, change)
            if picture.juju.peers.decision is None:
                wazuh.give_state(self._container, master_state.NOTHING)
        except wazuh.UnreachableError as reason:
            logger.warning("the container did not take its configuration: %s", reason)
            self._waiting_for = "waiting for Pebble to take the configuration"


def _is_frequent(event: ops.EventBase) -> bool:
    """Tell whether an event comes often and says nothing of other applications.

    Their data are then not read: that costs up to four hook tools for each endpoint. Juju repeats
    a failed hook until it succeeds, so what another application wrote is always looked at.
    """
    if isinstance(event, ops.RelationEvent):
        return event.relation.name == state.PEERS
    return isinstance(event, _FREQUENT)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


if __name__ == "__main__":
    ops.main(WazuhOperatorCharm)
