"""Users in a file of JSON, under the names of Wazuh's own package."""

import hashlib
import json
from pathlib import Path

FILE = Path(__file__).absolute().parents[7] / "api/configuration/security/rbac.db"


def digest(password):
    """Return what is kept of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def load():
    """Return the users by name: number, digest, roles."""
    return json.loads(FILE.read_text())


def save(name, number, password, roles):
    """Keep a user."""
    users = load() if FILE.exists() else {}
    users[name] = [number, password, roles]
    draft = FILE.with_suffix(".draft")
    draft.write_text(json.dumps(users))
    draft.chmod(0o666)
    draft.replace(FILE)


def check_database_integrity():
    """Make the file with the default users where there is none."""
    if not FILE.exists():
        for number, name in enumerate(("wazuh", "wazuh-wui"), 1):
            save(name, number, digest(name), [1])


class _Manager:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class AuthenticationManager(_Manager):
    """The users."""

    def get_user(self, username=None):
        """Return a user, False where there is none."""
        number, _, roles = load().get(username, (0, "", []))
        return number > 0 and {"id": number, "username": username, "roles": roles}

    def check_user(self, username, password):
        """Return whether name and password fit."""
        return load().get(username, (0, ""))[1] == digest(password)

    def add_user(self, username, password):
        """Add a user."""
        numbers = [number for number, *_ in load().values()]
        save(username, max(99, *numbers) + 1, digest(password), [])
        return True

    def update_user(self, user_id, password=None):
        """Change a password."""
        for name, (number, _, roles) in load().items():
            if number == user_id:
                save(name, number, digest(password), roles)
        return True


class UserRolesManager(_Manager):
    """Who has which roles."""

    def add_role_to_user(self, user_id, role_id):
        """Give a user a role."""
        for name, (number, password, roles) in load().items():
            if number == user_id:
                save(name, number, password, sorted({*roles, role_id}))
        return True
