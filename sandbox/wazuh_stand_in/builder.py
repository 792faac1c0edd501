"""Lays a tree shaped as a Wazuh installation at a folder."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DAEMONS = (
    "agentlessd",
    "analysisd",
    "apid",
    "authd",
    "clusterd",
    "csyslogd",
    "db",
    "execd",
    "integratord",
    "logcollector",
    "maild",
    "modulesd",
    "monitord",
    "remoted",
    "syscheckd",
)
TOOLS = ("cluster_control", "wazuh-keystore", "wazuh-logtest-legacy")
FOLDERS = (
    "active-response/bin",
    "agentless",
    "api/configuration/security",
    "api/configuration/ssl",
    "api/scripts",
    "backup/agents",
    "backup/db",
    "backup/shared",
    "bin",
    "etc/decoders",
    "etc/lists/amazon",
    "etc/lists/malicious-ioc",
    "etc/rootcheck",
    "etc/rules",
    "etc/shared/default",
    "framework/scripts",
    "integrations",
    "lib",
    "logs/alerts",
    "logs/api",
    "logs/archives",
    "logs/cluster",
    "logs/firewall",
    "logs/wazuh",
    "queue/agentless",
    "queue/alerts",
    "queue/cluster",
    "queue/db",
    "queue/diff",
    "queue/fim/db",
    "queue/fts",
    "queue/indexer",
    "queue/keystore",
    "queue/logcollector",
    "queue/rids",
    "queue/rootcheck",
    "queue/router",
    "queue/sockets",
    "queue/syscollector/db",
    "queue/tasks",
    "queue/tzdata",
    "queue/vd",
    "queue/vd_updater",
    "ruleset/decoders",
    "ruleset/rules",
    "ruleset/sca",
    "stats",
    "tmp",
    "var/db",
    "var/multigroups",
    "var/run",
    "var/selinux",
    "var/upgrade",
    "var/wodles",
    "wodles",
)
OWNED_BY_WAZUH = ("api/configuration", "backup", "etc", "logs", "queue", "stats", "tmp", "var")
"""Below these the daemons that are not root must be able to write."""
CLOSED_TO_OTHERS = ("api", "bin", "framework", "lib", "ruleset")
"""What only root and its group may read (src/init/inst-functions.sh, src/Makefile)."""

PROGRAM = """#!/bin/sh
# {name} of the Wazuh stand-in.
case "$0" in */*) here=${{0%/*}} ;; *) here=. ;; esac
home=$(cd "$here/.." && pwd -P)
{quick}exec "$home/framework/python/bin/python3" -IS "$home/framework/scripts/stand_in.py" \\
    "$home/bin/{name}" "$@"
"""
QUICK = """if [ "$*" = -t ] && [ -r "$home/etc/ossec.conf" ]; then exit 0; fi
"""
"""Daemons that only wait say so without starting Python: the others read the same file."""

WITH_CHECKS = ("analysisd", "apid", "authd", "clusterd", "logcollector", "remoted")
START = '''"""Starts a daemon of the Wazuh stand-in."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
import_module("wazuh.stand_in.process").launch(sys.argv[1:])
'''


@dataclass(frozen=True)
class Interpreter:
    """The Python that the tree's own one stands for."""

    base: Path
    version: str

    @classmethod
    def of(cls, python: Path) -> "Interpreter":
        """Ask an interpreter, which may be a virtual environment's, for its base."""
        question = (
            "import json,sys;print(json.dumps([getattr(sys,'_base_executable',"
            "sys.executable),'%d.%d'%sys.version_info[:2]]))"
        )
        answer = subprocess.run(
            [python, "-I", "-S", "-c", question], check=True, capture_output=True, text=True
        ).stdout
        base, version = json.loads(answer)
        return cls(Path(base).resolve(), version)


def build(destination: Path, python: Path, *, owner: "tuple[int, int] | None" = None) -> None:
    """Lay the stand-in at a new or empty folder.

    `python` (3.10 or later) is what framework/python/bin/python3 stands for. `owner` is the
    numeric user and group that `wazuh` will have where the tree runs; without it, owners stay
    those of the caller.
    """
    for folder in FOLDERS:
        (destination / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "skeleton", destination, dirs_exist_ok=True)
    interpreter = _lay_framework(destination, Interpreter.of(python))
    _lay_programs(destination)
    _lay_certificate(destination)
    (destination / "etc/client.keys").touch()
    for compiled in ("framework/wazuh", "framework/scripts"):
        subprocess.run(
            [
                interpreter,
                "-I",
                "-S",
                "-m",
                "compileall",
                "-q",
                "--invalidation-mode",
                "unchecked-hash",
                destination / compiled,
            ],
            check=True,
        )
    _set_modes(destination, owner)


def _lay_framework(destination: Path, interpreter: Interpreter) -> Path:
    framework = destination / "framework"
    shutil.copytree(
        HERE / "framework/wazuh",
        framework / "wazuh",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (framework / "scripts/stand_in.py").write_text(START)
    packages = framework / f"python/lib/python{interpreter.version}/site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "stand-in.pth").write_text("../../../..\n")
    (framework / "python/bin").mkdir(exist_ok=True)
    # What makes a link to the machine's Python one with site-packages of its own.
    (framework / "python/pyvenv.cfg").write_text(
        f"home = {interpreter.base.parent}\ninclude-system-site-packages = false\n"
        f"version = {interpreter.version}\n"
    )
    for name in ("python3", f"python{interpreter.version}"):
        link = framework / "python/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(interpreter.base)
    return framework / "python/bin/python3"


def _lay_programs(destination: Path) -> None:
    for name in (*(f"wazuh-{daemon}" for daemon in DAEMONS), *TOOLS):
        plain = name in TOOLS or name.removeprefix("wazuh-") in WITH_CHECKS
        program = destination / "bin" / name
        program.write_text(PROGRAM.format(name=name, quick="" if plain else QUICK))
        program.chmod(0o750)
    (destination / "bin/wazuh-control").chmod(0o750)


def _lay_certificate(destination: Path) -> None:
    certificate, key = (destination / f"etc/sslmanager.{kind}" for kind in ("cert", "key"))
    if not key.exists():
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                key,
                "-out",
                certificate,
                "-days",
                "365",
                "-subj",
                "/O=Wazuh stand-in",
            ],
            check=True,
            capture_output=True,
        )


def _set_modes(destination: Path, owner: "tuple[int, int] | None") -> None:
    _close(destination)
    for top in OWNED_BY_WAZUH:
        for folder, _, files in os.walk(destination / top):
            Path(folder).chmod(0o770)
            for name in files:
                (Path(folder) / name).chmod(0o640 if name == "ossec.conf" else 0o660)
    for name in ("client.keys", "sslmanager.cert", "sslmanager.key"):
        (destination / "etc" / name).chmod(0o640)
    if owner:
        _set_owners(destination, owner)


def _close(destination: Path) -> None:
    destination.chmod(0o750)
    for top in CLOSED_TO_OTHERS:
        for folder, _, files in os.walk(destination / top):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode & 0o770)


def _set_owners(destination: Path, owner: "tuple[int, int]") -> None:
    user, group = owner
    os.chown(destination, 0, group)
    for folder, folders, files in os.walk(destination):
        for name in (*folders, *files):
            os.chown(Path(folder, name), 0, group, follow_symlinks=False)
    for top in OWNED_BY_WAZUH:
        for folder, _, files in os.walk(destination / top):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                if path.name not in ("ossec.conf", "sslmanager.key", "sslmanager.cert"):
                    os.chown(path, user, group)
