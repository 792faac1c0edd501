"""The workload's image as a directory tree, from the parts that the rock is made of."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from sandbox.boxes import links

# name, uid, gid, home, further groups: what the rock's own users are.
_USERS = (
    ("root", 0, 0, "/root"),
    ("daemon", 1, 1, "/usr/sbin"),
    ("syslog", 997, 4, "/nonexistent"),
    ("wazuh-git", 998, 998, "/var/lib/wazuh-repository"),
    ("wazuh", 999, 999, "/var/ossec"),
    ("nobody", 65534, 65534, "/nonexistent"),
)
_GROUPS = {0: "root", 1: "daemon", 4: "adm", 998: "wazuh-git", 999: "wazuh", 65534: "nogroup"}
NAME_SERVICE = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
_FILES = {
    "etc/nsswitch.conf": NAME_SERVICE,
    "etc/host.conf": "multi on\n",
    "etc/resolv.conf": "",
    "etc/hosts": "",
    "etc/os-release": 'NAME="Wazuh server sandbox"\nID=ubuntu\nVERSION_ID="24.04"\n',
}
_DIRECTORIES = ("home", "opt/wazuh-server/bin", "root", "run", "tmp", "usr", "var/log", "var/tmp")
_LAYERS = "var/lib/pebble/default/layers"


def account_files(*, single: bool, charm: int | None = None) -> dict[str, str]:
    """Return passwd and group; in a namespace with a `single` uid every name is that one."""
    users = [*_USERS, *([("juju", charm, charm, "/var/lib/juju")] if charm else [])]
    groups = _GROUPS | ({charm: "juju"} if charm else {})
    passwd = "".join(
        f"{name}:x:{0 if single else uid}:{0 if single else gid}::{home}:/bin/sh\n"
        for name, uid, gid, home in users
    )
    group = "".join(f"{name}:x:{0 if single else gid}:\n" for gid, name in groups.items())
    return {"etc/passwd": passwd, "etc/group": group}


def build(project: Path, image: Path, wazuh: Callable[[Path], None], *, single: bool) -> None:
    """Lay out a root file system at `image`; `wazuh` fills its var/ossec.

    Runs as root of the cluster's namespace, since files get their owners here.
    """
    for directory in (*_DIRECTORIES, _LAYERS):
        (image / directory).mkdir(parents=True, exist_ok=True)
    for name, target in links().items():
        (image / name).symlink_to(target)
    (image / "var/run").symlink_to("/run")
    (image / "tmp").chmod(0o1777)
    for name, content in (_FILES | account_files(single=single)).items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_text(content)
    wazuh(image / "var/ossec")
    _add_own_parts(project / "rock", image)
    repository = image / "var/lib/wazuh-repository"
    repository.mkdir(parents=True, exist_ok=True)
    repository.chmod(0o755)
    os.chown(repository, *(2 * ((0,) if single else (998,))))
    subprocess.run([project / "rock/lay-out", image], check=True)


def copy_installation(source: Path, destination: Path, *, single: bool) -> None:
    """Copy a real Wazuh and give its files to the image's users.

    Numbers of users differ between machines, and in a namespace most owners cannot be told
    apart: what is root's stays root's, the rest is the user wazuh's, and the group is always
    wazuh, as in the vendor's package.
    """
    destination.mkdir(parents=True, exist_ok=True)
    command = ["cp", "-a", "--no-preserve=ownership", f"{source}/.", destination]
    subprocess.run(command, check=True)
    if single:
        return
    for path in (destination, *destination.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        owner = (source / path.relative_to(destination)).lstat().st_uid
        os.lchown(path, 999 if owner else 0, 999)
        if not path.is_symlink():
            path.chmod(mode)


def _add_own_parts(rock: Path, image: Path) -> None:
    """Add what this project puts beside Wazuh; see rockcraft.yaml for the same."""
    home = image / "opt/wazuh-server"
    for name in ("supervisor", "repository"):
        shutil.copytree(rock / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for program in (rock / "bin").iterdir():
        if program.is_file():
            shutil.copy(program, home / "bin" / program.name)
            (home / "bin" / program.name).chmod(0o755)
    for layer in (rock / "layers").glob("*.yaml"):
        shutil.copy(layer, image / _LAYERS / layer.name)
    (home / "version").write_text("sandbox\n")
