"""The node: makes and removes pods, starts their containers, keeps names and rules up to date."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sandbox import boxes, containers, image, network
from sandbox.model import PodView, ServiceView
from sandbox.pods import Container, Pod
from sandbox.processes import signal_one
from sandbox.settings import Settings

_PAUSE = "echo up; exec sleep infinity"


class NotMadeError(OSError):
    """Something was asked of the node that it has not made yet."""


async def run(*command: str, text: str | None = None) -> None:
    """Run a short program of the system; its complaint becomes the error's text."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate((text or "").encode())
    if process.returncode:
        raise OSError(f"{' '.join(command)}: {output.decode(errors='replace').strip()}")


async def _ip(lines: Sequence[str], inside: int | None = None) -> None:
    enter = [] if inside is None else ["nsenter", f"--net=/proc/{inside}/ns/net", "--"]
    await run(*enter, "ip", "-batch", "-", text="\n".join(lines) + "\n")


class Node:
    """Carries out what the model says must exist. Its directory is the working directory."""

    def __init__(self, settings: Settings, *, overlay: bool) -> None:
        self.settings = settings
        self.pods: dict[str, Pod] = {}
        self.client: asyncio.subprocess.Process | None = None
        self._overlay = overlay
        self._published: tuple[str, str] = ("", "")
        self._devices = 0
        self._services: tuple[ServiceView, ...] = ()

    async def start(self) -> None:
        """Make the router and the host on which clients run."""
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        await _ip(network.root_commands())
        self.client = await self._pause()
        lines = network.attach_commands("clients", self.client.pid, network.CLIENTS)
        await _ip(lines)
        inner = network.inner_commands(network.FIRST_CLIENT)
        await _ip([*inner, f"route add local {network.CLIENTS} dev lo"], self.client.pid)
        Path("client").mkdir(exist_ok=True)
        Path("client/hosts").touch()
        Path("client/nsswitch.conf").write_text(image.NAME_SERVICE)

    async def make_pod(self, view: PodView, user: int | None) -> Pod:
        """Make a pod's network namespace, its charm directory and places for its containers."""
        home = Path("pods", f"{view.unit.replace('/', '-')}.{view.uid}").absolute()
        (home / "containers").mkdir(parents=True)
        (home / "hosts").touch()
        app = view.unit.partition("/")[0]
        await run("cp", "-a", f"charms/{app}", str(home / "charm"))
        if user is not None:
            await run("chown", "-R", f"{user}:{user}", str(home / "charm"))
        accounts = image.account_files(single=self.settings.single, charm=user)
        for name, content in (accounts | {"nsswitch.conf": image.NAME_SERVICE}).items():
            (home / Path(name).name).write_text(content)
        pause = await self._pause()
        self._devices += 1
        device = f"pod{self._devices}"
        await _ip(network.attach_commands(device, pause.pid, f"{view.address}/32"))
        await _ip(network.inner_commands(view.address), pause.pid)
        pod = self.pods[view.unit] = Pod(view, home, pause)
        self._write_hosts(pod)
        return pod

    async def remove_pod(self, pod: Pod, *, grace: float) -> None:
        """End a pod: SIGTERM, at most `grace` seconds, SIGKILL. With no grace its node is lost."""
        pod.leaving = True
        if grace:
            await asyncio.gather(*(self.stop(c, grace) for c in pod.containers.values()))
        else:
            # A node that is off answers nothing: not even that nobody listens.
            await _ip(network.lost_commands(pod.view.address))
        for container in pod.containers.values():
            self.kill(container)
            await container.ended
        pod.pause.kill()
        await pod.pause.wait()
        if self.pods.get(pod.view.unit) is pod:
            del self.pods[pod.view.unit]
        # A hook that is just dying may still write there: what it leaves goes with the model.
        await asyncio.to_thread(shutil.rmtree, pod.home, ignore_errors=True)

    async def remove_volumes(self, names: Collection[str]) -> None:
        """Remove volumes that belong to nobody any more."""
        for name in names:
            await asyncio.to_thread(shutil.rmtree, Path("volumes", name), ignore_errors=True)

    async def start_container(self, pod: Pod, name: str, user: int | None) -> Container:
        """Start a workload container afresh: only volumes and its socket's directory stay."""
        home = pod.home / "containers" / name
        shared = home / "shared"
        shared.mkdir(parents=True, exist_ok=True)
        for volume in pod.view.volumes.values():
            Path("volumes", volume).mkdir(parents=True, exist_ok=True)
        (home / "identities.yaml").write_text(containers.identities(user))
        root = await self._fresh_root(home)
        reading, writing = os.pipe()
        box = containers.workload(self.settings, pod, name, root, user)
        try:
            process = await asyncio.create_subprocess_exec(
                *boxes.arguments(box, writing),
                pass_fds=(writing,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        finally:
            os.close(writing)
        pid = await asyncio.to_thread(_first_process, reading)
        output = asyncio.create_task(_keep(process, home / "log", pod.counters.read))
        ended = asyncio.create_task(process.wait())
        socket = os.path.relpath(shared / "pebble.socket")
        container = Container(name, socket, process, pid, output, ended)
        pod.containers[name] = container
        return container

    async def stop(self, container: Container, grace: float) -> None:
        """SIGTERM to Pebble, which ends its services; SIGKILL after `grace` seconds."""
        if not container.killed:
            signal_one(container.pid, signal.SIGTERM)
        container.killed = True
        await asyncio.wait([container.ended], timeout=grace)
        self.kill(container)

    def kill(self, container: Container) -> None:
        """SIGKILL to the first process, and so to all of the container."""
        container.killed = True
        if not container.ended.done():
            signal_one(container.pid, signal.SIGKILL)
            # What holds it may be frozen with it, and would never see its end.
            container.process.send_signal(signal.SIGCONT)

    async def publish(
        self,
        services: Sequence[ServiceView],
        cuts: Mapping[str, Collection[str]],
    ) -> None:
        """Bring rules and hosts files to what the Services are now."""
        self._services = tuple(services)
        rules = network.ruleset(services, cuts)
        names = network.hosts(self.settings.model, services)
        if (rules, names) == self._published:
            return
        if names != self._published[1]:
            for pod in self.pods.values():
                self._write_hosts(pod)
            _rewrite(Path("client/hosts"), names)
        if rules != self._published[0]:
            await run("nft", "-f", "-", text=rules)
        self._published = (rules, names)

    def charm_command(
        self,
        pod: Pod,
        command: Sequence[str],
        environment: Mapping[str, str],
        user: int | None,
    ) -> list[str]:
        """Return the command line that runs `command` in the charm container."""
        return boxes.arguments(containers.charm(self.settings, pod, command, environment, user))

    def client_command(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` on the clients' host."""
        if self.client is None:
            raise NotMadeError("the clients' host is not there")
        enter = ["nsenter", f"--net=/proc/{self.client.pid}/ns/net", "--"]
        view = ["--dev-bind", "/", "/", "--proc", "/proc", "--die-with-parent"]
        for name in ("hosts", "nsswitch.conf"):
            if Path("/etc", name).exists():
                view += ["--ro-bind", str(Path("client", name).absolute()), f"/etc/{name}"]
        return [*enter, boxes.program(), "--unshare-pid", *view, "--", *command]

    @staticmethod
    def enter_command(container: Container, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` inside a running container."""
        names = ["--mount", "--pid", "--net", "--ipc", "--uts"]
        settings = [f"{name}={value}" for name, value in containers.workload_environment().items()]
        enter = ["nsenter", f"--target={container.pid}", *names, "--"]
        return [*enter, "/usr/bin/env", "-i", "-C", "/", *settings, "TERM=xterm", *command]

    async def _pause(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "sh", "-c", _PAUSE), stdout=asyncio.subprocess.PIPE
        )
        await _stdout(process).readline()
        return process

    async def _fresh_root(self, home: Path) -> boxes.Overlay:
        """Return a root that holds the image as it was made; what was written before is gone."""
        for name in ("upper", "work"):
            if (home / name).exists():
                await asyncio.to_thread(shutil.rmtree, home / name)
            (home / name).mkdir()
        source = str(Path("image").absolute())
        if not self._overlay:
            await run("cp", "-a", "--reflink=auto", f"{source}/.", str(home / "upper"))
        return boxes.Overlay(source, str(home / "upper"), str(home / "work"), not self._overlay)

    def _write_hosts(self, pod: Pod) -> None:
        own = {pod.host: pod.view.address}
        _rewrite(pod.home / "hosts", network.hosts(self.settings.model, self._services, own))


def _first_process(descriptor: int) -> int:
    with os.fdopen(descriptor) as stream:
        text = stream.read()
    if not text:
        raise OSError("a container did not start: see its log")
    return int(json.loads(text)["child-pid"])


async def _keep(
    process: asyncio.subprocess.Process, path: Path, each: Callable[[str], None]
) -> None:
    """Append what a container prints to its log, as the kubelet does."""
    stream = _stdout(process)
    with path.open("a", encoding="utf-8", errors="replace") as log:
        while chunk := await stream.readline():
            line = chunk.decode(errors="replace")
            log.write(line)
            log.flush()
            each(line)


def _stdout(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise NotMadeError("the process was started without a pipe")
    return process.stdout


def _rewrite(path: Path, content: str) -> None:
    """Replace a file's content in place: a bound file cannot be renamed over."""
    with path.open("r+") as stream:
        stream.write(content)
        stream.truncate()
