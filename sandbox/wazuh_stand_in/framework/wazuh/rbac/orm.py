"""API users and roles in api/configuration/security/rbac.db, under the real names.

The supervisor presets users through this module of whichever installation it finds; the calls
and their results are those of Wazuh 4.14 (framework/wazuh/rbac/orm.py). Passwords are hashed
in werkzeug's notation, with few rounds: the stand-in guards nothing.
"""

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from .. import WAZUH_PATH
from ..stand_in.home import belongs_to_wazuh, pause

DB_FILE = str(WAZUH_PATH / "api/configuration/security/rbac.db")
MAX_ID_RESERVED = 99
CURRENT_ORM_VERSION = 1
ROUNDS = 500
CREATION_SECONDS, CHECK_SECONDS = 4.0, 2.5
"""How long the real one takes to make and to open its database."""

DEFAULT_USERS = ("wazuh", "wazuh-wui")
DEFAULT_ROLES = (
    "administrator",
    "readonly",
    "users_admin",
    "agents_readonly",
    "agents_admin",
    "cluster_readonly",
    "cluster_admin",
)
SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(32) NOT NULL UNIQUE,
  password VARCHAR(256) NOT NULL, allow_run_as BOOLEAN NOT NULL, created_at DATETIME);
CREATE TABLE roles (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE,
  created_at DATETIME);
CREATE TABLE user_roles (id INTEGER PRIMARY KEY,
  user_id INTEGER REFERENCES users(id) ON DELETE CASCADE,
  role_id INTEGER REFERENCES roles(id) ON DELETE CASCADE,
  level INTEGER, created_at DATETIME, UNIQUE (user_id, role_id));
CREATE TABLE users_token_blacklist (user_id INTEGER PRIMARY KEY,
  nbf_invalid_until INTEGER NOT NULL, is_valid_until INTEGER NOT NULL);
"""


class SecurityError(IntEnum):
    """Why an operation was refused."""

    ALREADY_EXIST = 0
    INVALID = -1
    ROLE_NOT_EXIST = -2
    ADMIN_RESOURCES = -4
    USER_NOT_EXIST = -5


def generate_password_hash(password: str) -> str:
    """Return the password's hash in werkzeug's notation."""
    salt = secrets.token_hex(8)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), ROUNDS)
    return f"pbkdf2:sha256:{ROUNDS}${salt}${digest.hex()}"


def check_password_hash(stored: str, password: str) -> bool:
    """Return whether a password fits a hash, of this kind or of the real one (scrypt)."""
    method, salt, digest = stored.split("$", 2)
    kind, *parameters = method.split(":")
    if kind == "scrypt":
        n, r, p = map(int, parameters)
        made = hashlib.scrypt(
            password.encode(), salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p
        )
    else:
        made = hashlib.pbkdf2_hmac(
            parameters[0], password.encode(), salt.encode(), int(parameters[1])
        )
    return hmac.compare_digest(made.hex(), digest)


def connect(path: "str | None" = None) -> sqlite3.Connection:
    """Open the database, to be used by one thread at a time; raise sqlite3.OperationalError."""
    return sqlite3.connect(
        f"file:{path or DB_FILE}?mode=rw", uri=True, check_same_thread=False, timeout=10
    )


def check_database_integrity() -> None:
    """Make the database with the default users where there is none."""
    path = Path(DB_FILE)
    if path.exists():
        pause(CHECK_SECONDS)
        return
    pause(CREATION_SECONDS)
    _create(path)


def _create(path: Path) -> None:
    draft = path.with_name(f"rbac.db.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        draft.unlink()
    session = sqlite3.connect(draft)
    session.executescript(SCHEMA)
    for name in DEFAULT_ROLES:
        session.execute("INSERT INTO roles (name) VALUES (?)", (name,))
    manager = AuthenticationManager(session)
    for number, name in enumerate(DEFAULT_USERS, 1):
        manager.add_user(name, name, check_default=False)
        manager.edit_run_as(number, True)
        session.execute(
            "INSERT INTO user_roles (user_id, role_id, level) VALUES (?, 1, 0)", (number,)
        )
    session.execute(f"PRAGMA user_version = {CURRENT_ORM_VERSION}")
    session.commit()
    session.close()
    belongs_to_wazuh(draft, 0o640)
    draft.replace(path)


class RBACManager:
    """Holds a session on the database; a context manager that closes it."""

    def __init__(self, session: "sqlite3.Connection | None" = None):
        self.session = session or connect()
        self.session.execute("PRAGMA foreign_keys = ON")

    def __enter__(self):
        return self

    def __exit__(self, *_exception: object) -> None:
        self.session.close()

    def _one(self, query: str, *values: object) -> "tuple | None":
        return self.session.execute(query, values).fetchone()

    def _change(self, query: str, *values: object) -> bool:
        try:
            count = self.session.execute(query, values).rowcount
        except sqlite3.IntegrityError:
            self.session.rollback()
            return False
        self.session.commit()
        return count > 0


class AuthenticationManager(RBACManager):
    """The users."""

    def add_user(
        self,
        username: str,
        password: str,
        user_id: "int | None" = None,
        hashed_password: bool = False,
        created_at: "str | None" = None,
        check_default: bool = True,
    ) -> bool:
        """Add a user; ids go on from 100. False where the name is taken."""
        highest = self._one("SELECT max(id) FROM users")
        if check_default and highest and (highest[0] or 0) < MAX_ID_RESERVED:
            user_id = MAX_ID_RESERVED + 1
        stored = password if hashed_password else generate_password_hash(password)
        return self._change(
            "INSERT INTO users (id, username, password, allow_run_as, created_at) "
            "VALUES (?, ?, ?, 0, ?)",
            user_id,
            username,
            stored,
            created_at or time.strftime("%Y-%m-%d %H:%M:%S"),
        )

    def update_user(
        self,
        user_id: int,
        password: "str | None" = None,
        name: "str | None" = None,
        hashed_password: bool = False,
    ) -> bool:
        """Change a user's password or name. False where there is no such user."""
        done = False
        if name is not None:
            done = self._change("UPDATE users SET username = ? WHERE id = ?", name, user_id)
        if password is not None:
            stored = password if hashed_password else generate_password_hash(password)
            done = self._change("UPDATE users SET password = ? WHERE id = ?", stored, user_id)
        return done

    def edit_run_as(self, user_id: int, allow_run_as: bool) -> bool:
        """Change whether a user may log in for another."""
        return self._change(
            "UPDATE users SET allow_run_as = ? WHERE id = ?", int(allow_run_as), user_id
        )

    def delete_user(self, user_id: int) -> "bool | SecurityError":
        """Remove a user whose id is above the reserved ones."""
        if user_id <= MAX_ID_RESERVED:
            return SecurityError.ADMIN_RESOURCES
        return self._change("DELETE FROM users WHERE id = ?", user_id)

    def check_user(self, username: str, password: str) -> bool:
        """Return whether name and password fit."""
        row = self._one("SELECT password FROM users WHERE username = ?", username)
        return row is not None and check_password_hash(row[0], password)

    def get_user(self, username: "str | None" = None) -> "dict | bool":
        """Return a user by name, False where there is none."""
        return self._user(
            self._one("SELECT id, username, allow_run_as FROM users WHERE username = ?", username)
        )

    def get_user_id(self, user_id: int) -> "dict | bool":
        """Return a user by id, False where there is none."""
        return self._user(
            self._one("SELECT id, username, allow_run_as FROM users WHERE id = ?", user_id)
        )

    def _user(self, row: "tuple | None") -> "dict | bool":
        if row is None:
            return False
        return {
            "id": row[0],
            "username": row[1],
            "allow_run_as": bool(row[2]),
            "roles": role_ids(self.session, row[0]),
        }

    def get_users(self) -> "list[dict]":
        """Return id and name of every user."""
        rows = self.session.execute("SELECT id, username FROM users ORDER BY id")
        return [{"user_id": number, "username": name} for number, name in rows]


class Roles:
    """A role: its number and name."""

    __slots__ = ("id", "name")

    def __init__(self, number: int, name: str):
        self.id = number
        self.name = name

    def to_dict(self) -> "dict[str, object]":
        """Return the role as the API shows it."""
        return {"id": self.id, "name": self.name, "policies": [], "users": [], "rules": []}


class RolesManager(RBACManager):
    """The roles."""

    def get_roles(self) -> "list[Roles]":
        """Return every role."""
        rows = self.session.execute("SELECT id, name FROM roles ORDER BY id")
        return [Roles(*row) for row in rows]

    def get_role(self, name: str) -> "dict | SecurityError":
        """Return a role by name."""
        row = self._one("SELECT id, name FROM roles WHERE name = ?", name)
        return Roles(*row).to_dict() if row else SecurityError.ROLE_NOT_EXIST

    def get_role_id(self, role_id: int) -> "dict | SecurityError":
        """Return a role by id."""
        row = self._one("SELECT id, name FROM roles WHERE id = ?", role_id)
        return Roles(*row).to_dict() if row else SecurityError.ROLE_NOT_EXIST


class UserRolesManager(RBACManager):
    """Which user has which roles."""

    def add_role_to_user(
        self,
        user_id: int,
        role_id: int,
        position: "int | None" = None,
        created_at: "str | None" = None,
        force_admin: bool = False,
        atomic: bool = True,
    ) -> "bool | SecurityError":
        """Give a user a role."""
        if user_id <= MAX_ID_RESERVED and not force_admin:
            return SecurityError.ADMIN_RESOURCES
        if self._one("SELECT id FROM users WHERE id = ?", user_id) is None:
            return SecurityError.USER_NOT_EXIST
        if self._one("SELECT id FROM roles WHERE id = ?", role_id) is None:
            return SecurityError.ROLE_NOT_EXIST
        held = role_ids(self.session, user_id)
        if role_id in held:
            return SecurityError.ALREADY_EXIST
        return self._change(
            "INSERT INTO user_roles (user_id, role_id, level, created_at) VALUES (?, ?, ?, ?)",
            user_id,
            role_id,
            len(held) if position is None else position,
            created_at,
        )

    def remove_role_in_user(
        self, user_id: int, role_id: int, atomic: bool = True
    ) -> "bool | SecurityError":
        """Take a role from a user."""
        if user_id <= MAX_ID_RESERVED:
            return SecurityError.ADMIN_RESOURCES
        done = self._change(
            "DELETE FROM user_roles WHERE user_id = ? AND role_id = ?", user_id, role_id
        )
        return done or SecurityError.INVALID

    def get_all_roles_from_user(self, user_id: int) -> "list[Roles]":
        """Return the user's roles, in their order."""
        rows = self.session.execute(
            "SELECT roles.id, roles.name FROM user_roles JOIN roles ON roles.id = role_id "
            "WHERE user_id = ? ORDER BY level",
            (user_id,),
        )
        return [Roles(*row) for row in rows]


class TokenManager(RBACManager):
    """Tokens that were made void before they expired."""

    def add_user_roles_rules(self, users: "set[int]", lifetime: int = 900) -> bool:
        """Make every token given to these users until now void."""
        now = int(time.time())
        for user in users:
            self._change(
                "INSERT OR REPLACE INTO users_token_blacklist VALUES (?, ?, ?)",
                user,
                now,
                now + lifetime,
            )
        return True

    def is_token_valid(self, token_nbf_time: int, user_id: int) -> bool:
        """Return whether a token of that time was given after the last revocation."""
        row = self._one(
            "SELECT nbf_invalid_until FROM users_token_blacklist WHERE user_id = ?", user_id
        )
        return row is None or token_nbf_time > row[0]


def role_ids(session: sqlite3.Connection, user_id: int) -> "list[int]":
    """Return the numbers of a user's roles."""
    rows = session.execute(
        "SELECT role_id FROM user_roles WHERE user_id = ? ORDER BY level", (user_id,)
    )
    return [row[0] for row in rows]
