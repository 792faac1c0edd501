"""What the leader does for the whole application: secrets, relations, Service, the decision.

Only the unit that leads comes here. What a function finds out comes back in a new picture.
"""

import contextlib
import dataclasses
import logging
from dataclasses import dataclass

import ops

from src import cluster, exposure, files, hardening, network, relations, rotation, secrets, state
from src.occasion import Occasion
from src.picture import Picture

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Led:
    """What has become of the application's secrets and relations."""

    kept: secrets.Kept
    picture: Picture
    rotation: rotation.Answer
    policy: str
    """The rotation policy that all secrets have; empty when that is not known."""


def lead(model: ops.Model, picture: Picture, occasion: Occasion, found: secrets.Contents) -> Led:
    """Bring the application's secrets and our side of the relations up to date."""
    juju, now = picture.juju, picture.now
    contents = {**found, **secrets.read_all(model, secrets.LEADERS_LABELS)}
    related = picture.relations or relations.load(model)
    lent = secrets.borrow(model, network.references(related))
    service = picture.service or _expose(picture, contents, elected=occasion.elected)
    heard = network.read(related, juju.names, contents, now, service, lent)
    heard = heard.with_guard(*_harden(picture, contents))
    whole = not secrets.first_missing(contents)
    option = state.ENROLMENT_OPTION if juju.password_option else None
    answer = rotation.answer(occasion.asked, contents, set_by_option=option)
    wishes = secrets.Wishes(
        hosts=heard.hosts,
        agent_password=juju.agent_password,
        now=now,
        given=heard.given,
        proven=picture.proven(contents) if whole else frozenset(),
        begin=answer.begin,
        policy=picture.policy() or rotation.NEVER,
    )
    kept = secrets.ensure(model, contents, wishes)
    changes = network.wanted(related, juju.names, kept.told, _share(model, related, kept))
    relations.publish(model, changes)
    policy = _follow_policy(model, picture, occasion, found)
    return Led(kept, picture.knowing(related.with_ours(changes), heard), answer, policy)


def _share(model: ops.Model, related: relations.Relations, kept: secrets.Kept) -> str:
    """Hand the API's credentials to who is related; returns the secret's id, if there is one.

    Of a rotation they get what is in force, until all units have what comes.
    """
    told = network.granted(related)
    if not told:
        return ""
    content = network.credentials(kept.acted_on)
    return secrets.share(model, secrets.API_CLIENT, content, told, relations.WAZUH_API)


def watch(picture: Picture) -> Picture:
    """Look whether the Service is still what it was made, and make it so; see what became of it.

    Asks Kubernetes once or twice, and nobody else. Where it does not answer, what was known holds.
    """
    key = picture.juju.digest_key
    if key is None or not picture.watches_service():
        return picture
    with contextlib.suppress(exposure.BadOptionError):
        wanted = exposure.parse(picture.juju.exposure)
        if picture.service_mark(key, wanted) == picture.juju.peers.service:
            return dataclasses.replace(picture, service=_ask(picture, key, wanted, watches=True))
    return picture


def _expose(picture: Picture, contents: secrets.Contents, *, elected: bool) -> network.Service:
    """Make the Service what the options say, or say why it is not; nothing stops for it.

    A new leader asks, for it does not know what became of it since.
    """
    key, known = contents.get(secrets.CLUSTER_KEY), picture.known_service()
    if key is None:
        return known
    try:
        wanted = exposure.parse(picture.juju.exposure)
    except exposure.BadOptionError as reason:
        return _noted(known, relations.Note(reason.option, reason.reason, bad=True))
    digest_key = secrets.digest_key(key)
    if picture.asks(digest_key, wanted) or (elected and not wanted.is_default):
        return _ask(picture, digest_key, wanted)
    return known if wanted.is_outside else network.Service(known.mark)


def _ask(
    picture: Picture, key: str, wanted: exposure.Exposure, *, watches: bool = False
) -> network.Service:
    from src import kubernetes

    known = picture.known_service()
    try:
        found = kubernetes.expose(picture.juju.names, wanted, known.address)
    except kubernetes.RefusedError as reason:
        if watches and isinstance(reason, kubernetes.UnseenError):
            logger.warning("it is not known whether the Service is as it was made: %s", reason)
            return dataclasses.replace(known, notes=picture.notes_on(exposure.OPTIONS))
        return _noted(known, relations.Note(exposure.TYPE, str(reason), bad=True))
    service = network.Service(picture.service_mark(key, wanted), found.address, found.ports)
    waits = wanted.type == exposure.LOAD_BALANCER and not found.address
    note = relations.Note(exposure.TYPE, "waiting for the load balancer's address")
    return _noted(service, note) if waits else service


def _noted(service: network.Service, note: relations.Note) -> network.Service:
    return dataclasses.replace(service, notes=(note,))


def _harden(
    picture: Picture, contents: secrets.Contents
) -> tuple[str | None, tuple[relations.Note, ...]]:
    """Guard the application in Kubernetes, or no more; nothing stops where that is refused."""
    names, key = picture.juju.names, contents.get(secrets.CLUSTER_KEY)
    if key is None:
        return None, ()
    wanted = picture.hardening_mark(secrets.digest_key(key))
    if wanted == picture.juju.peers.hardened:
        return None, ()
    from src import kubernetes

    try:
        kubernetes.harden(names, hardening.objects(names, files.PORTS), wanted=bool(wanted))
    except kubernetes.RefusedError as reason:
        note = relations.Note(hardening.OPTION, str(reason), bad=True)
        # What may be there is taken away even when the option is reset before it is whole.
        partly = isinstance(reason, kubernetes.PartlyError)
        return hardening.PARTLY if partly else None, (note,)
    return wanted, ()


def _follow_policy(
    model: ops.Model, picture: Picture, occasion: Occasion, found: secrets.Contents
) -> str:
    """Set the option's rotation policy; returns the one that all secrets have, if known."""
    wanted, known = picture.policy(), picture.workload.applied.policy
    if wanted is None or (wanted == known and not occasion.elected):
        return known
    if not set(rotation.PARTS) & set(found):
        return wanted
    return wanted if secrets.follow_policy(model, wanted) else ""


def publish(model: ops.Model, picture: Picture, digest: str) -> cluster.Decision | None:
    """Tell all units who is master and which secrets hold, only on change."""
    decision = picture.next_decision()
    told = decision or picture.juju.peers.decision
    if told is not None:
        _tell(model, state.dump_peers(told, digest, _marks(picture)), decision)
    return decision


def hand_over(model: ops.Model, picture: Picture) -> None:
    """Publish who is to be master instead of a unit that is being removed."""
    decision = picture.next_decision()
    if decision:
        _tell(model, decision.dump(), decision)


def raise_high_water(model: ops.Model, picture: Picture) -> None:
    """Say how many agents a master that begins anew has to find."""
    decision = picture.juju.peers.decision
    if decision is None:
        return
    highest = max(decision.high_water, picture.workload.report.highest_id)
    _tell(model, dataclasses.replace(decision, high_water=highest).dump(), None)


def _marks(picture: Picture) -> dict[str, str]:
    """Return what is to be remembered of what was done in Kubernetes."""
    heard = picture.network
    if heard is None:
        return {}
    found = {} if heard.hardened is None else {state.HARDENED: heard.hardened}
    if heard.service.mark != picture.juju.peers.service:
        found[state.SERVICE] = heard.service.mark
    return found


def _tell(model: ops.Model, values: dict[str, str], decision: cluster.Decision | None) -> None:
    relation = model.get_relation(state.PEERS)
    if relation is None:
        return
    # ops writes in one call what differs, and nothing when nothing does.
    relation.data[model.app].update(values)
    if decision:
        logger.info("epoch %s: %s is to be master", decision.epoch, decision.master)
