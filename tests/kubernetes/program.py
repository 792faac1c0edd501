"""A kube-apiserver built once from its Go module, and Debian's etcd, unpacked and not installed.

`python -m tests.kubernetes.program` brings both.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox import building

_SOURCE = Path(__file__).parent / "module"
_PACKAGE = "k8s.io/kubernetes/cmd/kube-apiserver"
_TOOLS = Path(__file__).parents[2] / ".tools"


def say(text: str) -> None:
    """Tell people at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def apiserver() -> Path:
    """Return the one that KUBE_APISERVER names, else the one built as go.mod pins it."""
    if given := os.environ.get("KUBE_APISERVER"):
        return Path(given)
    digest = hashlib.sha256((_SOURCE / "go.sum").read_bytes()).hexdigest()[:16]
    built = _TOOLS / f"kube-apiserver-{digest}"
    if not built.exists():
        say("Building kube-apiserver from its Go module: once, some minutes on two cores")
        building.build_program(_SOURCE, _PACKAGE, built)
    return built


def etcd() -> Path:
    """Return the one that ETCD names, the machine's, or the one of Debian's package."""
    if given := os.environ.get("ETCD") or shutil.which("etcd"):
        return Path(given)
    folder = _TOOLS / "etcd"
    if not (folder / "usr/bin/etcd").exists():
        say("Unpacking etcd-server")
        packages = folder / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "etcd-server"], cwd=packages, check=True)
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        shutil.rmtree(packages)
    return folder / "usr/bin/etcd"


if __name__ == "__main__":
    say(f"{apiserver()}\n{etcd()}")
