"""The charm as `charmcraft pack` leaves it, from the project's folder or from a packed file.

Of a folder this makes the same files (a test holds that), but no environment: that one is made
once for all charms, from the same lock. A packed charm brings its own.
"""

import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

_APART = {"config": "config.yaml", "actions": "actions.yaml"}
_CODE = ("src", "lib")
"""What charmcraft's uv plugin takes by itself; charmcraft.yaml names the rest."""
_PACKED_WITH = Path(__file__).resolve().parents[1] / ".tools/pack/bin"
"""Where scripts/pack leaves a link to the Python that it packed for."""


class NoPythonError(Exception):
    """No Python of the version that a packed charm is for is on this machine."""


def metadata(charm: Path) -> dict[str, Any]:
    """Return what is declared, of the project's folder, a packed charm or an unpacked one."""
    if (charm / "charmcraft.yaml").exists():
        return yaml.safe_load((charm / "charmcraft.yaml").read_text())
    names = ["metadata.yaml", *_APART.values()]
    if charm.is_dir():
        found = {name: (charm / name).read_text() for name in names if (charm / name).exists()}
    else:
        with zipfile.ZipFile(charm) as packed:
            inside = {*names} & {*packed.namelist()}
            found = {name: packed.read(name).decode() for name in inside}
    apart = {key: yaml.safe_load(found[name]) for key, name in _APART.items() if name in found}
    return yaml.safe_load(found["metadata.yaml"]) | apart


def pack(charm: Path, destination: Path) -> None:
    """Put a charm's files below `destination`, which must not exist; unpacks a packed one.

    Raises `NoPythonError`.
    """
    if charm.is_dir():
        _pack(charm, destination)
    else:
        _unpack(charm, destination)


def _unpack(charm: Path, destination: Path) -> None:
    with zipfile.ZipFile(charm) as packed:
        for entry in packed.infolist():
            path = Path(packed.extract(entry, destination))
            path.chmod((entry.external_attr >> 16) & 0o777 or path.stat().st_mode)
    python = python_of(destination)
    if python is not None:
        # What `dispatch` does in Juju's container, whose python3 is the base's.
        (destination / "venv/bin").mkdir(exist_ok=True)
        (destination / "venv/bin/python").symlink_to(python)


def python_of(charm: Path) -> Path | None:
    """Return the machine's Python that an unpacked charm's environment is for; None: it has none.

    Raises `NoPythonError`.
    """
    versions = [path.name for path in (charm / "venv/lib").glob("python3.*")]
    if not versions:
        return None
    for folder in [*os.environ.get("PATH", "").split(":"), str(_PACKED_WITH)]:
        # A command of that name may be another's stand-in that fails (pyenv's).
        if (Path(folder) / versions[0]).exists():
            done = subprocess.run(
                [Path(folder) / versions[0], "-c", "import sys; print(sys.executable)"],
                capture_output=True,
                text=True,
                check=False,
            )
            if not done.returncode:
                return Path(done.stdout.strip()).resolve()
    raise NoPythonError(f"the packed charm needs {versions[0]}, which is not on PATH")


def _pack(project: Path, destination: Path) -> None:
    destination.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    declared = metadata(project)
    for part in (project / name for name in [*_CODE, *declared["parts"]["files"]["stage"]]):
        if part.is_dir():
            shutil.copytree(part, destination / part.name, ignore=skip)
        elif part.exists():
            shutil.copy(part, destination / part.name)
    for key, name in _APART.items():
        if key in declared:
            (destination / name).write_text(yaml.safe_dump(declared[key], sort_keys=False))
    rest = {key: value for key, value in declared.items() if key not in _APART}
    (destination / "metadata.yaml").write_text(yaml.safe_dump(rest, sort_keys=False))
    # Checked by digest, not by time: the copies that pods get have other times.
    compileall.compile_dir(
        destination,
        quiet=2,
        stripdir=str(destination),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def environment(project: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """Return the venv with the charm's locked dependencies, made below `cache` when missing."""
    lock = (project / "uv.lock").read_bytes() + (project / "pyproject.toml").read_bytes()
    name = hashlib.sha256(lock + sys.base_prefix.encode() + sys.version.encode()).hexdigest()[:16]
    venv = cache / f"charm-{name}"
    if not (venv / "ready").exists():
        say("Installing the charm's dependencies")
        _sync(project, venv)
        (venv / "ready").touch()
    return venv


def interpreter() -> Path:
    """Return the machine's Python below the environment this runs in."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return (Path(sys.base_prefix) / "bin" / version).resolve()


def _sync(project: Path, venv: Path) -> None:
    own = project / ".tools/bin/uv"
    program = str(own) if own.exists() else shutil.which("uv")
    if program is None:
        raise FileNotFoundError("uv is missing: run scripts/bring, or install uv")
    asked = [program, "sync", "--frozen", "--no-default-groups", "--compile-bytecode", "--quiet"]
    subprocess.run(
        [*asked, "--no-python-downloads", "--link-mode=copy", "--python", str(interpreter())],
        cwd=project,
        env={k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        | {"UV_PROJECT_ENVIRONMENT": str(venv)},
        check=True,
    )
