"""Run one hook of a real charm in this process: real ops, its hook tools answered by the model.

ops' own model backend is used as it is; only the processes it would start (hook tools) are
answered by `sandbox.hook_tools` on the model's hook. ops-scenario's own backend is not asked: it
takes a label twice, lets everyone add secrets, makes a revision of equal content.
"""

import contextlib
import functools
import inspect
import logging
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import ops
import yaml
from ops.hookcmds import _utils as hook_commands
from scenario import Context, DeferredEvent, State, StoredState
from scenario._ops_main_mock import Ops

from sandbox import hook_tools
from sandbox.inprocess.container import Box, Pebble
from sandbox.inprocess.effects import Effects, Killed
from sandbox.model import Hook, ToolError

KILLED = "killed"
"""The error of a hook whose process was killed."""
SECRET_TOOLS = {"secret-add", "secret-set", "secret-remove", "secret-grant", "secret-revoke"}


@dataclass(slots=True)
class CharmState:
    """What the charm's own folder keeps between hooks of one pod (R11: gone with the pod)."""

    deferred: list[DeferredEvent] = field(default_factory=list)
    stored: frozenset[StoredState] = frozenset()


class _Files(Mapping[str, str]):
    """Files that a hook tool's arguments name, read when asked for; `-` is standard input."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def __getitem__(self, path: str) -> str:
        return (self._text or "") if path == "-" else Path(path).read_text()

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Tools:
    """Stands in for the module `subprocess` where ops starts hook tools, and nowhere else."""

    CalledProcessError = subprocess.CalledProcessError

    def __init__(self, hook: Hook, effects: Effects) -> None:
        self._hook = hook
        self._effects = effects

    def run(self, args: tuple[str, ...], **settings: Any) -> types.SimpleNamespace:
        tool, *rest = args
        self._effects.step(" ".join([tool, *rest[:1]]))
        self._effects.shown(tool, *rest, settings.get("input") or "")
        self._count(tool, rest)
        call = hook_tools.Call(tool, tuple(rest), _Files(settings.get("input")))
        answer = hook_tools.answer(self._hook, call, self._hook.world.now)
        if tool in SECRET_TOOLS:
            self._effects.secrets |= self._hook.hidden()
        if answer.code:
            raise subprocess.CalledProcessError(
                answer.code, list(args), answer.stdout, answer.stderr
            )
        return types.SimpleNamespace(stdout=answer.stdout)

    def _count(self, tool: str, args: list[str]) -> None:
        self._effects.tools[tool] += 1
        if tool == "relation-set":
            relation = args[args.index("-r") + 1] if "-r" in args else ""
            self._effects.relation_writes.append((relation, "--app" in args))
        if tool in SECRET_TOOLS:
            self._effects.secret_writes.append(tool)


@functools.lru_cache(maxsize=256)
def _signature(function: Callable[..., object], follow_wrapped: bool) -> inspect.Signature:
    bound = types.MethodType(function, object())
    return inspect.signature(bound, follow_wrapped=follow_wrapped)


def _signature_of(handler: types.MethodType, *, follow_wrapped: bool) -> inspect.Signature:
    """Give the signature of a handler that ops registers, looked at once for all hooks."""
    return _signature(handler.__func__, follow_wrapped)


INSPECT = types.SimpleNamespace(**{**vars(inspect), "signature": _signature_of})
"""Stands in for the module `inspect` in ops' framework."""


class _Backend(ops.model._ModelBackend):
    """ops' own backend, with this unit's containers behind Pebble's sockets."""

    def __init__(
        self, boxes: Mapping[str, Box], effects: Effects, juju_context: ops.JujuContext
    ) -> None:
        super().__init__(juju_context=juju_context)
        self._boxes = boxes
        self._effects = effects

    def get_pebble(self, socket_path: str) -> ops.pebble.Client:
        """Give Pebble of the container whose socket it is."""
        box = self._boxes[Path(socket_path).parent.name]
        return _as_client(Pebble(box, self._effects))


def _as_client(client: Any) -> ops.pebble.Client:
    """ops-scenario's client conforms to ops' without being one of them."""
    return client


class _Hook(Ops):
    """ops-scenario's manager of one event, with the backend above."""

    def __init__(
        self,
        state: State,
        context: Context[Any],
        charm: "Charm",
        backend: _Backend,
        juju_context: ops.JujuContext,
    ) -> None:
        self.state = state
        self.context = context
        self.store = None
        self.captured_events = []
        self.trace_data = ()
        self._tracing_mock = None
        self._meta = charm.meta
        ops._main._Manager.__init__(self, charm.wrapped(), backend, juju_context=juju_context)

    def _load_charm_meta(self) -> ops.CharmMeta:
        return self._meta

    def _get_event_to_emit(self, event_name: str) -> ops.framework.BoundEvent | None:
        return getattr(self.charm.on, event_name, None)

    def _get_event_args(self, bound_event: ops.framework.BoundEvent) -> Any:
        return ops._main._Manager._get_event_args(self, bound_event)

    def run(self) -> None:
        """Emit and commit as in production."""
        ops._main._Manager.run(self)


class Charm:
    """A charm class with its metadata, to be run any number of times.

    `differs` makes another revision of the same code: names of what has another value in it.
    """

    def __init__(
        self,
        charm_class: type[ops.CharmBase],
        metadata: Mapping[str, Any],
        *,
        differs: Mapping[str, object] | None = None,
    ) -> None:
        self._class = charm_class
        self._differs = dict(differs or {})
        self.metadata = metadata
        self._folder = tempfile.TemporaryDirectory(prefix="charm-")
        self.root = Path(self._folder.name)
        actions = dict(metadata.get("actions") or {})
        config = dict(metadata.get("config") or {"options": {}})
        meta = {key: value for key, value in metadata.items() if key not in {"actions", "config"}}
        self.meta = ops.CharmMeta.from_yaml(
            yaml.safe_dump(meta), yaml.safe_dump(actions), yaml.safe_dump(config)
        )
        self._context = Context(charm_class, meta=meta, actions=actions, config=config)

    @classmethod
    def load(cls, charm_class: type[ops.CharmBase], folder: Path) -> "Charm":
        """Read charmcraft.yaml of a folder."""
        return cls(charm_class, yaml.safe_load((folder / "charmcraft.yaml").read_text()))

    def wrapped(self) -> type[ops.CharmBase]:
        """Give a fresh class: ops binds events to the class, once per process."""
        charm_class = self._class
        events = type(charm_class.on)
        bound = type(events.__name__, (events,), {"__module__": events.__module__})
        return type(
            charm_class.__name__,
            (charm_class,),
            {"on": bound(), "__module__": charm_class.__module__},
        )

    def run(
        self, hook: Hook, boxes: Mapping[str, Box], kept: CharmState, effects: Effects
    ) -> None:
        """Run a hook to its end; what goes wrong is in `effects`. Nothing is committed."""
        environment = hook.environment() | {
            "JUJU_CHARM_DIR": str(self.root),
            "PATH": os.environ.get("PATH", ""),
        }
        state = State(deferred=list(kept.deferred), stored_states=kept.stored)
        tools = mock.patch.object(hook_commands, "subprocess", _Tools(hook, effects))
        signatures = mock.patch.object(ops.framework, "inspect", INSPECT)
        with _environment(environment), tools, signatures, _quiet_root(), self._revision():
            juju_context = ops.JujuContext.from_environ(environment)
            try:
                self._run(state, _Backend(boxes, effects, juju_context), juju_context, kept)
            except _FAILURES as error:
                effects.ok = False
                effects.error = f"{type(error).__name__}: {error}"
            except Killed:
                effects.ok = False
                effects.error = KILLED

    @contextlib.contextmanager
    def _revision(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, value in self._differs.items():
                stack.enter_context(mock.patch(name, value))
            yield

    def _run(
        self, state: State, backend: _Backend, juju_context: ops.JujuContext, kept: CharmState
    ) -> None:
        manager = None
        try:
            manager = _Hook(state, self._context, self, backend, juju_context)
            manager.run()
            kept.deferred = list(manager.state.deferred)
            kept.stored = frozenset(manager.state.stored_states)
        except ops._main._Abort as abort:
            if abort.exit_code:
                raise
        finally:
            if manager is not None:
                manager.destroy()
            self._context.emitted_events.clear()


_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    ToolError,
    TypeError,
    ValueError,
    ops.ModelError,
    ops.pebble.Error,
    ops.hookcmds.Error,
    ops._main._Abort,
)
"""What a charm can raise: with any of them its process exits with 1."""


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(values)
    os.environ.pop("OPERATOR_DISPATCH", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _quiet_root() -> Iterator[None]:
    """Give the root logger back as it was: ops adds handlers and sets the level."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook = hook
