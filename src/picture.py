"""What a hook finds, and what follows from it for this unit. Pure: no Juju, no Pebble."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src import (
    cluster,
    digests,
    exposure,
    files,
    hardening,
    origin,
    rotation,
    secrets,
    state,
    wazuh,
)
from src.cluster import Role
from src.network import Network, Service
from src.relations import CERTIFICATES, OPENCTI, OPENSEARCH, Note, Relations

if TYPE_CHECKING:
    from src.options import Options


@dataclass(frozen=True, slots=True)
class Picture:
    """The beginning of one hook."""

    juju: state.State
    workload: wazuh.Workload
    now: datetime.datetime
    planned: Callable[[], int]
    """Find out how many units there are to be, which costs a hook tool."""
    try_again: bool = False
    """Tell whether what failed for an outside cause is to be tried again."""
    relations: Relations | None = None
    """What is related; None where this unit did not look: it does not lead, or nothing says that
    anything changed there."""
    network: Network | None = None
    """What follows from the relations; None before it was found out."""
    service: Service | None = None
    """What Kubernetes said of the Service in this hook; None: it was not asked."""
    leaving: bool = False
    """Whether this unit is being removed."""
    chosen: cluster.Decision | None = None
    """What a person has the leader decide."""

    def is_settled(self) -> bool:
        """Tell whether all is as it was left: then there is nothing to read, render or push."""
        juju, found = self.juju, self.workload
        if found.applied.leaving:
            return True
        decision, key = juju.peers.decision, juju.digest_key
        if decision is None or key is None or not found.reachable:
            return False
        spec = self.spec(decision, key, found.applied.wake)
        return (
            found.applied.inputs == spec.inputs(key, juju.peers.secrets_digest)
            and found.holds(found.applied.layer)
            and not (juju.leader and self._leader_has_work(key))
        )

    def acting_on(self, decision: cluster.Decision, key: str) -> "Picture":
        """Return the picture of a hook that acts on this decision, as its status shows it."""
        peers = dataclasses.replace(self.juju.peers, decision=decision)
        juju = dataclasses.replace(self.juju, peers=peers, digest_key=key)
        return dataclasses.replace(self, juju=juju)

    def knowing(self, relations: Relations, network: Network) -> "Picture":
        """Return the picture of a hook that has read the relations."""
        return dataclasses.replace(self, relations=relations, network=network)

    @property
    def address(self) -> str:
        """Where the application is reached from outside, if the leader knows."""
        return self.network.address if self.network else self.workload.applied.address

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports that differ at that address, by those they lead to."""
        applied = self.workload.applied
        service = self.network.service if self.network else self.known_service()
        address = self.network.address if self.network else applied.address
        return service.ports if address == service.address else {}

    @property
    def until(self) -> str:
        """When another authority's certificate ends, if the leader knows of one."""
        return self.network.until if self.network else self.workload.applied.until

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the leader has to say of the relations."""
        if self.network:
            return self.network.notes
        found = self.workload.applied.notes if self.juju.leader else ()
        return tuple(Note(str(one[0]), str(one[1]), bool(one[2])) for one in found)

    def notes_on(self, subjects: Sequence[str]) -> tuple[Note, ...]:
        """Return what the leader has to say of these endpoints or options."""
        return tuple(note for note in self.notes if note.subject in subjects)

    def next_decision(self) -> cluster.Decision | None:
        """Decide what the leader has to publish now, if anything."""
        current = self.juju.peers.decision
        return self.chosen or cluster.next_decision(current, self.outlook(current))

    def outlook(self, current: cluster.Decision | None) -> cluster.Outlook:
        """Gather what the leader decides on; a master that leads and stays counts no units."""
        report, unit = self.workload.report, self.juju.unit
        alone = current is None or (current.master == unit and not self.leaving)
        return cluster.Outlook(
            leader=unit,
            planned=int(unit.rpartition("/")[2]) + 1 if alone else self.planned(),
            configured=report.exists,
            seen_epoch=report.epoch,
            highest_id=report.highest_id,
            contested=report.contested,
            orphaned=report.orphaned and current is not None and report.epoch == current.epoch,
            leaving=self.leaving,
            serving_epoch=report.serving_epoch,
            answering=report.answering,
        )

    def wake(self, acted_on: cluster.Decision, published: cluster.Decision | None) -> int:
        """Return the wake-up to ask for: a new value when something is still to be done.

        A hook that fails after it asked asks for another value when it is run again.
        """
        before = self.workload.applied.wake
        if published is None or published.epoch == acted_on.epoch:
            return before
        return max(published.epoch, before + 1)

    def spec(self, decision: cluster.Decision, key: str, wake: int) -> files.Spec:
        """Gather what the files follow from when this decision is acted on."""
        request = self._request(key)
        is_master = decision.role(self.juju.unit) is Role.MASTER
        return files.Spec(
            unit=self.juju.unit,
            names=self.juju.names,
            decision=decision,
            options=(
                self.juju.origin.address,
                self.juju.password_option,
                self.juju.authorities,
                *(f"{name}={value}" for name, value in sorted(self.juju.settings.items())),
            ),
            request=request,
            serve=self._serve(request) if is_master else None,
            wake=wake,
        )

    def fetch_due(self, spec: files.Spec) -> bool:
        """Tell whether the master is to fetch the configuration repository now.

        A wish is fulfilled once; at update-status what failed is tried again, and what may move
        (a branch, a tag) is looked at.
        """
        found = self.workload
        if not spec.request or spec.role is not Role.MASTER or "repository" in found.running:
            return False
        return found.fetched.request != spec.request or self.try_again

    def why_no_fetch(self) -> str | None:
        """Tell why this unit cannot fetch the configuration repository; None: it can."""
        decision = self.juju.peers.decision
        if not self.juju.origin.address:
            return f"{origin.REPOSITORY} is not set"
        if decision is None or not self.workload.reachable:
            return "this unit is not configured yet"
        if decision.role(self.juju.unit) is not Role.MASTER:
            return f"only the master fetches: juju run {decision.master} sync-configuration"
        problems = self.juju.origin.read().problems
        return next((f"{option}: {reason}" for option, reason in problems.items()), None)

    def is_current(self, fetched: wazuh.Fetched) -> bool:
        """Tell whether a result is of the wish that holds now."""
        key = self.juju.digest_key
        return key is not None and fetched.request == self._request(key)

    def is_to_fetch(self) -> bool:
        """Tell, when all is settled, whether the fetching alone is to be started."""
        decision, key = self.juju.peers.decision, self.juju.digest_key
        if decision is None or key is None or self._bad_origin():
            return False
        return self.fetch_due(self.spec(decision, key, self.workload.applied.wake))

    def _bad_origin(self) -> bool:
        """Tell whether something is wrong with the options about the repository."""
        return bool(set(self.workload.applied.problems) - {state.AUTHORITIES, *state.SETTINGS})

    def proven(self, contents: secrets.Contents) -> frozenset[str]:
        """Name the secrets whose rotation ends: the master has in force what was to come."""
        found = self.workload.report.in_force
        wanted = _awaited(contents, self._settings()[0])
        return frozenset(
            label
            for label, part in rotation.PARTS.items()
            if part in wanted and found.get(part) == wanted[part]
        )

    def policy(self) -> str | None:
        """Return the rotation policy that the option asks for; None when it is none."""
        wanted = self.juju.rotation
        return None if rotation.policy_problem(wanted) else wanted

    def change(
        self,
        spec: files.Spec,
        vault: secrets.Vault,
        before: secrets.Contents,
        policy: str = "",
    ) -> wazuh.Change:
        """Render what the container is to be given, with the memory that is left there.

        `before` are the secrets as this hook found them. A rotation that it ended is remembered
        until Juju has it, for the hook may fail. `policy` is the one that all secrets have.
        """
        reading = self.juju.origin.read()
        authorities, problem = self._authorities()
        checked, good, wrong = self._settings()
        spec = dataclasses.replace(spec, authorities=authorities, settings=checked)
        memory = dataclasses.replace(
            self.workload.applied,
            password=digests.keyed(vault.digest_key, vault.enrolment),
            renew_after=vault.renew_after,
            wake=spec.wake,
            serve=spec.serve,
            problems={**wrong, **reading.problems, **problem},
            settings=good,
            authorities=authorities,
            related=self.relations.digest(vault.digest_key) if self.relations else "",
            address=self.network.address if self.network else "",
            until=self.network.until if self.network else "",
            balancer=self.network.service.address if self.network else "",
            ports=self.network.service.ports if self.network else {},
            notes=self._noted(),
            awaits=_awaited(before, checked),
            policy=policy,
        )
        fetch = None
        if reading.source is not None and spec.role is Role.MASTER:
            fetch = files.Fetch(reading.source, self.juju.origin)
        start = fetch is not None and self.fetch_due(spec)
        return wazuh.Change(files.render(spec, vault, fetch), memory, start)

    def exposes(self, key: str) -> bool:
        """Tell whether the leader has something to do or to say about the Service."""
        said = self.notes_on(exposure.OPTIONS)
        if self.service is not None:
            return self.service != dataclasses.replace(self.known_service(), notes=said)
        try:
            wanted = exposure.parse(self.juju.exposure)
        except exposure.BadOptionError as reason:
            return said != (Note(reason.option, reason.reason, bad=True),)
        return bool(said) or self.asks(key, wanted)

    def asks(self, key: str, wanted: exposure.Exposure) -> bool:
        """Tell whether Kubernetes is to be asked: for another Service, or for its address."""
        if self.service_mark(key, wanted) != self.juju.peers.service:
            return True
        known = self.workload.applied
        return wanted.is_outside and not known.balancer and not known.ports

    def watches_service(self) -> bool:
        """Tell whether to look if the Service is still as it was made, which Kubernetes says.

        Somebody may have changed it, and an address may have come or be another one. Nothing tells
        so; only a leader looks, only at update-status, and only when Juju's own was changed.
        """
        return self.try_again and self.juju.may_publish and bool(self.juju.peers.service)

    def known_service(self) -> Service:
        """Return what the Service was found to be the last time; this unit may not have led since.

        What nobody made of it, or took back, has no address.
        """
        mark, applied = self.juju.peers.service, self.workload.applied
        return Service(mark, applied.balancer, applied.ports) if mark else Service()

    def service_mark(self, key: str, wanted: exposure.Exposure) -> str:
        """Return a keyed digest of a Service other than Juju's own."""
        return digests.keyed(key, wanted.dump()) if wanted.dump() else ""

    def _noted(self) -> list[list[str | bool]]:
        found = self.network.notes if self.network else ()
        return [[note.subject, note.sentence, note.bad] for note in found]

    def problems(self) -> Mapping[str, str]:
        """Tell what is wrong with which option; the answer of the last hook where it holds."""
        if self.is_settled():
            return self.workload.applied.problems
        return {
            **self._settings()[2],
            **self.juju.origin.read().problems,
            **self._authorities()[1],
        }

    def _settings(self) -> "tuple[Options, dict, dict[str, str]]":
        """Check the small options: their values, the texts of these, the reasons by option."""
        from src import options

        return options.parse(self.juju.settings, self.workload.applied.settings)

    def _authorities(self) -> tuple[str, dict[str, str]]:
        """Read whose certificates senders come with; for what is no good, the last good value."""
        if not self.juju.authorities:
            return "", {}
        from src import certificates

        try:
            return certificates.bundle(self.juju.authorities, self.now), {}
        except certificates.BadCertificateError as reason:
            return self.workload.applied.authorities, {state.AUTHORITIES: str(reason)}

    def _request(self, key: str) -> str:
        """Return a digest that tells one wish for a repository from another; '' for none."""
        wish = self.juju.origin.identity()
        return digests.keyed(key, wish) if wish else ""

    def _serve(self, request: str) -> dict[str, str | None] | None:
        """Choose the commit to serve: the newest fetched well, else the one served before."""
        fetched, before = self.workload.fetched, self.workload.applied.serve
        if not request:
            return {"commit": None}
        if fetched.request == request and fetched.commit and not fetched.error:
            return {"commit": fetched.commit}
        return dict(before) if before else None

    def _leader_has_work(self, key: str) -> bool:
        """Tell whether the role, a certificate, a password, a relation or a policy is due."""
        applied, wanted = self.workload.applied, self.juju.agent_password.value
        return (
            self.next_decision() is not None
            or (self.relations is not None and self.relations.digest(key) != applied.related)
            or self.now.isoformat() >= applied.renew_after
            or ((self.try_again or self.relations is not None) and self.exposes(key))
            or ((self.try_again or self.relations is not None) and self._hardens(key))
            or (self.try_again and self._awaits_others())
            or (wanted is not None and digests.keyed(key, wanted) != applied.password)
            or self._ends_rotation()
            or self.policy() not in (None, applied.policy)
        )

    def hardening_mark(self, key: str) -> str:
        """Return what tells one guard of the application from another; empty for none."""
        return hardening.mark(key, self.juju.names, files.PORTS) if self.juju.harden else ""

    def _hardens(self, key: str) -> bool:
        """Tell whether the leader has something to do or to say about that guard."""
        said = any(note[0] == hardening.OPTION for note in self.workload.applied.notes)
        return said or self.hardening_mark(key) != self.juju.peers.hardened

    def _awaits_others(self) -> bool:
        """Tell whether something was not all there.

        Nobody says when a secret is granted, nor when a certificate becomes valid.
        """
        awaited = (CERTIFICATES, OPENCTI, OPENSEARCH)
        return any(note[0] in awaited for note in self.workload.applied.notes)

    def _ends_rotation(self) -> bool:
        found = self.workload.report.in_force
        return any(
            found.get(part) == generation
            for part, generation in self.workload.applied.awaits.items()
        )


def _awaited(contents: secrets.Contents, checked: "Options") -> dict[str, str]:
    """Return the generations that end the rotations which Juju has on record."""
    parts = [
        part
        for label, part in rotation.PARTS.items()
        if rotation.is_under_way(contents.get(label, {}))
    ]
    if not parts:
        return {}
    generations = files.generations(secrets.open_vault(contents), checked)
    return {part: generations[part] for part in parts}
