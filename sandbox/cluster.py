"""Starting and ending a model's server: namespaces, and what must be there before."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import building, packing
from sandbox.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
_NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_MANY = ("--user", "--map-root-user", "--map-auto")
_ONE = ("--user", "--map-root-user")
ONE_UID = (
    "No sub-ids are given to you (/etc/subuid, package uidmap): all users in the containers are "
    "one, so owners of files are not checked."
)
_FORBIDDEN = (
    "This kernel lets an ordinary user make no namespaces: run it as root (sudo), or allow them "
    "(sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)."
)
_TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "nft": "nftables"}


class SandboxError(Exception):
    """The sandbox cannot do what was asked; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model's directory, whether it runs or not."""

    name: str
    root: Path = PROJECT / ".sandbox"

    @property
    def home(self) -> Path:
        """Where all of it lies."""
        return self.root / self.name

    @property
    def socket(self) -> Path:
        """Where its server listens."""
        return self.home / "server.socket"

    def process(self) -> int | None:
        """Return the id of the process that holds its namespaces, if that one still runs."""
        try:
            held = json.loads((self.home / "process.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return held["id"] if _started(held["id"]) == held["started"] else None


def models(root: Path = PROJECT / ".sandbox") -> list[Model]:
    """Return every model that has a directory."""
    found = sorted(root.iterdir()) if root.exists() else []
    return [Model(path.name, root) for path in found if (path / "settings.json").exists()]


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to run."""

    factor: float = 10.0
    wazuh: str | None = None
    """A Wazuh installation; without it the stand-in."""
    watch: bool = False
    """Whether to record the arguments of every program."""
    one_uid: bool = False
    """Whether to do as if no sub-ids were given."""
    seed: int = 0
    commit_mode: str = "4"
    order: tuple[int, ...] = ()


def start(model: Model, options: Options, say: Callable[[str], None]) -> None:
    """Start a model's server and wait until it listens; `say` gets what takes longer."""
    _need_tools(watch=options.watch)
    cache = model.root / "cache"
    if options.wazuh and not (Path(options.wazuh) / "bin/wazuh-control").exists():
        raise SandboxError(
            f"{options.wazuh} holds no bin/wazuh-control: it is no Wazuh installation"
        )
    how = _ONE if options.one_uid else _how()
    if how == _ONE:
        say(ONE_UID)
    programs = building.programs(PROJECT, cache, say)
    venv = packing.environment(PROJECT, cache, say)
    with _alone(model):
        clean(model)
        model.home.mkdir(parents=True)
        _settings(model, options, programs, venv, single=how == _ONE).write()
        _launch(model, how, watch=options.watch)


def _settings(
    model: Model, options: Options, programs: Path, venv: Path, *, single: bool
) -> Settings:
    return Settings(
        model=model.name,
        project=str(PROJECT),
        home=str(model.home),
        programs=str(programs),
        venv=str(venv),
        python=str(packing.interpreter()),
        factor=options.factor,
        single=single,
        wazuh=str(Path(options.wazuh).resolve()) if options.wazuh else None,
        seed=options.seed,
        commit_mode=options.commit_mode,
        order=options.order,
    )


@contextlib.contextmanager
def _alone(model: Model) -> Iterator[None]:
    """Let one process at a time start a model."""
    with (model.root / f"{model.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def end(model: Model, *, grace: float = 20.0) -> None:
    """Wait until a server that was asked to end is gone, else end it the hard way; clean up."""
    process = model.process()
    if process is not None and not _wait(lambda: model.process() is None, grace):
        # The namespaces' first process dies with this one, and everything with that.
        os.kill(process, signal.SIGKILL)
        _wait(lambda: model.process() is None, 5.0)
    clean(model)


def clean(model: Model) -> None:
    """Remove a model's directory. Its files may belong to users that only a namespace knows."""
    if model.process() is not None:
        raise SandboxError(f"the model {model.name} is running")
    if not model.home.exists():
        return
    shutil.rmtree(model.home, ignore_errors=True)
    if model.home.exists() and os.geteuid():
        subprocess.run(["unshare", *_how(), "rm", "-rf", str(model.home)], check=True)


def _launch(model: Model, how: Sequence[str], *, watch: bool) -> None:
    server = [sys.executable, "-m", "sandbox.server", str(model.home)]
    if watch:
        # Only what is executed is of interest: everything else runs at full speed.
        trace = ["--seccomp-bpf", "-f", "-qq", "-e", "trace=execve", "-s", "4096"]
        server = ["strace", *trace, "-o", str(model.home / "arguments"), *server]
    # The shell is the namespace's first process and reaps what nobody waits for.
    first = ["sh", "-c", '"$@" & wait $!', "sh", *server]
    # An interruption must not come between the start and the note of what was started.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with (model.home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", *how, *_NAMESPACES, "--", *first],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_unblock,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    held = {"id": process.pid, "started": _started(process.pid)}
    (model.home / "process.json").write_text(json.dumps(held))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if not _wait(lambda: model.socket.exists() or process.poll() is not None, 30.0):
        process.kill()
    if not model.socket.exists():
        text = (model.home / "server.log").read_text(errors="replace")
        raise SandboxError(f"the sandbox's server did not start:\n{text}")


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _how() -> tuple[str, ...]:
    """Return the options with which this user can make namespaces, the best ones first."""
    choices = [(), _MANY, _ONE] if os.geteuid() == 0 else [_MANY, _ONE]
    for choice in choices:
        tried = subprocess.run(
            ["unshare", *choice, *_NAMESPACES, "--", "true"], capture_output=True, check=False
        )
        if tried.returncode == 0:
            return choice
    raise SandboxError(_FORBIDDEN)


def _need_tools(*, watch: bool) -> None:
    needed = _TOOLS | ({"strace": "strace"} if watch else {})
    missing = sorted({package for name, package in needed.items() if shutil.which(name) is None})
    if missing:
        raise SandboxError(f"please install {', '.join(missing)} (scripts/bring does)")


def _started(process: int) -> str | None:
    """Return when a process started, in the kernel's own unit; None when there is none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
