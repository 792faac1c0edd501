"""What follows from the relations for the application's secrets, our databags and the status.

Pure, but for keys and signing requests, which are made here. Only the leader comes here, and only
in a hook in which something changed.
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from src import api_certificate, cluster, secrets
from src.relations import (
    CERTIFICATES,
    INGRESS,
    OPENCTI,
    OPENSEARCH,
    WAZUH_API,
    BadDataError,
    Change,
    Note,
    NotYetError,
    Relation,
    Relations,
    ingress,
    wazuh_api,
)


@dataclass(frozen=True, slots=True)
class Service:
    """What became of the application's Service."""

    mark: str = ""
    """A keyed digest of what it is; empty for what Juju makes it."""
    address: str = ""
    """Where it is reached from outside: a load balancer's address, or a node's."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The nodes' ports by those they lead to, when it is a node that is reached."""
    notes: tuple[Note, ...] = ()


NO_SERVICE = Service()


@dataclass(frozen=True, slots=True)
class Network:
    """What the relations give, and what is to be said of them."""

    address: str = ""
    """Where people and agents reach the application from outside; empty when nobody told."""
    hosts: tuple[str, ...] = ()
    """Every name that the application's certificate has to hold for."""
    given: Mapping[str, secrets.Content] = field(default_factory=dict, repr=False)
    """New contents of secrets, by label."""
    notes: tuple[Note, ...] = ()
    until: str = ""
    """When another authority's certificate, if one serves, ends: ISO 8601, UTC."""
    service: Service = NO_SERVICE
    """What became of the application's Service."""
    hardened: str | None = None
    """What guards the application in Kubernetes from now on; None when that stays as it is."""

    def with_guard(self, mark: str | None, notes: tuple[Note, ...]) -> "Network":
        """Return the same, and what became of the guard."""
        return replace(self, hardened=mark, notes=(*self.notes, *notes))


def read(
    relations: Relations,
    names: cluster.Names,
    contents: secrets.Contents,
    now: datetime.datetime,
    service: Service = NO_SERVICE,
    lent: secrets.Contents | None = None,
) -> Network:
    """Find out what the relations give; what is no good is noted and changes nothing.

    `lent` are the contents of other applications' secrets, by id (see `references`).
    """
    host, notes = _address(relations.first(INGRESS))
    hosts = (*names.hosts(), *dict.fromkeys(filter(None, (host, service.address))))
    related = relations.first(CERTIFICATES)
    given, more = api_certificate.follow(related, names, hosts, contents, now)
    indexer, about = _indexer(relations.first(OPENSEARCH), contents, lent or {}, now)
    opencti, said = _opencti(relations.first(OPENCTI), contents, lent or {})
    address, notes = host or service.address, (*notes, *more, *about, *said, *service.notes)
    identity = {**contents, **given}.get(secrets.API_IDENTITY, {})
    brought = {**given, **indexer, **opencti}
    return Network(address, hosts, brought, notes, identity.get("expiry", ""), service)


def references(relations: Relations) -> tuple[str, ...]:
    """Return the ids of other applications' secrets that are to be read."""
    found: tuple[str, ...] = ()
    if indexer := relations.first(OPENSEARCH):
        from src.relations import opensearch

        found += opensearch.references(indexer.theirs)
    if intelligence := relations.first(OPENCTI):
        from src.relations import opencti_connector

        found += opencti_connector.references(intelligence.theirs)
    return found


def granted(relations: Relations) -> dict[int, bool]:
    """Return the relations that are handed the API's credentials, and which have them."""
    return {one.id: "user_credentials_secret" in one.ours for one in relations.of(WAZUH_API)}


def credentials(contents: secrets.Contents) -> secrets.Content:
    """Return what a client of the API logs in with."""
    password = contents[secrets.API_USERS][wazuh_api.USER]
    return {"user": wazuh_api.USER, "password": password}


def wanted(
    relations: Relations, names: cluster.Names, contents: secrets.Contents, secret_id: str
) -> tuple[Change, ...]:
    """Return our side of each relation, to be written where it differs.

    `secret_id` is the one of the API's credentials; empty where nobody asks for them.
    """
    changes = [Change(one, ingress.wanted(names)) for one in relations.of(INGRESS)[:1]]
    data = wazuh_api.wanted(names, secret_id)
    changes += [Change(one, data) for one in relations.of(WAZUH_API) if secret_id]
    if relations.of(OPENSEARCH):
        from src.relations import opensearch

        changes += [Change(one, opensearch.wanted()) for one in relations.of(OPENSEARCH)[:1]]
    if relations.of(OPENCTI):
        from src.relations import opencti_connector

        changes += [Change(one, opencti_connector.wanted()) for one in relations.of(OPENCTI)[:1]]
    request = contents.get(secrets.CERTIFICATE_REQUEST, {}).get("signing-request")
    if request:
        from src.relations import certificates

        data = certificates.wanted(request)
        changes += [Change(one, data) for one in relations.of(CERTIFICATES)[:1]]
    return tuple(changes)


def _address(relation: Relation | None) -> tuple[str, tuple[Note, ...]]:
    if relation is None:
        return "", ()
    try:
        host = ingress.host(relation.theirs)
    except BadDataError as reason:
        return "", (Note(INGRESS, str(reason), bad=True),)
    if host is None:
        return "", (Note(INGRESS, f"waiting for {relation.application} to tell its address"),)
    return host, ()


def _indexer(
    relation: Relation | None,
    contents: secrets.Contents,
    lent: secrets.Contents,
    now: datetime.datetime,
) -> tuple[dict[str, secrets.Content], tuple[Note, ...]]:
    def find(theirs: Mapping[str, str]) -> secrets.Content:
        from src.relations import opensearch

        return opensearch.find(theirs, lent, now)

    return _follow(OPENSEARCH, relation, secrets.INDEXER, contents, find)


def _opencti(
    relation: Relation | None, contents: secrets.Contents, lent: secrets.Contents
) -> tuple[dict[str, secrets.Content], tuple[Note, ...]]:
    def find(theirs: Mapping[str, str]) -> secrets.Content:
        from src.relations import opencti_connector

        return opencti_connector.find(theirs, lent)

    return _follow(OPENCTI, relation, secrets.OPENCTI, contents, find)


def _follow(
    endpoint: str,
    relation: Relation | None,
    label: str,
    contents: secrets.Contents,
    find: Callable[[Mapping[str, str]], secrets.Content],
) -> tuple[dict[str, secrets.Content], tuple[Note, ...]]:
    """Keep what another application lends in our secret of that label while it is related."""
    if relation is None:
        kept = contents.get(label) or secrets.NOT_RELATED
        return ({label: secrets.NOT_RELATED} if kept != secrets.NOT_RELATED else {}), ()
    try:
        return {label: find(relation.theirs)}, ()
    except NotYetError as what:
        return {}, (Note(endpoint, f"waiting for {relation.application} {what}"),)
    except BadDataError as reason:
        return {}, (Note(endpoint, str(reason), bad=True),)
