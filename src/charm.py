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
    files,
    leader,
    master_state,
    occasion,
    relations,
    rotation,
    secrets,
    state,
    status,
    wazuh,
)
from src.actions import Actions
from src.occasion import Occasion
from src.picture import Picture

logger = logging.getLogger(__name__)

_RELATED = ("relation_created", "relation_changed", "relation_broken")


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

    No event is trusted to come, or to come once: each of them leads to the same `reconcile`,
    which changes nothing when nothing changed.
    """

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._container = self.unit.get_container(wazuh.CONTAINER)
        self._occasion = Occasion()
        self._picture: Picture | None = None
        self.waiting_for: str | None = None
        self.rotation = rotation.Answer()
        peers, pebble = self.on[state.PEERS], self.on[wazuh.CONTAINER]
        related = (getattr(self.on[name], e) for name in relations.ENDPOINTS for e in _RELATED)
        for event in (
            self.on.data_storage_attached,
            self.on.start,
            self.on.leader_elected,
            self.on.update_status,
            self.on.secret_rotate,
            self.on.secret_expired,
            peers.relation_created,
            peers.relation_joined,
            peers.relation_changed,
            peers.relation_departed,
            pebble.pebble_ready,
            pebble.pebble_check_failed,
            pebble.pebble_check_recovered,
            *related,
        ):
            framework.observe(event, self._on_event)
        framework.observe(self.on.install, self._on_install)
        framework.observe(self.on.upgrade_charm, self._on_install)
        framework.observe(self.on.config_changed, self._on_config_changed)
        framework.observe(self.on.data_storage_detaching, self._on_storage_detaching)
        framework.observe(self.on.secret_changed, self._on_secret_changed)
        framework.observe(self.on.secret_remove, self._on_secret_remove)
        framework.observe(pebble.pebble_custom_notice, self._on_pebble_custom_notice)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)
        self._actions = Actions(self, self)

    def _on_event(self, event: ops.EventBase) -> None:
        self.begin(occasion.of(event, leader=self.unit.is_leader()))
        self.reconcile()

    def begin(self, occasion: Occasion) -> None:
        """Say what this hook is to look at, before `picture` is asked for."""
        self._occasion = occasion

    def reconcile(self, chosen: cluster.Decision | None = None) -> None:
        """Read what is, decide what is due (or take what a person chose), and do only that."""
        if chosen:
            self._picture = dataclasses.replace(self.picture, chosen=chosen)
        self._answer_supervisor()
        self._picture = leader.watch(self.picture)
        if self.picture.is_settled() and not self._occasion.closely:
            self._fetch()
            self._keep_master_state()
            return
        try:
            opened = self._open_secrets()
            published = self._publish(opened.digest) if opened else None
        except ops.ModelError as reason:
            logger.warning("Juju did not take what this unit wrote as leader: %s", reason)
            self.waiting_for = "waiting for Juju to take what this unit wrote as leader"
            return
        if opened:
            self._configure(opened, published)

    def _on_install(self, event: ops.InstallEvent | ops.UpgradeCharmEvent) -> None:
        """Put the ports on the application's Service; another revision may have other ones."""
        self.unit.set_ports(*files.PORTS)
        self._on_event(event)

    def _on_config_changed(self, event: ops.ConfigChangedEvent) -> None:
        """Follow the options; charmlint looks for a method of this name."""
        self._on_event(event)

    def _on_secret_changed(self, event: ops.SecretChangedEvent) -> None:
        """Follow the newest revision: a quiet hook reads the one that this unit follows.

        The application's own secrets have a label, and no unit but the leader may name id and
        label together; those are read anew when the leader publishes another digest.
        """
        if not event.secret.label:
            secrets.follow(event.secret)
        self._on_event(event)

    def _on_secret_remove(self, event: ops.SecretRemoveEvent) -> None:
        """Drop a revision that nobody follows any more; they would pile up.

        Where Juju refuses it, since this unit has just ceased to lead, the next leader is told.
        """
        with contextlib.suppress(ops.ModelError):
            event.remove_revision()

    def _on_pebble_custom_notice(self, event: ops.PebbleCustomNoticeEvent) -> None:
        """Take up the supervisor's news; only then may the workload have another version."""
        version = self.picture.workload.report.version
        if event.notice.key == wazuh.STATE_NOTICE and version:
            self.unit.set_workload_version(version)
        self._on_event(event)

    def _on_storage_detaching(self, _event: ops.StorageDetachingEvent) -> None:
        """Give the master's role away before this unit goes for good.

        A leader leads until its last hook. Its container is left as it is from now on: the
        supervisor hears of the new master and hands over to it, however long the hooks take.
        What the last unit knows is kept, for its volume goes with it.
        """
        leads = self.picture.juju.may_publish
        if leads and self.picture.planned() == 0:
            self._keep_master_state(last=True)
            leader.raise_high_water(self.model, self.picture)
        self._picture = dataclasses.replace(self.picture, leaving=True)
        if leads:
            leader.hand_over(self.model, self.picture)
        if self.picture.workload.reachable:
            try:
                wazuh.leave(self._container, self.picture.workload)
            except wazuh.UnreachableError as reason:
                logger.warning("the container was not told that this unit leaves: %s", reason)

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        """Say what holds; the only place that sets a status."""
        for found in self._statuses:
            event.add_status(found)

    @functools.cached_property
    def _statuses(self) -> list[ops.StatusBase]:
        """Find what there is to say once, for the unit and, on the leader, the application."""
        return status.find(self.picture, self.waiting_for)

    @property
    def picture(self) -> Picture:
        """What Juju and the container said at the beginning of this hook, and what it learnt."""
        if self._picture is None:
            self._picture = self._find()
        return self._picture

    def _find(self) -> Picture:
        juju = state.load(self.model)
        found = wazuh.look(self._container, repository=bool(juju.origin.address))
        look = juju.leader and (self._occasion.look or not found.applied.inputs)
        related = relations.load(self.model) if look else None
        planned = functools.cache(self.app.planned_units)
        return Picture(juju, found, _now(), planned, self._occasion.again, related)

    def _fetch(self) -> None:
        """Start what fetches the configuration repository, when that alone is due."""
        if not self.picture.is_to_fetch():
            return
        try:
            wazuh.fetch(self._container)
        except wazuh.UnreachableError as reason:
            logger.warning("the configuration repository is not fetched: %s", reason)

    def _open_secrets(self) -> _Opened | None:
        """Read all secrets, which the leader sees to first; None while one is missing."""
        juju = self.picture.juju
        if juju.missing() and not juju.may_publish:
            return None
        kept, policy = None, ""
        try:
            found = secrets.read_all(self.model)
            kept = secrets.Kept(found, found)
            if juju.may_publish:
                led = leader.lead(self.model, self.picture, self._occasion, found)
                self._picture, self.rotation = led.picture, led.rotation
                kept, policy = led.kept, led.policy
        except secrets.UnavailableError as label:
            self.waiting_for = f"waiting for Juju to hand out the secret {label}"
            return None
        missing = secrets.first_missing(kept.told)
        if missing:
            self.waiting_for = f"waiting for the leader to make the secret {missing}"
            return None
        vault, digest = secrets.open_vault(kept.acted_on), secrets.digest(kept.told)
        return _Opened(vault, digest, before=found, policy=policy)

    def _publish(self, digest: str) -> cluster.Decision | None:
        if not self.picture.juju.may_publish:
            return None
        return leader.publish(self.model, self.picture, digest)

    def _answer_supervisor(self) -> None:
        """Give a new master that found nobody's keys what the secret `master-state` holds."""
        if not self.picture.workload.report.asks:
            return
        try:
            wazuh.give_state(self._container, master_state.answer(self.model))
        except secrets.UnavailableError as label:
            self.waiting_for = f"waiting for Juju to hand out the secret {label}"
        except wazuh.UnreachableError as reason:
            logger.warning("the container did not take master-state: %s", reason)

    def _keep_master_state(self, *, last: bool = False) -> None:
        """Keep, as leader, what a master without any volume would begin from."""
        if not master_state.due(self.picture, last=last):
            return
        picture = self.picture
        prepared, now = picture.workload.report.prepared, picture.now.isoformat()
        try:
            known = master_state.keep(self.model, wazuh.pull_state(self._container))
            kept = prepared if known else picture.workload.applied.kept
            wazuh.remember(self._container, picture.workload, kept, now)
        except (ops.ModelError, secrets.UnavailableError, wazuh.UnreachableError) as reason:
            logger.warning("master-state was not kept: %s", reason)

    def _configure(self, opened: _Opened, published: cluster.Decision | None) -> None:
        """Bring the container to what was decided before this hook began."""
        picture = self.picture
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
            changed = wazuh.apply(self._container, picture.workload, change)
            if picture.juju.peers.decision is None:
                wazuh.give_state(self._container, master_state.NOTHING)
        except wazuh.UnreachableError as reason:
            logger.warning("the container did not take its configuration: %s", reason)
            self.waiting_for = "waiting for Pebble to take the configuration"
            return
        if not changed:
            self._keep_master_state()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


if __name__ == "__main__":
    ops.main(WazuhOperatorCharm)
