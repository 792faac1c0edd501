"""A tiny Wazuh in a directory: real processes that behave badly where the real ones do.

Each daemon is one script that detaches, leaves a pid file and waits. The cluster daemon has a
child that keeps its port; when the port is taken it ends with 0. remoted forks once more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from supervisor import processes
from supervisor.places import Places, Ports

from tests.unit.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
DAEMONS = (
    "wazuh-apid",
    "wazuh-authd",
    "wazuh-db",
    "wazuh-execd",
    "wazuh-analysisd",
    "wazuh-syscheckd",
    "wazuh-remoted",
    "wazuh-logcollector",
    "wazuh-monitord",
    "wazuh-modulesd",
    "wazuh-clusterd",
)

DAEMON = """#!{python} -S
import json, os, signal, socket, struct, sys, threading, time
home = {home!r}
name = os.path.basename(sys.argv[0])
behaviour = json.load(open(home + "/behaviour.json")).get(name, {{}})
if "-t" in sys.argv:
    sys.exit(behaviour.get("test", 0))
if behaviour.get("fails"):
    sys.exit(1)
port = behaviour.get("port")
server = None
if port:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
    except OSError:
        open(home + "/logs/taken", "a").write(name + "\\n")
        sys.exit(0)
    server.listen(5)
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(behaviour.get("delay", 0))
if name == "wazuh-remoted" and os.fork():
    os._exit(0)
pid = os.getpid()
path = "%s/var/run/%s-%d.pid" % (home, name, pid)
def end(*_):
    if behaviour.get("stubborn"):
        return
    open(home + "/logs/ended", "a").write(name + "\\n")
    if not behaviour.get("leaves"):
        os.unlink(path)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
if behaviour.get("children") and not os.fork():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()
open(path, "w").write(str(pid))
open(home + "/logs/started", "a").write("%s %d\\n" % (name, pid))
def answer(path, reply):
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(5)
    while True:
        stream, _ = listener.accept()
        (size,) = struct.unpack("<I", stream.recv(4))
        open(home + "/logs/asked-" + name, "ab").write(stream.recv(size) + b"\\n")
        text = reply()
        stream.sendall(struct.pack("<I", len(text)) + text)
        stream.close()
if name == "wazuh-db":
    path_of = home + "/queue/db/wdb"
    threading.Thread(target=answer, args=(path_of, lambda: b"ok []"), daemon=True).start()
if name == "wazuh-analysisd":
    def rules():
        try:
            return open(home + "/reload.json", "rb").read()
        except OSError:
            return b'{{"error": 0, "message": "ok", "data": []}}'
    path_of = home + "/queue/sockets/analysis"
    threading.Thread(target=answer, args=(path_of, rules), daemon=True).start()
if behaviour.get("dies"):
    time.sleep(behaviour["dies"])
    end()
    os._exit(0)
while True:
    time.sleep(3600)
"""

CONTROL = """#!/bin/sh
home={home}
lock=$home/var/start-script-lock
daemons="{daemons}"
case "$1" in
info) echo v4.14.7; exit 0;;
start) ;;
*) exit 1;;
esac
for d in $(cat "$home/tested"); do
    "$home/bin/$d" -t || {{ echo "$d: Configuration error. Exiting"; exit 1; }}
done
while ! mkdir "$lock" 2>/dev/null; do
    sleep 0.2
    kill -0 "$(cat "$lock/pid" 2>/dev/null)" 2>/dev/null || rm -rf "$lock"
done
echo $$ > "$lock/pid"
for d in $daemons; do
    for p in $(cat "$home"/var/run/"$d"-*.pid 2>/dev/null); do
        if kill -0 "$p" 2>/dev/null; then echo "$d already running..."; continue 2; fi
    done
    "$home/bin/$d" || {{ echo "$d did not start correctly."; rm -rf "$lock"; exit 1; }}
    n=0
    until [ "$d" = wazuh-clusterd ] || ls "$home"/var/run/"$d"-*.pid >/dev/null 2>&1; do
        sleep 0.1; n=$((n + 1))
        [ $n -lt 100 ] || {{ echo "$d did not start correctly."; rm -rf "$lock"; exit 1; }}
    done
    echo "Started $d..."
    sleep {pause}
done
echo Completed.
rm -rf "$lock"
"""

ORM = """
import json, os, time
HOME = {home!r}
PATH = HOME + "/rbac.json"
def read():
    return json.load(open(PATH))
def write(users):
    json.dump(users, open(PATH, "w"))
def check_database_integrity():
    open(HOME + "/logs/preset", "a").write("begun\\n")
    time.sleep({pause})
    if not os.path.exists(PATH):
        write({{"wazuh": [1, "wazuh"], "wazuh-wui": [2, "wazuh-wui"]}})
class AuthenticationManager:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def get_user(self, name):
        users = read()
        return {{"id": users[name][0]}} if name in users else False
    def check_user(self, name, password):
        users = read()
        return name in users and users[name][1] == password
    def update_user(self, number, password):
        if os.path.exists(HOME + "/refuse"): return False
        users = read()
        for entry in users.values():
            if entry[0] == number: entry[1] = password
        write(users)
        return True
    def add_user(self, name, password):
        users = read()
        users[name] = [100 + len(users), password]
        write(users)
        return True
class UserRolesManager(AuthenticationManager):
    def add_role_to_user(self, user_id, role_id): return True
"""

PYTHON = """#!/bin/sh
shift
exec {python} -c 'import sys, runpy; sys.path.insert(0, "{site}"); sys.argv.pop(0); \
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""

CONFIGURATION = """<ossec_config>
  <cluster>
    <name>wazuh</name>
    <node_name>NODE</node_name>
    <node_type>ROLE</node_type>
    <nodes>
      <node>MASTER.endpoints.test</node>
    </nodes>
    <disabled>no</disabled>
  </cluster>
  <auth>
    <disabled>no</disabled>
  </auth>
</ossec_config>
"""


@dataclass
class Fake:
    """The directory with everything in it, and the supervisor's process."""

    root: Path
    places: Places
    process: subprocess.Popen[bytes] | None = None
    node: str = "u0"
    endpoints: str = "localhost"
    addresses: tuple[str, ...] = ()  # what the endpoints resolve to

    @property
    def home(self) -> Path:
        return self.places.home

    def behave(self, **behaviour: dict) -> None:
        """Set how daemons behave, `_` for `-`."""
        content = {name.replace("_", "-"): value for name, value in behaviour.items()}
        (self.home / "behaviour.json").write_text(json.dumps(content))
        tested = [name for name, value in content.items() if "test" in value]
        (self.home / "tested").write_text(" ".join(tested))

    def order(
        self, role: str = "master", epoch: int = 1, master: str = "", **changes: object
    ) -> None:
        """Write the charm's files, desired.json last."""
        configuration = CONFIGURATION.replace("NODE", self.node).replace("ROLE", role)
        master = self.node if role == "master" else master or "u1"
        path = self.places.orders / "files/etc/ossec.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configuration.replace("MASTER", master))
        users = {"wazuh": {"password": "Secret-1"}, "wazuh-wui": {"password": "Secret-2"}}
        (self.places.orders / "users.json").write_text(json.dumps(users))
        entry = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "owner": "root",
            "group": "root",
            "mode": "0640",
        }
        desired = {
            "schema": 1,
            "inputs": "x",
            "epoch": epoch,
            "role": role,
            "node": self.node,
            "master": master,
            "endpoints": self.endpoints,
            "enrolment": True,
            "high-water": 0,
            "wake": 0,
            "files": {"etc/ossec.conf": entry},
            "generations": {"wazuh-authd": "1", "users": "1"},
            "ruleset": None,
        }
        nothing = json.dumps({"schema": 1, "content": None})
        (self.places.orders / "master-state.json").write_text(nothing)
        draft = self.places.orders / "draft"
        draft.write_text(json.dumps(desired | changes))
        draft.replace(self.places.orders / "desired.json")

    def start(self, python: str = sys.executable) -> None:
        """Start the supervisor on this directory."""
        places = self.places
        code = (
            "import ctypes, socket, sys; sys.path.insert(0, sys.argv[1])\n"
            "ctypes.CDLL(None).prctl(1, 15)\n"  # SIGTERM when the tests die: nothing stays
            "from pathlib import Path\n"
            "found, real = sys.argv[14].split(), socket.getaddrinfo\n"
            "def resolve(name, *rest, **more):\n"
            "    names = found if found and name == 'endpoints.test' else [name]\n"
            "    return [item for n in names for item in real(n, *rest, **more)]\n"
            "socket.getaddrinfo = resolve\n"
            "from supervisor import main, places, times\n"
            "roots = [Path(a) for a in sys.argv[2:8]]\n"
            "ports = places.Ports(*map(int, sys.argv[8:13]))\n"
            "where = places.Places(*roots, address=sys.argv[13], ports=ports)\n"
            "sys.exit(main.run(where, times.REAL.scaled(10)))\n"
        )
        roots = (
            places.home,
            places.orders,
            places.run,
            places.image,
            places.repository,
            places.pebble,
        )
        numbers = dataclasses.astuple(places.ports)
        with (self.root / "supervisor.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    python,
                    "-c",
                    code,
                    ROOT / "rock",
                    *map(str, roots),
                    *map(str, numbers),
                    places.address,
                    " ".join(self.addresses),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> float:
        """SIGTERM the supervisor; returns how long it took to end (seconds)."""
        assert self.process
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - begun

    def state(self) -> dict:
        """Read what the charm reads."""
        try:
            return json.loads(self.places.report.read_text())
        except (OSError, ValueError):
            return {"phase": "none", "ready": False}

    def alive(self) -> dict[str, int]:
        """Give the main process of each daemon that lives."""
        found = {}
        for name in DAEMONS:
            for pid in processes.pid_file_of(self.places, name):
                if Path(f"/proc/{pid}/stat").exists() and self._is(pid, name):
                    found[name] = pid
        return found

    def _is(self, pid: int, name: str) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(self.home / "bin" / name).encode() in words

    def left(self) -> list[int]:
        """Find every process of this tree, orphans too."""
        table = processes.scan(self.places)
        return [p.pid for p in table.processes.values() if p.inside and not p.zombie]

    def log(self) -> str:
        """Return the supervisor's log."""
        return (self.root / "supervisor.log").read_text()

    def until(self, condition, seconds: float = 60.0) -> float:
        """Wait for a condition; the bound is generous, it decides nothing."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, self.log()[-4000:]
            assert self.process is None or self.process.poll() is None, self.log()[-4000:]
            time.sleep(0.02)
        return time.monotonic() - begun

    def serving(self) -> bool:
        """Tell whether it serves with every daemon there."""
        return self.state()["phase"] == "serving" and len(self.alive()) == len(DAEMONS)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.left():
            processes.send([pid], signal.SIGKILL)


def make(root: Path, *, pause: float = 0.0) -> Fake:
    """Lay a fake installation out below `root`."""
    home = root / "ossec"
    for name in (
        "bin",
        "etc/rules",
        "etc/decoders",
        "etc/lists",
        "logs",
        "var/run",
        "queue/db",
        "queue/sockets",
        "framework/python/bin",
        "site/wazuh/rbac",
    ):
        (home / name).mkdir(parents=True)
    (root / "image/seed").mkdir(parents=True)
    (root / "orders").mkdir()
    for name in DAEMONS:
        _script(home / "bin" / name, DAEMON.format(python=sys.executable, home=str(home)))
    control = CONTROL.format(home=home, daemons=" ".join(DAEMONS), pause=pause)
    _script(home / "bin/wazuh-control", control)
    site = home / "site"
    (site / "wazuh/__init__.py").touch()
    (site / "wazuh/rbac/__init__.py").touch()
    (site / "wazuh/rbac/orm.py").write_text(ORM.format(home=str(home), pause=pause))
    python = PYTHON.format(python=sys.executable, site=site)
    _script(home / "framework/python/bin/python3", python)
    ports = Ports(*(free_port() for _ in dataclasses.fields(Ports)))
    places = Places(
        home=home,
        orders=root / "orders",
        run=root / "run",
        image=root / "image",
        repository=root / "repository",
        pebble=root / "pebble.socket",
        address="127.0.0.1",
        ports=ports,
    )
    fake = Fake(root, places)
    fake.behave()
    return fake


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def is_root() -> bool:
    """Tell whether owners can be set."""
    return os.geteuid() == 0
