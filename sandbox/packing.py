"""The charm as `charmcraft pack` would leave it: its files, split metadata, a venv, bytecode."""

import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

_PARTS = ("src", "lib", "templates", "dispatch", "icon.svg", "LICENSE", "README.md")
_APART = {"config": "config.yaml", "actions": "actions.yaml"}


def metadata(project: Path) -> dict[str, Any]:
    """Return charmcraft.yaml as a mapping."""
    return yaml.safe_load((project / "charmcraft.yaml").read_text())


def pack(project: Path, destination: Path) -> None:
    """Put the charm's files below `destination`, which must not exist."""
    destination.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in (project / name for name in _PARTS):
        if part.is_dir():
            shutil.copytree(part, destination / part.name, ignore=skip)
        elif part.exists():
            shutil.copy(part, destination / part.name)
    declared = metadata(project)
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
