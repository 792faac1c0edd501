"""Juju's model, without I/O: applications, units, leases, relations, secrets, hooks, pods.

`Model` is what commands and runners talk to, `Hook` one hook in flight whose methods are the
hook tools. A runner keeps this loop, and decides nothing in it:

    model.advance(seconds since the last call × clock factor)
    bring pods to what `model.pods()` says (new uid: the old pod is gone, make a fresh one),
        then report `pod_started`, `container_ready`, `readiness`
    for unit in model.due():              # units side by side, one hook of each at a time
        hook = model.begin(unit)
        run dispatch with hook.environment(); hook tools call the methods of the hook
        model.finish(hook, ok=exit code == 0)
    sleep until model.next_deadline() or an event from outside

Times are seconds of the model's virtual clock, which begins at 0. Names are Juju's: a unit is
`wazuh-server/0`, a relation id `wazuh-peers:0`, a secret `secret:<20 characters>`, a storage
`data/0`. A command that is refused raises `CommandError` with the sentence to print, a hook
tool `ToolError` with text and exit code. Everything can be pickled between two calls, hooks in
flight included.
"""

from sandbox.model.entities import Timings
from sandbox.model.errors import CommandError, ToolError
from sandbox.model.hook import Hook
from sandbox.model.model import Model
from sandbox.model.values import (
    ActionRecord,
    Event,
    HookSpec,
    PodView,
    SecretView,
    ServiceView,
)
from sandbox.model.world import Behaviour, CommitMode

__all__ = [
    "ActionRecord",
    "Behaviour",
    "CommandError",
    "CommitMode",
    "Event",
    "Hook",
    "HookSpec",
    "Model",
    "PodView",
    "SecretView",
    "ServiceView",
    "Timings",
    "ToolError",
]
