"""What a pod's containers look like inside: the workload's, and the charm's beside it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox import network
from sandbox.boxes import Box, Mount, Overlay
from sandbox.pods import Pod
from sandbox.settings import CHARM_USER, Settings

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IDENTITIES = "/charm/identities.yaml"
_PEBBLE = ("/charm/bin/pebble", "run", "--create-dirs", "--hold", "--verbose", "--http=:38813")


def charm_user(metadata: Mapping[str, object], settings: Settings) -> int | None:
    """Return the uid of the charm's hooks: root's is None; one uid for all leaves no choice."""
    rootless = metadata.get("charm-user") == "non-root"
    return CHARM_USER if rootless and not settings.single else None


def identities(user: int | None) -> str:
    """Return the identity with which Juju's agent is Pebble's administrator though not root."""
    if user is None:
        return "identities: {}\n"
    return f"identities:\n  juju:\n    access: admin\n    local:\n      user-id: {user}\n"


def workload(settings: Settings, pod: Pod, name: str, root: Overlay, user: int | None) -> Box:
    """Return a workload container, with Pebble as its first process as Juju starts it."""
    home = pod.home / "containers" / name
    mounts = [
        Mount(str(home / "shared"), "/charm/container", writable=True),
        Mount(f"{settings.programs}/pebble", "/charm/bin/pebble"),
        Mount(str(home / "identities.yaml"), _IDENTITIES),
        Mount(str(pod.home / "hosts"), "/etc/hosts"),
        *_python(),
        *_volumes(pod, name),
    ]
    own = {
        "JUJU_CONTAINER_NAME": name,
        "WAZUH_SERVER_TIME_SCALE": f"{settings.factor:g}",
    }
    return Box(
        command=[*_PEBBLE, *(["--identities", _IDENTITIES] if user else [])],
        host=pod.host,
        environment=workload_environment() | own,
        mounts=tuple(mounts),
        root=root,
        network=pod.pause.pid,
        init=True,
    )


def charm(
    settings: Settings,
    pod: Pod,
    command: Sequence[str],
    environment: Mapping[str, str],
    user: int | None,
) -> Box:
    """Return the charm container of a pod, in which `command` is to run."""
    agent = f"/var/lib/juju/agents/unit-{pod.host}"
    tools = f"/var/lib/juju/tools/unit-{pod.host}"
    own = {
        "HOME": "/var/lib/juju",
        "PATH": f"{tools}:{_PATH}",
        "LANG": "C.UTF-8",
        "JUJU_CHARM_DIR": f"{agent}/charm",
        "JUJU_AGENT_SOCKET_ADDRESS": f"{agent}/agent.socket",
        "JUJU_AGENT_SOCKET_NETWORK": "unix",
        **_kubernetes(),
    }
    return Box(
        command=[*(_as_user(user) if user else []), *command],
        host=pod.host,
        environment=own | dict(environment),
        mounts=(
            *_etc(pod),
            *_python(),
            *_own_python(pod),
            *_charm_mounts(settings, pod, agent, tools),
        ),
        directory=f"{agent}/charm",
        network=pod.pause.pid,
    )


def workload_environment() -> dict[str, str]:
    """Return what Juju and Kubernetes set for every process of a workload container."""
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


def _charm_mounts(settings: Settings, pod: Pod, agent: str, tools: str) -> list[Mount]:
    sockets = [
        Mount(str(pod.home / "containers" / name / "shared"), f"/charm/containers/{name}")
        for name in pod.containers
    ]
    return [
        Mount(str(pod.home / "charm"), f"{agent}/charm", writable=True),
        *([] if _is_packed(pod) else [Mount(settings.venv, f"{agent}/charm/venv")]),
        Mount(f"{settings.home}/tools", tools),
        Mount(f"{settings.programs}/hook-tool", f"{tools}/hook-tool"),
        Mount(f"{settings.home}/agent.socket", f"{agent}/agent.socket"),
        Mount(f"{settings.programs}/pebble", "/charm/bin/pebble"),
        *sockets,
    ]


def _etc(pod: Pod) -> list[Mount]:
    names = ("hosts", "passwd", "group", "nsswitch.conf")
    return [Mount(str(pod.home / name), f"/etc/{name}") for name in names]


def _volumes(pod: Pod, name: str) -> list[Mount]:
    return [
        Mount(str(Path("volumes", pod.view.volumes[storage]).absolute()), target, writable=True)
        for target, storage in pod.view.mounts.get(name, {}).items()
    ]


def _python() -> list[Mount]:
    """Return where the machine's own Python lies, unless that is /usr."""
    prefix = str(Path(sys.base_prefix).resolve())
    return [] if prefix.startswith("/usr") else [Mount(prefix, prefix)]


def _is_packed(pod: Pod) -> bool:
    return (pod.home / "charm/venv/lib").exists()


def _own_python(pod: Pod) -> list[Mount]:
    """Return where the Python of a packed charm lies, unless that is /usr, or seen anyway."""
    if not _is_packed(pod):
        return []
    prefix = str((pod.home / "charm/venv/bin/python").readlink().parents[1])
    seen = any(mount.target == prefix for mount in _python())
    return [] if seen or prefix.startswith("/usr") else [Mount(prefix, prefix)]


def _as_user(user: int) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
