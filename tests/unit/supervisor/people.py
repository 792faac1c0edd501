"""Small databases of API users, as `rbac.db` is one."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from supervisor.places import Places


def path(places: Places) -> Path:
    """Say where Wazuh has it."""
    return places.home / "api/configuration/security/rbac.db"


def add(places: Places, *names: str) -> None:
    """Make users in a unit's database, and the database where there is none."""
    path(places).parent.mkdir(parents=True, exist_ok=True)
    _insert(path(places), names)


def names(places: Places) -> list[str]:
    """List the users of a unit's database."""
    if not path(places).exists():
        return []
    with closing(sqlite3.connect(path(places))) as found:
        return [name for (name,) in found.execute("SELECT username FROM users ORDER BY 1")]


def database(*users: str) -> bytes:
    """Make a database with these users."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "rbac.db"
        _insert(made, users)
        return made.read_bytes()


def _insert(where: Path, users: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(where)) as found:
        found.execute("CREATE TABLE IF NOT EXISTS users (username TEXT UNIQUE)")
        found.executemany("INSERT INTO users VALUES (?)", [(name,) for name in users])
        found.commit()
