"""The workload's image as a directory tree, from the parts that the rock is made of."""

import functools
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from sandbox.boxes import links

PROJECT = Path(__file__).resolve().parents[1]
Account = tuple[str, int, int, str, str]
"""Name, uid, gid, group, home."""
# What the rock's base brings; its own users are in rock/accounts.
_BASE: tuple[Account, ...] = (
    ("root", 0, 0, "root", "/root"),
    ("daemon", 1, 1, "daemon", "/usr/sbin"),
    ("nobody", 65534, 65534, "nogroup", "/nonexistent"),
)
_OWN_PART = "own"
NAME_SERVICE = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
_FILES = {
    "etc/nsswitch.conf": NAME_SERVICE,
    "etc/host.conf": "multi on\n",
    "etc/resolv.conf": "",
    "etc/hosts": "",
    "etc/os-release": 'NAME="Wazuh server sandbox"\nID=ubuntu\nVERSION_ID="24.04"\n',
}
_DIRECTORIES = ("home", "root", "run", "tmp", "usr", "var/log", "var/tmp")


@functools.cache
def accounts(project: Path = PROJECT) -> dict[str, Account]:
    """Return the image's users by name: the base's, and those that the rock adds."""
    lines = (project / "rock/accounts").read_text().splitlines()
    own = [line.split() for line in lines if not line.startswith("#")]
    listed = [(name, int(uid), int(gid), group, home) for name, uid, gid, group, home in own]
    return {account[0]: account for account in (*_BASE, *listed)}


def account_files(*, single: bool, charm: int | None = None) -> dict[str, str]:
    """Return passwd and group; in a namespace with a `single` uid every name is that one."""
    users = [*accounts().values()]
    if charm:
        users.append(("juju", charm, charm, "juju", "/var/lib/juju"))
    groups = {group: gid for _, _, gid, group, _ in users}
    passwd = "".join(
        f"{name}:x:{0 if single else uid}:{0 if single else gid}::{home}:/bin/sh\n"
        for name, uid, gid, _, home in users
    )
    group = "".join(f"{name}:x:{0 if single else gid}:\n" for name, gid in groups.items())
    return {"etc/passwd": passwd, "etc/group": group}


def build(project: Path, image: Path, wazuh: Callable[[Path], None], *, single: bool) -> None:
    """Lay out a root file system at `image`; `wazuh` fills its var/ossec.

    Runs as root of the cluster's namespace, since files get their owners here.
    """
    for directory in _DIRECTORIES:
        (image / directory).mkdir(parents=True, exist_ok=True)
    for name, target in links().items():
        (image / name).symlink_to(target)
    (image / "var/run").symlink_to("/run")
    (image / "tmp").chmod(0o1777)
    for name, content in (_FILES | account_files(single=single)).items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_text(content)
    wazuh(image / "var/ossec")
    _add_own_part(project, image)
    _replace_filebeat(project, image)
    repository = image / "var/lib/wazuh-repository"
    repository.mkdir(parents=True, exist_ok=True)
    repository.chmod(0o755)
    _, uid, gid, _, _ = accounts(project)["wazuh-git"]
    os.chown(repository, *((0, 0) if single else (uid, gid)))
    subprocess.run([project / "rock/lay-out", image], check=True)


def _replace_filebeat(project: Path, image: Path) -> None:
    """Put the stand-in in Filebeat's place: /usr is the machine's, which has none."""
    program = image / "opt/wazuh-server/bin/filebeat"
    source = (project / "sandbox/indexer_stand_in/filebeat.py").read_text()
    program.write_text(f"#!/var/ossec/framework/python/bin/python3 -I\n{source}")
    program.chmod(0o755)


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
    _, uid, gid, _, _ = accounts()["wazuh"]
    for path in (destination, *destination.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        owner = (source / path.relative_to(destination)).lstat().st_uid
        os.lchown(path, uid if owner else 0, gid)
        if not path.is_symlink():
            path.chmod(mode)


def _add_own_part(project: Path, image: Path) -> None:
    """Add what this project puts beside Wazuh, by rockcraft.yaml's own words."""
    part = yaml.safe_load((project / "rockcraft.yaml").read_text())["parts"][_OWN_PART]
    unwanted = [word.rpartition("/")[2] for word in part["stage"] if word.startswith("-")]
    ignore = shutil.ignore_patterns("__pycache__", ".*", *unwanted)
    for name, target in part["organize"].items():
        source, destination = project / part["source"] / name, image / target
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, ignore=ignore)
        else:
            shutil.copy(source, destination)
    (image / "opt/wazuh-server/version").write_text("sandbox\n")
