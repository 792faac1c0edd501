"""Traefik itself, built once from its Go module: `python -m tests.traefik.program`."""

import hashlib
import os
import sys
from pathlib import Path

from sandbox import building

_SOURCE = Path(__file__).parent / "module"
_PACKAGE = "github.com/traefik/traefik/v3/cmd/traefik"
_TOOLS = Path(__file__).parents[2] / ".tools"


def say(text: str) -> None:
    """Tell people at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def program() -> Path:
    """Return the one that TRAEFIK names, else the one built as go.mod pins it."""
    if given := os.environ.get("TRAEFIK"):
        return Path(given)
    digest = hashlib.sha256((_SOURCE / "go.sum").read_bytes()).hexdigest()[:16]
    built = _TOOLS / f"traefik-{digest}"
    if not built.exists():
        say("Building Traefik from its Go module: once, about a quarter of an hour on two cores")
        building.build_program(_SOURCE, _PACKAGE, built)
    return built


if __name__ == "__main__":
    say(str(program()))
