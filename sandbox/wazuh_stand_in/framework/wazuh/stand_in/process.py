"""Starts a daemon the way the real ones start: check, detach, leave a pid file, serve."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from .configuration import ConfigurationError
from .home import VERSION, Home

MODULES = {
    "wazuh-clusterd": "clusterd",
    "wazuh-authd": "authd",
    "wazuh-apid": "apid",
    "wazuh-analysisd": "analysisd",
    "wazuh-logtest-legacy": "analysisd",
    "wazuh-remoted": "remoted",
    "wazuh-db": "wazuh_db",
    "wazuh-logcollector": "logcollector",
    "wazuh-modulesd": "modulesd",
    "wazuh-keystore": "indexer_store",
    "cluster_control": "cluster_control",
}
DROPS_TO_WAZUH = (
    "wazuh-clusterd",
    "wazuh-apid",
    "wazuh-analysisd",
    "wazuh-remoted",
    "wazuh-db",
    "wazuh-monitord",
)
NEEDS_CONFIGURATION = ("wazuh-maild", "wazuh-agentlessd", "wazuh-csyslogd", "wazuh-integratord")

stopping = threading.Event()
"""Set by SIGTERM, SIGINT and SIGHUP."""


def launch(arguments: "list[str]") -> None:
    """Run the daemon whose program is the first argument; does not return."""
    home = Home(arguments[0])
    options = set(arguments[1:])
    module = import_module(f".{MODULES.get(home.daemon, 'idle')}", __package__)
    if hasattr(module, "command"):
        sys.exit(module.command(home, arguments[1:]))
    if "-V" in options:
        print(f"Wazuh (stand-in) {VERSION}")
        sys.exit(0)
    try:
        wanted = module.check(home)
    except ConfigurationError as error:
        home.complain(str(error))
        sys.exit(1)
    if "-t" in options or not wanted or home.daemon == "wazuh-logtest-legacy":
        sys.exit(0)
    start(home, module.serve, foreground="-f" in options)


def start(home: Home, serve: "Callable[[Home], int]", *, foreground: bool) -> None:
    """Detach unless in the foreground, then serve; does not return."""
    if home.daemon in ("wazuh-clusterd", "wazuh-apid"):
        clear_pid_files(home)
    if not foreground:
        detach()
    if home.daemon == "wazuh-remoted" and os.fork():
        # The real one forks a process for each <remote> and its parent ends, even with -f
        # (remoted/main.c).
        os._exit(0)
    become_wazuh(user=home.daemon in DROPS_TO_WAZUH)
    run(home, home.daemon, serve)


def run(home: Home, name: str, serve: "Callable[[Home], int]") -> None:
    """Serve under a pid file until the daemon ends or is told to; does not return."""
    rename(name)
    _hear_signals()
    home.write_pid(name)
    code = 1
    try:
        home.log("INFO", f"Started (pid: {os.getpid()}).")
        code = serve(home)
        home.log("INFO", "Exiting...")
    finally:
        with suppress(OSError):
            home.pid_file(name, os.getpid()).unlink()
        sys.stdout.flush()
        os._exit(code)


def _hear_signals() -> None:
    """Have `stopping` set by a thread that reads what signals write into a pipe.

    A handler could meet the main thread holding that event's lock; and one that comes while the
    main thread waits for the interpreter, just before it sleeps, would not wake it.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    def hear() -> None:
        os.read(reading, 1)
        stopping.set()

    threading.Thread(target=hear, daemon=True).start()


def detach() -> None:
    """Leave the caller: a session and process group of its own, led by nobody."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir("/")


def become_wazuh(*, user: bool) -> None:
    """Drop to group wazuh, and to its user if asked, where we are root and they exist.

    Every daemon takes the group, also those that stay root (Privsep_SetGroup): what they make,
    like enrolment's socket, is open to the others.
    """
    if os.geteuid() == 0:
        import pwd

        with suppress(KeyError):
            account = pwd.getpwnam("wazuh")
            # Where all users are one there is nobody to become, and no right to try.
            if account.pw_uid != os.geteuid():
                os.setgroups([account.pw_gid])
                os.setgid(account.pw_gid)
                if user:
                    os.setuid(account.pw_uid)


def rename(name: str) -> None:
    """Show the daemon's name in ps (15 characters of it)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])


def fork_child(home: Home, name: str) -> None:
    """Fork a helper that outlives its parent, as the pool workers of the real daemons do."""
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rename(name)
    home.write_pid(name)
    while True:
        signal.pause()


def end_children(home: Home) -> None:
    """Kill this process's children and remove their pid files."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                pid = int(status.parent.name)
                os.kill(pid, signal.SIGKILL)
                for path in (home / "var/run").glob(f"*-{pid}.pid"):
                    path.unlink()


def clear_pid_files(home: Home) -> None:
    """Remove pid files an earlier run left; kill what of it still lives under its name."""
    for path in (home / "var/run").glob(f"{home.daemon}*-*.pid"):
        pid = path.stem.rpartition("-")[2]
        with suppress(OSError, ValueError):
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            if home.program.encode() in words:
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            path.unlink()
