"""What survives a kill, as one digest: equal digests go on in the same way.

All from which the cluster goes on is in it: Juju's records, timers and random state, volumes,
containers with their files and layers, what the supervisors know, the clock, who is cut off. Left
out is only what nothing goes on from: the log, the books of hooks that were run, the code, and
locks, which nobody holds between two steps.
"""

import dataclasses
import hashlib
import io
import pickle
import threading
import types
from typing import Any

from sandbox.inprocess.cluster import Cluster
from sandbox.inprocess.dispatch import Charm
from sandbox.model.world import World

UNREAD = {"history", "model", "charms", "gate", "supervisor_gate", "commit_gate", "looker"}
CODE = (types.FunctionType, types.MethodType, Charm, type(threading.RLock()))


def digest(cluster: Cluster, *more: object) -> str:
    """Digest a cluster between two steps, and what else decides how it goes on."""
    kept = {name: value for name, value in vars(cluster).items() if name not in UNREAD}
    return hashlib.sha256(dump(_records(cluster.model.world), kept, *more)).hexdigest()


def _records(world: World) -> dict[str, object]:
    names = [one.name for one in dataclasses.fields(world) if one.name != "log"]
    return {name: getattr(world, name) for name in names}


class _Pickler(pickle.Pickler):
    """Writes each value whole wherever it is met: equal values are equal bytes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.fast = True

    def persistent_id(self, obj: Any) -> str | None:
        return "code" if isinstance(obj, CODE) else None


def dump(*values: object) -> bytes:
    """Write values as bytes that differ where they do."""
    file = io.BytesIO()
    _Pickler(file).dump(values)
    return file.getvalue()
