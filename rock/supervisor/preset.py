"""Set the API's users in rbac.db by Wazuh's own package. Run by Wazuh's Python, not imported.

Reads `{"name": {"password": "…", "roles": [1]}}` from its input, so that no password is ever an
argument; writes one line of JSON, `{"error": null}` or a sentence without any password.
Works while the API is down; nobody can log in with a default password at any moment then.
The calls are those of framework/wazuh/rbac/orm.py of 4.14.
"""

import json
import sys

#: What the package puts into a new database (framework/wazuh/rbac/default/users.yaml).
DEFAULTS = ("wazuh", "wazuh-wui")


class PresetError(Exception):
    """A user could not be set; the text names the user only."""


def main() -> int:
    """Set and check every user; 0 when all of it is in the database."""
    error = None
    try:
        preset(json.load(sys.stdin))
    except PresetError as reason:
        error = str(reason)
    sys.stdout.write(json.dumps({"error": error}) + "\n")
    return 0 if error is None else 1


def preset(users: dict) -> None:
    """Bring the database to these users, then log in as each. Raises PresetError."""
    from wazuh.rbac.orm import (  # pyright: ignore
        AuthenticationManager,
        UserRolesManager,
        check_database_integrity,
    )

    check_database_integrity()
    with AuthenticationManager() as manager, UserRolesManager() as roles:
        for name, user in users.items():
            number = _set(manager, name, user["password"])
            for role in user.get("roles", []):
                roles.add_role_to_user(user_id=number, role_id=role)
    with AuthenticationManager() as manager:
        _check(manager, users)


def _set(manager, name: str, password: str) -> int:
    known = manager.get_user(name)
    if known:
        if not manager.check_user(name, password) and not manager.update_user(
            known["id"], password
        ):
            raise PresetError(f"the password of {name} could not be set")
        return known["id"]
    if not manager.add_user(name, password):
        raise PresetError(f"{name} could not be added")
    return manager.get_user(name)["id"]


def _check(manager, users: dict) -> None:
    for name, user in users.items():
        if not manager.check_user(name, user["password"]):
            raise PresetError(f"{name} does not have its password")
    for name in DEFAULTS:
        if manager.check_user(name, name):
            raise PresetError(f"{name} still has its default password")


if __name__ == "__main__":
    sys.exit(main())
