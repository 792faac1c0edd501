"""The secret `master-state`: what a new master needs when no volume is left.

The supervisor prepares it and says so; the leader keeps it in Juju, hourly at most and once more
when the last unit goes. It is given back to a supervisor that asks for it: one that is to be
master and has found nobody who knows the cluster's keys.
"""

import datetime
import json
from typing import TYPE_CHECKING

import ops

from src import secrets

if TYPE_CHECKING:
    from src.picture import Picture

LABEL = "master-state"
EVERY = datetime.timedelta(hours=1)
_KEY = "content"


def due(picture: "Picture", *, last: bool) -> bool:
    """Tell whether the leader has to keep what its supervisor has prepared since.

    `last`: this is the last unit that goes, and there is no later.
    """
    report, applied = picture.workload.report, picture.workload.applied
    if not (picture.juju.may_publish and report.prepared and report.prepared != applied.kept):
        return False
    return last or not applied.kept_at or picture.now.isoformat() >= _next(applied.kept_at)


def _next(kept_at: str) -> str:
    try:
        return (datetime.datetime.fromisoformat(kept_at) + EVERY).isoformat()
    except ValueError:
        return ""


def keep(model: ops.Model, text: str) -> bool:
    """Put it into the secret, which is made when there is none. Only the leader may.

    Tells whether Juju had it already: what this hook writes may still be lost with the hook.
    """
    content = {_KEY: text}
    if secrets.read(model, LABEL) == content:
        return True
    secrets.put(model, LABEL, content, "taken up by a master without a volume")
    return False


def answer(model: ops.Model) -> str:
    """Write what the supervisor that asks is told: the secret's content, or that there is none.

    Raises secrets.UnavailableError when it cannot be read now: then nobody may say so.
    """
    found = secrets.read(model, LABEL)
    return _written(found.get(_KEY) if found else None)


def _written(content: str | None) -> str:
    return json.dumps({"schema": 1, _KEY: content}) + "\n"


NOTHING = _written(None)
"""The answer in a new application, which nobody has to ask for."""
