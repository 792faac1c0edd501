"""A pod and its containers as the node keeps them."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.model import PodView
from sandbox.pebble import MARK

_REQUEST = re.compile(r"\[pebble\] (?P<method>[A-Z]+) (?P<path>/v1/\S*) \S+ \d+ ")
_START = re.compile(r'\[pebble\] Service "(?P<service>[^"]+)" starting: ')


@dataclass(slots=True)
class Container:
    """A workload container. `pid` is its first process, as the cluster's namespace counts."""

    name: str
    socket: str
    process: asyncio.subprocess.Process
    pid: int
    output: asyncio.Task[None]
    ended: asyncio.Task[int]
    killed: bool = False


@dataclass(slots=True)
class Counters:
    """What happened in a pod since it was made, as Pebble's own log tells."""

    requests: dict[str, int] = field(default_factory=dict)
    """Method and path (without ids) to how often the charm or the workload asked it."""
    starts: dict[str, int] = field(default_factory=dict)
    """Service to how often Pebble started it."""

    def read(self, line: str) -> None:
        """Count what a line of Pebble's log tells; our own questions are left out."""
        request = _REQUEST.search(line)
        if request and f"{MARK}=1" not in request["path"]:
            path = re.sub(r"/\d+", "/N", request["path"].partition("?")[0])
            key = f"{request['method']} {path}"
            self.requests[key] = self.requests.get(key, 0) + 1
        start = _START.search(line)
        if start:
            self.starts[start["service"]] = self.starts.get(start["service"], 0) + 1


@dataclass(slots=True)
class Pod:
    """A pod: its network namespace is held by `pause`."""

    view: PodView
    home: Path
    pause: asyncio.subprocess.Process
    containers: dict[str, Container] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    heard: dict[str, str] = field(default_factory=dict)
    """Container to the time of the last notice that was heard from it."""
    leaving: bool = False

    @property
    def host(self) -> str:
        """The pod's name: `wazuh-server-0`."""
        return self.view.unit.replace("/", "-")
