"""Juju's model, without I/O: applications, units, leases, relations, secrets, hooks, pods.

`Model` is what commands and runners talk to, `Hook` one hook in flight with its hook tools;
`sandbox.model.interface` says how a runner uses them.
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
