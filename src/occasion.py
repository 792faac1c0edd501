"""Why a hook runs: what its event adds to what the hook finds. Pure.

An event says where to look and how closely, never what is: that is always read anew.
"""

from dataclasses import dataclass

import ops

from src import rotation, state

_FREQUENT = (
    ops.UpdateStatusEvent,
    ops.PebbleCheckFailedEvent,
    ops.PebbleCheckRecoveredEvent,
    ops.PebbleCustomNoticeEvent,
    ops.PebbleReadyEvent,
)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What one hook does besides what is always done."""

    look: bool = False
    """Whether the leader reads other applications' data."""
    closely: bool = False
    """Whether the leader reads all secrets, though everything looks as it was left."""
    elected: bool = False
    """Whether this unit leads from now on."""
    again: bool = False
    """Whether what failed for an outside cause is tried again."""
    asked: tuple[str, ...] = ()
    """Labels of the secrets whose rotation somebody asks for."""


def of(event: ops.EventBase, *, leader: bool) -> Occasion:
    """Tell what an event asks for.

    A new leader goes on from what the secrets say: the last one may have told nobody (Juju 3.6).
    It does so too when a secret has a new revision: the hook that wrote one of ours may have
    failed to publish it, and another application's is read by the leader alone. Juju's wish to
    rotate a secret that the operator's own sets is the operator's.
    """
    match event:
        case ops.LeaderElectedEvent():
            return Occasion(look=True, closely=leader, elected=leader)
        case ops.SecretChangedEvent():
            return Occasion(look=True, closely=leader)
        case ops.SecretRotateEvent() | ops.SecretExpiredEvent() if _is_rotated(event.secret.label):
            return Occasion(look=True, closely=True, asked=(str(event.secret.label),))
    return Occasion(look=not _is_frequent(event), again=isinstance(event, ops.UpdateStatusEvent))


def _is_rotated(label: str | None) -> bool:
    return label in rotation.PARTS


def _is_frequent(event: ops.EventBase) -> bool:
    """Tell whether an event comes often and says nothing of other applications.

    Their data are then not read: that costs up to four hook tools for each endpoint. Juju repeats
    a failed hook until it succeeds, so what another application wrote is always looked at.
    """
    if isinstance(event, ops.RelationEvent):
        return event.relation.name == state.PEERS
    return isinstance(event, _FREQUENT)
