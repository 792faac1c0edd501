"""A second home with a new configuration in it, where the daemons' own `-t` is asked.

They find their home from the path of their own program, so a copy of the program in another
folder reads that folder's etc and ruleset. Nothing there is a link into the real home that a
daemon could follow after its chroot.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from . import files
from .places import Places

#: Whose `-t` reads ossec.conf; the cluster's and the API's parts are the charm's own.
_DAEMONS = (
    "wazuh-agentlessd",
    "wazuh-analysisd",
    "wazuh-authd",
    "wazuh-csyslogd",
    "wazuh-db",
    "wazuh-execd",
    "wazuh-integratord",
    "wazuh-logcollector",
    "wazuh-maild",
    "wazuh-modulesd",
    "wazuh-monitord",
    "wazuh-remoted",
    "wazuh-syscheckd",
)
_COPIED = ("etc", "ruleset", "integrations", "active-response", "agentless")
_LINKED = ("framework", "lib")
_EMPTY = ("logs/alerts", "logs/archives", "queue/sockets", "queue/db", "stats", "tmp", "var/run")
_SECONDS = 60.0
_PREFIX = "check-"
_ERROR = re.compile(r"(ERROR|CRITICAL):\s*(.*)")


def complaint(
    places: Places, contents: Mapping[str, bytes | None], environment: Mapping[str, str]
) -> str | None:
    """Return what Wazuh has against these files, by their path below the home; None: nothing.

    Raises OSError when it cannot be tried.
    """
    clear(places)
    home = Path(mkdtemp(prefix=_PREFIX, dir=places.home / "tmp"))
    try:
        home.chmod(0o755)
        _lay_out(places.home, home)
        for path, content in contents.items():
            _place(home / path, content)
        return _ask_all(home, environment)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def clear(places: Places) -> None:
    """Remove what a killed check has left."""
    for path in (places.home / "tmp").glob(f"{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _lay_out(real: Path, home: Path) -> None:
    (home / "bin").mkdir()
    for daemon in _DAEMONS:
        program = real / "bin" / daemon
        if program.exists():
            shutil.copy2(program, home / "bin" / daemon)
    for name in _LINKED:
        if (real / name).exists():
            (home / name).symlink_to(real / name)
    for name in _EMPTY:
        (home / name).mkdir(parents=True, exist_ok=True)
        files.give_folder(home / name, files.Owner("wazuh", "wazuh", 0o770))
    for name in _COPIED:
        if (real / name).is_dir():
            shutil.copytree(real / name, home / name, copy_function=_copy)
            _give_folders(real / name, home / name)


def _copy(source: str, destination: str) -> str:
    """Copy with owner; what goes away meanwhile, or is a socket, is no configuration."""
    with suppress(FileNotFoundError, shutil.SpecialFileError):
        shutil.copy2(source, destination)
        status = Path(source).stat()
        os.chown(destination, status.st_uid, status.st_gid)
    return destination


def _give_folders(real: Path, home: Path) -> None:
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        with suppress(FileNotFoundError):
            status = (real / folder.relative_to(home)).stat()
            os.chown(folder, status.st_uid, status.st_gid)


def _place(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    status = path.stat() if path.exists() else path.parent.stat()
    path.write_bytes(content)
    path.chmod(0o755 if "bin" in path.parts else 0o644)
    os.chown(path, status.st_uid, status.st_gid)


def _ask_all(home: Path, environment: Mapping[str, str]) -> str | None:
    for daemon in _DAEMONS:
        program = home / "bin" / daemon
        if program.exists():
            found = _ask(program, environment)
            if found is not None:
                return f"{daemon}: {found}".replace(f"{home}/", "")[:250]
    return None


def _ask(program: Path, environment: Mapping[str, str]) -> str | None:
    try:
        done = subprocess.run(
            [program, "-t"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=program.parent.parent,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not checked within {_SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    text = done.stdout.decode("utf-8", "replace")
    found = _ERROR.findall(text)
    return found[0][1].strip() if found else f"refused (exit status {done.returncode})"
