"""Running hooks: the real dispatch, its hook tools answered by the model."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox import hook_tools
from sandbox.model import Hook, Model
from sandbox.node import Node
from sandbox.pods import Pod

# A hook that takes longer than this (real seconds) is killed, and so fails.
LONGEST = 300.0


@dataclass(slots=True)
class Running:
    """A hook in flight."""

    hook: Hook
    pod: Pod
    process: asyncio.subprocess.Process
    tools: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Record:
    """What one hook did; `began` is the model's clock, `took` real seconds."""

    unit: str
    hook: str
    began: float
    took: float
    code: int
    tools: dict[str, int]
    requests: dict[str, int]
    """Requests to Pebble while it ran."""


class Hooks:
    """Starts hooks in pods and answers their tools. `changed` is called when one has ended."""

    def __init__(self, model: Model, node: Node, changed: Callable[[], None]) -> None:
        self.records: list[Record] = []
        self._model = model
        self._node = node
        self._changed = changed
        self._running: dict[str, Running] = {}
        self._busy: set[str] = set()

    @property
    def count(self) -> int:
        """How many run now."""
        return len(self._busy)

    def busy(self, unit: str) -> bool:
        """Say whether a hook of this unit runs, even one that no longer counts."""
        return unit in self._busy

    def run(self, pod: Pod, hook: Hook, user: int | None) -> Coroutine[Any, Any, None]:
        """Return what runs `hook` to its end and tells the model how it went."""
        self._busy.add(hook.unit)
        return self._run(pod, hook, user)

    async def _run(self, pod: Pod, hook: Hook, user: int | None) -> None:
        environment = hook.environment()
        context, began, clock = environment["JUJU_CONTEXT_ID"], self._model.now, time.monotonic()
        before = Counter(pod.counters.requests)
        process = await asyncio.create_subprocess_exec(
            *self._node.charm_command(pod, ["./dispatch"], environment, user),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        running = self._running[context] = Running(hook, pod, process)
        code = await self._finished(running)
        del self._running[context]
        if not hook.dead:
            self._model.finish(hook, ok=code == 0)
        requests = dict(Counter(pod.counters.requests) - before)
        took = round(time.monotonic() - clock, 3)
        record = Record(
            hook.unit, hook.spec.name, began, took, code, dict(running.tools), requests
        )
        self._keep(record)
        self._busy.discard(hook.unit)
        self._changed()

    def kill(self, unit: str) -> None:
        """SIGKILL to what runs in the charm container of `unit`."""
        for running in self._running.values():
            if running.hook.unit == unit and running.process.returncode is None:
                running.process.kill()

    def processes(self, unit: str) -> list[int]:
        """Return the first process of each hook that `unit` runs now."""
        return [r.process.pid for r in self._running.values() if r.hook.unit == unit]

    async def serve(self) -> asyncio.Server:
        """Answer hook tools at `agent.socket` of the working directory."""
        server = await asyncio.start_unix_server(self._answer, "agent.socket", limit=1 << 24)
        Path("agent.socket").chmod(0o666)
        return server

    async def _finished(self, running: Running) -> int:
        """Log what the hook prints until it ends, or is killed because it took too long."""
        try:
            async with asyncio.timeout(LONGEST):
                await self._log(running)
                return await running.process.wait()
        except TimeoutError:
            unit = running.hook.unit
            self._model.world.note(unit, f"hook killed after {LONGEST:.0f} s", "ERROR")
            running.process.kill()
            return await running.process.wait()

    async def _log(self, running: Running) -> None:
        module = f"unit.{running.hook.unit}.{running.hook.spec.name}"
        if running.process.stdout is None:
            return
        async for line in running.process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._model.world.note(running.hook.unit, text, "WARNING", module)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            writer.write(json.dumps(asdict(self._carry_out(asked))).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            return  # The hook was killed while its tool asked.
        finally:
            writer.close()

    def _carry_out(self, asked: dict) -> hook_tools.Answer:
        running = self._running.get(asked["context"])
        if running is None:
            return hook_tools.Answer(stderr="ERROR context gone\n", code=1)
        running.tools[asked["tool"]] += 1
        call = hook_tools.Call(asked["tool"], tuple(asked["args"]), asked["files"])
        return hook_tools.answer(running.hook, call, self._model.now)

    def _keep(self, record: Record) -> None:
        self.records.append(record)
        with Path("hooks.jsonl").open("a") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")
