"""The node: makes and removes pods, starts their containers, keeps names and rules up to date."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import boxes, image, network
from sandbox.model.values import PodView, ServiceView
from sandbox.pebble import MARK
from sandbox.settings import CHARM_USER, Settings

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REQUEST = re.compile(r"\[pebble\] (?P<method>[A-Z]+) (?P<path>/v1/\S*) \S+ \d+ ")
_START = re.compile(r'\[pebble\] Service "(?P<service>[^"]+)" starting: ')
_IDENTITIES = "/charm/identities.yaml"
_PAUSE = "echo up; exec sleep infinity"


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
        self.metadata: Mapping[str, Mapping] = {}
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
        Path("client/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")

    async def make_pod(self, view: PodView, user: int | None) -> Pod:
        """Make a pod's network namespace, its charm directory and places for its containers."""
        home = Path("pods", f"{view.unit.replace('/', '-')}.{view.uid}").absolute()
        (home / "containers").mkdir(parents=True)
        (home / "hosts").touch()
        app = view.unit.partition("/")[0]
        await run("cp", "-a", f"charms/{app}", str(home / "charm"))
        if user is not None:
            await run("chown", "-R", f"{user}:{user}", str(home / "charm"))
        for name, content in image.account_files(single=self.settings.single, charm=user).items():
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

    async def remove_volumes(self, pod: Pod) -> None:
        """Remove the volumes of a unit that is gone for good."""
        for name in pod.view.volumes.values():
            await asyncio.to_thread(shutil.rmtree, Path("volumes", name), ignore_errors=True)

    async def start_container(self, pod: Pod, name: str, user: int | None) -> Container:
        """Start a workload container afresh: only volumes and its socket's directory stay."""
        home = pod.home / "containers" / name
        shared = home / "shared"
        shared.mkdir(parents=True, exist_ok=True)
        (home / "identities.yaml").write_text(_identities(user))
        root = await self._fresh_root(home)
        reading, writing = os.pipe()
        box = self._workload_box(pod, name, root, user)
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
            _signal(container.pid, signal.SIGTERM)
        container.killed = True
        await asyncio.wait([container.ended], timeout=grace)
        self.kill(container)

    def kill(self, container: Container) -> None:
        """SIGKILL to the first process, and so to all of the container."""
        container.killed = True
        if not container.ended.done():
            _signal(container.pid, signal.SIGKILL)

    def processes(self, container: Container) -> list[int]:
        """Return the ids of every process in the container, as this namespace counts."""
        return _sharing(container.pid, "pid")

    def signal_pod(self, pod: Pod, number: signal.Signals) -> None:
        """Send a signal to every process of a pod."""
        # Twice: a process may have been started while the first ones were being stopped.
        for pid in _sharing(pod.pause.pid, "net") + _sharing(pod.pause.pid, "net"):
            _signal(pid, number)

    def signal_tree(self, first: int, number: signal.Signals) -> None:
        """Send a signal to a process and to all that came from it."""
        parents = {pid: _parent(pid) for pid in _all_processes()}
        tree = [first]
        for pid in tree:
            tree += [child for child, parent in parents.items() if parent == pid]
        for pid in tree:
            _signal(pid, number)

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

    def charm_box(
        self,
        pod: Pod,
        command: Sequence[str],
        environment: Mapping[str, str],
        user: int | None,
    ) -> boxes.Box:
        """Return the charm container of a pod, in which `command` is to run."""
        agent = f"/var/lib/juju/agents/unit-{pod.host}"
        tools = f"/var/lib/juju/tools/unit-{pod.host}"
        files = {name: f"/etc/{name}" for name in ("hosts", "passwd", "group")}
        mounts = [
            *(boxes.Mount(str(pod.home / name), target) for name, target in files.items()),
            *self._python(),
            boxes.Mount(str(Path("client/nsswitch.conf").absolute()), "/etc/nsswitch.conf"),
            boxes.Mount(str(pod.home / "charm"), f"{agent}/charm", writable=True),
            boxes.Mount(self.settings.venv, f"{agent}/charm/venv"),
            boxes.Mount(str(Path("tools").absolute()), tools),
            boxes.Mount(f"{self.settings.programs}/hook-tool", f"{tools}/hook-tool"),
            boxes.Mount(str(Path("agent.socket").absolute()), f"{agent}/agent.socket"),
            boxes.Mount(f"{self.settings.programs}/pebble", "/charm/bin/pebble"),
        ]
        mounts += [
            boxes.Mount(
                str(pod.home / "containers" / name / "shared"), f"/charm/containers/{name}"
            )
            for name in pod.containers
        ]
        own = {
            "HOME": "/var/lib/juju",
            "PATH": f"{tools}:{_PATH}",
            "LANG": "C.UTF-8",
            "JUJU_CHARM_DIR": f"{agent}/charm",
            "JUJU_AGENT_SOCKET_ADDRESS": f"{agent}/agent.socket",
            "JUJU_AGENT_SOCKET_NETWORK": "unix",
            **_kubernetes(),
        }
        drop = [] if user is None else _as_user(user)
        return boxes.Box(
            command=[*drop, *command],
            host=pod.host,
            environment=own | dict(environment),
            mounts=tuple(mounts),
            directory=f"{agent}/charm",
            network=pod.pause.pid,
        )

    def charm_command(
        self,
        pod: Pod,
        command: Sequence[str],
        environment: Mapping[str, str],
        user: int | None,
    ) -> list[str]:
        """Return the command line that runs `command` in the charm container."""
        return boxes.arguments(self.charm_box(pod, command, environment, user))

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
        settings = [f"{name}={value}" for name, value in _workload_environment().items()]
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

    def _workload_box(
        self, pod: Pod, name: str, root: boxes.Overlay, user: int | None
    ) -> boxes.Box:
        home = pod.home / "containers" / name
        mounts = [
            boxes.Mount(str(home / "shared"), "/charm/container", writable=True),
            boxes.Mount(f"{self.settings.programs}/pebble", "/charm/bin/pebble"),
            boxes.Mount(str(home / "identities.yaml"), _IDENTITIES),
            boxes.Mount(str(pod.home / "hosts"), "/etc/hosts"),
            *self._python(),
            *self._volumes(pod, name),
        ]
        scale = {"WAZUH_SERVER_TIME_SCALE": f"{self.settings.factor:g}"}
        pebble = ["/charm/bin/pebble", "run", "--create-dirs", "--hold", "--verbose"]
        return boxes.Box(
            command=[*pebble, "--http=:38813", *(["--identities", _IDENTITIES] if user else [])],
            host=pod.host,
            environment=_workload_environment() | {"JUJU_CONTAINER_NAME": name} | scale,
            mounts=tuple(mounts),
            root=root,
            network=pod.pause.pid,
            init=True,
        )

    def _volumes(self, pod: Pod, name: str) -> list[boxes.Mount]:
        mounts = []
        for target, storage in pod.view.mounts.get(name, {}).items():
            volume = Path("volumes", pod.view.volumes[storage]).absolute()
            volume.mkdir(parents=True, exist_ok=True)
            mounts.append(boxes.Mount(str(volume), target, writable=True))
        return mounts

    def _python(self) -> list[boxes.Mount]:
        """Return where the machine's own Python lies, unless that is /usr."""
        prefix = str(Path(sys.base_prefix).resolve())
        return [] if prefix.startswith("/usr") else [boxes.Mount(prefix, prefix)]

    def _write_hosts(self, pod: Pod) -> None:
        own = {pod.host: pod.view.address}
        _rewrite(pod.home / "hosts", network.hosts(self.settings.model, self._services, own))


def _workload_environment() -> dict[str, str]:
    return {
        "HOME": "/root",
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "PEBBLE": "/charm/container/pebble",
        "PEBBLE_COPY_ONCE": "/var/lib/pebble/default",
        "PEBBLE_SOCKET": "/charm/container/pebble.socket",
        **_kubernetes(),
    }


def _kubernetes() -> dict[str, str]:
    return {
        "KUBERNETES_SERVICE_HOST": network.KUBERNETES,
        "KUBERNETES_SERVICE_PORT": str(network.KUBERNETES_PORT),
    }


def _identities(user: int | None) -> str:
    """Return the identity with which Juju's agent is Pebble's administrator though not root."""
    if user is None:
        return "identities: {}\n"
    return f"identities:\n  juju:\n    access: admin\n    local:\n      user-id: {user}\n"


def _as_user(user: int) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]


def charm_user(metadata: Mapping[str, object], settings: Settings) -> int | None:
    """Return the uid of the charm's hooks: root's is None; one uid for all leaves no choice."""
    rootless = metadata.get("charm-user") in {"non-root", "sudoer"}
    return CHARM_USER if rootless and not settings.single else None


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


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_others() -> None:
    """SIGKILL to all processes of this namespace but ours, our parent (strace) and the first."""
    own = {1, os.getpid(), os.getppid()}
    for pid in _all_processes():
        if pid not in own:
            _signal(pid, signal.SIGKILL)


def _all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _sharing(pid: int, kind: str) -> list[int]:
    """Return the processes that are in the same namespace of this kind as `pid`."""
    own = _namespace(pid, kind)
    return [other for other in _all_processes() if own and _namespace(other, kind) == own]


def _namespace(pid: int, kind: str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").readlink()
    except OSError:
        return None


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
