"""What other applications are related, as raw databags: read and written by the leader alone.

Whatever a relation gives and every unit needs, the leader puts into the application's own secrets:
so the other units follow one place, and what was good stays when a relation's data turn bad.
One module per interface here says what its data mean, and what ours are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import ops

from src import digests

INGRESS = "ingress"
CERTIFICATES = "certificates"
OPENCTI = "opencti-connector"
OPENSEARCH = "opensearch-client"
WAZUH_API = "wazuh-api"
ENDPOINTS = (CERTIFICATES, INGRESS, OPENCTI, OPENSEARCH, WAZUH_API)


class NotYetError(Exception):
    """The other side has not told everything yet; the text says what is awaited."""


class BadDataError(ValueError):
    """The other side's data are not what the interface says; the text says what is wrong."""


class RevokedError(BadDataError):
    """The other side has taken back what it gave: the key is not to be used any more."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation, both sides' application databags as they are."""

    endpoint: str
    id: int
    application: str
    """The other side's name."""
    theirs: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relations:
    """All relations but the peers', in order of their ids."""

    found: tuple[Relation, ...] = ()

    def of(self, endpoint: str) -> tuple[Relation, ...]:
        """Return the relations of one endpoint."""
        return tuple(one for one in self.found if one.endpoint == endpoint)

    def first(self, endpoint: str) -> Relation | None:
        """Return the oldest relation of an endpoint that serves one only."""
        return next(iter(self.of(endpoint)), None)

    def digest(self, key: str) -> str:
        """Return a keyed digest of all data on both sides; none when nothing is related."""
        if not self.found:
            return ""
        rows = [
            [one.endpoint, one.id, one.application, dict(one.theirs), dict(one.ours)]
            for one in self.found
        ]
        return digests.keyed(key, rows)

    def with_ours(self, changes: Sequence["Change"]) -> "Relations":
        """Return the relations as they are once our side is written."""
        wanted = {change.relation.id: dict(change.data) for change in changes}
        return Relations(
            tuple(replace(one, ours=wanted.get(one.id, one.ours)) for one in self.found)
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What our side of one relation is to be, whole."""

    relation: Relation
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the status about an endpoint or option; `bad` when somebody has to act."""

    subject: str
    sentence: str
    bad: bool = False

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}"


def load(model: ops.Model) -> Relations:
    """Read every relation that is not being removed; only the leader may read our side."""
    return Relations(
        tuple(
            Relation(
                endpoint,
                relation.id,
                relation.app.name,
                theirs=dict(relation.data[relation.app]),
                ours=dict(relation.data[model.app]),
            )
            for endpoint in ENDPOINTS
            for relation in sorted(model.relations[endpoint], key=lambda one: one.id)
            if relation.active and relation.app is not None
        )
    )


def publish(model: ops.Model, changes: Sequence[Change]) -> None:
    """Write what differs on our side, key by key, and nothing when nothing does."""
    for change in changes:
        before, after = change.relation.ours, change.data
        if before == after:
            continue
        relation = model.get_relation(change.relation.endpoint, change.relation.id)
        if relation is None:
            continue
        # An empty text takes a key away.
        relation.data[model.app].update(dict.fromkeys(before, "") | dict(after))
