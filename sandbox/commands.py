"""What the server does when it is asked: the operator's commands, faults, and looking."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sandbox import image, network, packing
from sandbox.containers import charm_user
from sandbox.model import CommandError
from sandbox.processes import sharing, signal_tree
from sandbox.runner import Runner
from sandbox.wazuh_stand_in import build as build_stand_in

_CUTS = {"controller", *network.FAR}


class Commands:
    """The commands by name; each gets its request's fields as keyword arguments."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._model = runner.model

    async def carry_out(self, command: str, request: Mapping[str, Any], files: list[int]) -> Any:
        """Carry out one command. Raises `CommandError` with the sentence to print."""
        method = getattr(self, f"do_{command.replace('-', '_')}", None)
        if method is None:
            raise CommandError(f"the sandbox has no command {command!r}")
        self._runner.tick()
        answer = method(**request, **({"files": files} if files else {}))
        result = await answer if asyncio.iscoroutine(answer) else answer
        self._runner.wake()
        return result

    # -- operators' commands -------------------------------------------------------------------

    async def do_deploy(
        self, charm: str, units: int, config: dict[str, str], name: str | None, trust: bool
    ) -> str:
        """Pack the charm, lay out the image, and add the application."""
        metadata = packing.metadata(Path(charm))
        app = name or metadata["name"]
        if app in self._model.applications():
            raise CommandError(f'application "{app}" already exists')
        await self._pack(Path(charm), app)
        if not Path("image").exists():
            await asyncio.to_thread(self._lay_out_image)
        self._runner.users[app] = charm_user(metadata, self._runner.settings)
        return self._model.add_application(
            metadata, units=units, config=config, name=name, trust=trust
        )

    async def do_refresh(self, app: str, charm: str) -> None:
        """Roll out the charm as it is now."""
        self._model.units(app)
        metadata = packing.metadata(Path(charm))
        await self._pack(Path(charm), app)
        self._model.refresh(app, metadata)

    def do_scale(self, app: str, units: int) -> None:
        """Ask for a number of units."""
        self._model.scale(app, units)

    def do_config(self, app: str, values: dict[str, Any], reset: list[str]) -> dict[str, Any]:
        """Set and reset options; return all of them as `juju config` shows them."""
        if values or reset:
            self._model.set_config(app, values | dict.fromkeys(reset))
        found = self._model.world.app(app)
        return {
            name: {
                "default": option.default,
                "source": "user" if name in found.config else "default",
                "type": option.type,
                "value": found.config.get(name, option.default),
            }
            for name, option in sorted(found.charm.options.items())
        }

    def do_integrate(self, left: str, right: str) -> str:
        """Relate two applications."""
        return self._model.integrate(left, right)

    def do_remove_relation(self, left: str, right: str) -> None:
        """End a relation."""
        self._model.remove_relation(left, right)

    def do_neighbour(self, name: str, endpoint: str, interface: str, role: str) -> None:
        """Add an application that runs no charm: what it tells in a relation is told for it."""
        metadata = {"name": name, role: {endpoint: {"interface": interface}}}
        self._model.add_application(metadata, scripted=True)

    def do_tell(self, app: str, data: dict[str, str]) -> None:
        """Write a neighbour's side of each of its relations."""
        for relation in self._model.world.relations_of(app):
            if not relation.dying:
                self._model.scripted_set(relation.id, app, data)

    def do_add_secret(self, name: str, content: dict[str, str]) -> str:
        """Add a user's secret; return its URI."""
        return self._model.add_secret(name, content)

    def do_update_secret(self, name: str, content: dict[str, str]) -> None:
        """Give a user's secret a new revision."""
        self._model.update_secret(name, content)

    def do_grant_secret(self, name: str, app: str) -> None:
        """Let an application read a user's secret."""
        self._model.grant_secret(name, app)

    def do_revoke_secret(self, name: str, app: str) -> None:
        """Forbid an application to read a user's secret."""
        self._model.revoke_secret(name, app)

    def do_remove_secret(self, name: str) -> None:
        """Remove a user's secret."""
        self._model.remove_secret(name)

    def do_secrets(self, reveal: bool = False) -> list[dict[str, Any]]:
        """List the secrets, with their contents when asked for."""
        return [asdict(secret) for secret in self._model.secrets(reveal=reveal)]

    async def do_run(
        self, unit: str, action: str, params: dict[str, Any], wait: float
    ) -> dict[str, Any]:
        """Run an action and wait for its end, at most `wait` real seconds."""
        number = self._model.run_action(unit, action, params)
        self._runner.wake()
        try:
            async with asyncio.timeout(wait):
                while self._model.action(number).status in {"pending", "running"}:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass
        return asdict(self._model.action(number))

    def do_resolve(self, unit: str, retry: bool) -> None:
        """Run a failed hook again, or skip it."""
        self._model.resolve(unit, retry=retry)

    def do_remove_application(self, app: str) -> None:
        """Remove an application with its units."""
        self._model.remove_application(app)

    def do_destroy(self) -> None:
        """End the server, and so everything."""
        self._runner.end()

    # -- looking ---

    def do_status(self) -> dict[str, Any]:
        """Return `juju status` as JSON; times are Unix times."""
        status = _dated(self._model.status(), self._runner.date)
        given = self._runner.settings
        return status | {
            "sandbox": {
                "clock-factor": given.factor,
                "workload": given.workload,
                "one-uid": given.single,
                "idle": not self._runner.hooks.count and not self._model.due(),
            }
        }

    def do_show_unit(self, unit: str) -> dict[str, Any]:
        """Return what `juju show-unit` shows."""
        return self._model.show_unit(unit)

    def do_effects(self) -> dict[str, Any]:
        """Return, by unit, what was done since its pod was made, and which hooks ran."""
        hooks: dict[str, Counter[str]] = {}
        tools: dict[str, Counter[str]] = {}
        for record in self._runner.hooks.records:
            hooks.setdefault(record.unit, Counter())[record.hook] += 1
            tools.setdefault(record.unit, Counter()).update(record.tools)
        return {
            unit: {
                "pebble-requests": pod.counters.requests,
                "service-starts": pod.counters.starts,
                "hooks": dict(hooks.get(unit, {})),
                "hook-tools": dict(tools.get(unit, {})),
            }
            for unit, pod in sorted(self._runner.node.pods.items())
        }

    def do_hooks(self, since: int = 0) -> list[dict[str, Any]]:
        """Return a record of each hook that has ended, from a number on."""
        return [asdict(record) for record in self._runner.hooks.records[since:]]

    def do_addresses(self) -> dict[str, Any]:
        """Return the addresses of Services and of pods."""
        services = self._runner.services()
        return {service.app: asdict(service) for service in services}

    # -- programs ---

    async def do_exec(
        self,
        program: list[str],
        unit: str | None,
        container: str | None,
        environment: dict[str, str],
        files: list[int],
    ) -> int:
        """Run a program with the asker's standard files; return its exit code."""
        line = self._line(program, unit, container, environment)
        process = await asyncio.create_subprocess_exec(
            *line, stdin=files[0], stdout=files[1], stderr=files[2]
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                signal_tree(process.pid, signal.SIGKILL)

    def _line(
        self,
        command: list[str],
        unit: str | None,
        container: str | None,
        environment: dict[str, str],
    ) -> list[str]:
        node = self._runner.node
        if unit is None:
            settings = [f"{name}={value}" for name, value in environment.items()]
            return node.client_command(["/usr/bin/env", *settings, *command])
        if container == "charm":
            app = unit.partition("/")[0]
            user = self._runner.users[app]
            return node.charm_command(self._runner.pod(unit), command, environment, user)
        return node.enter_command(self._runner.container(unit, container), command)

    # -- faults ---

    async def do_kill(self, unit: str, container: str | None, daemon: str | None) -> str:
        """Delete a pod, kill a container, or kill one daemon in the workload container."""
        if daemon is not None:
            return self._kill_daemon(unit, container, daemon)
        if container == "charm":
            self._runner.restart_agent(unit)
            return f"killed the charm container of {unit}"
        if container is not None:
            found = self._runner.container(unit, container)
            self._runner.node.kill(found)
            await found.ended
            return f"killed the container {container} of {unit}"
        self._model.pod_deleted(unit)
        return f"deleted the pod of {unit}"

    def _kill_daemon(self, unit: str, container: str | None, daemon: str) -> str:
        found = [
            pid
            for pid in sharing(self._runner.container(unit, container).pid, "pid")
            if daemon.replace("_", "-") in _names(pid)
        ]
        if not found:
            raise CommandError(f"no process of {daemon} in {unit}")
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return f"killed {daemon} of {unit} ({len(found)} processes)"

    def do_lose_node(self, unit: str, keep_volume: bool, back_after: float | None) -> None:
        """Lose the node of a unit."""
        self._runner.lose_node(unit, keep_volume=keep_volume, back_after=back_after)

    def do_volumes(self, removed: str) -> None:
        """Have removed units' volumes kept or lost from now on."""
        self._model.with_behaviour(volumes=removed)

    def do_restore_node(self, unit: str) -> None:
        """Have a lost unit's pod made anew."""
        if unit not in self._runner.lost:
            raise CommandError(f"the node of {unit} is not lost")
        self._runner.node_back(unit)

    def do_pause(self, unit: str, agent_only: bool) -> int:
        """Freeze a unit; return how many of its hooks stand still."""
        self._runner.freeze(unit, agent_only=agent_only)
        return len(self._runner.hooks.processes(unit))

    def do_resume(self, unit: str) -> None:
        """Let a frozen unit go on."""
        self._runner.thaw(unit)

    def do_partition(self, unit: str, away: list[str]) -> None:
        """Cut a unit off."""
        names = _CUTS if "all" in away else set(away)
        if names - _CUTS:
            raise CommandError(f"cannot cut off from {', '.join(sorted(names - _CUTS))}")
        self._runner.cut(unit, frozenset(names))

    def do_heal(self, unit: str) -> None:
        """Undo a unit's partition."""
        self._runner.heal(unit)

    # -- parts ---

    async def _pack(self, charm: Path, app: str) -> None:
        packed = Path("charms", f"{app}.new")
        try:
            await asyncio.to_thread(packing.pack, charm, packed)
        except packing.NoPythonError as reason:
            raise CommandError(str(reason)) from None
        if Path("charms", app).exists():
            Path("charms", app).rename(Path("charms", f"{app}.old-{os.urandom(4).hex()}"))
        packed.rename(Path("charms", app))

    def _lay_out_image(self) -> None:
        given = self._runner.settings
        if given.wazuh:
            fill = partial(image.copy_installation, Path(given.wazuh), single=given.single)
        else:
            fill = self._stand_in
        part = Path("image.new")
        image.build(Path(given.project), part, fill, single=given.single)
        part.rename("image")

    def _stand_in(self, destination: Path) -> None:
        given = self._runner.settings
        _, uid, gid, _, _ = image.accounts()["wazuh"]
        owner = None if given.single else (uid, gid)
        build_stand_in(destination, Path(given.python), owner=owner)


def _names(pid: int) -> set[str]:
    """Return the last parts of a process's arguments, as daemons are called by them."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return set()
    names = {Path(word.decode(errors="replace")).name for word in words if word}
    return {name.removesuffix(".py").replace("_", "-") for name in names}


def _dated(value: Any, date: Callable[[float], float]) -> Any:
    """Replace the model's times by Unix times, wherever they are called `since`."""
    if not isinstance(value, dict):
        return value
    return {
        key: date(item) if key == "since" else _dated(item, date) for key, item in value.items()
    }
