"""The API's users: set before the API starts, or through it while it serves.

So a default password is valid at no moment on a listening port: no success, no API.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .places import Places

_PRESET_SECONDS = 180.0
_PAGE = 500  # of a list; the API refuses more than 100,000 and gives 500 unless asked
_REQUEST_SECONDS = 15.0
#: May change the other users: ids up to 99 only let each other (security.py, error 5011).
_ADMINISTRATOR = "wazuh"
#: The charm's own, by its role (src/files.py).
_CHARM = "wazuh-charm"
#: What the API has against a request itself, but for authd's absence, which has status 400 too
#: (framework/wazuh/core/exception.py, 1726).
_REFUSALS, _NO_AUTHD = (400, 404), 1726
#: What a question to an API that starts, ends or hangs may come to.
FAULTS = (OSError, ValueError, KeyError, TypeError, http.client.HTTPException)
_log = logging.getLogger(__name__)


class UsersError(Exception):
    """The users are not as they have to be; the text holds no password."""


class RefusedError(UsersError):
    """The API has something against what was asked for; asking again changes little."""


@dataclass(frozen=True, slots=True)
class User:
    """One API user; roles by Wazuh's numbers (1: administrator)."""

    password: str
    roles: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """Never show the password."""
        return f"User(roles={self.roles})"


def load(orders: Path) -> dict[str, User]:
    """Read users.json. Raises UsersError."""
    try:
        content = json.loads((orders / "users.json").read_text())
        return {
            name: User(str(entry["password"]), tuple(int(r) for r in entry.get("roles", ())))
            for name, entry in content.items()
        }
    except FileNotFoundError as error:
        raise UsersError("users.json is not there yet") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsersError(f"users.json cannot be read: {type(error).__name__}") from None


def preset(places: Places, users: Mapping[str, User], stopped: Callable[[], bool]) -> None:
    """Set the users offline, by Wazuh's own package. Raises UsersError, also when stopped."""
    python = places.home / "framework/python/bin/python3"
    child = subprocess.Popen(
        [python, "-I", Path(__file__).with_name("preset.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=places.home,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    output = _converse(child, _dump(users), stopped)
    with suppress(ValueError):
        error = json.loads(output.strip().rpartition(b"\n")[2])["error"]
        if error is None and child.returncode == 0:
            return
        raise UsersError(f"the API's users could not be set: {error}")
    raise UsersError(f"the API's users could not be set: preset ended with {child.returncode}")


def as_charm(places: Places, patience: float = _REQUEST_SECONDS) -> Session:
    """Log in as the charm's own user, an administrator. Raises UsersError, OSError, KeyError."""
    session = Session(places, patience)
    session.log_in(_CHARM, load(places.orders)[_CHARM].password)
    return session


def _dump(users: Mapping[str, User]) -> bytes:
    content = {name: {"password": u.password, "roles": u.roles} for name, u in users.items()}
    return json.dumps(content).encode()


def _converse(child: subprocess.Popen[bytes], text: bytes, stopped: Callable[[], bool]) -> bytes:
    """Feed the child and wait for it, looking up for a stop every quarter of a second."""
    end = time.monotonic() + _PRESET_SECONDS
    pending: bytes | None = text
    while True:
        try:
            return child.communicate(pending, timeout=0.25)[0]
        except subprocess.TimeoutExpired:
            pending = None
        if stopped() or time.monotonic() > end:
            child.kill()
            child.communicate()
            raise UsersError("setting the API's users was interrupted or took too long")


def update(places: Places, old: Mapping[str, User], new: Mapping[str, User]) -> None:
    """Set the users through the running API of the master. Raises UsersError."""
    try:
        session = _log_in(places, [old.get(_ADMINISTRATOR), new.get(_ADMINISTRATOR)])
        known = {item["username"]: item["id"] for item in session.get_all("/security/users")}
        # The administrator last: changing a user makes its own tokens invalid.
        for name in sorted(new, key=lambda name: name == _ADMINISTRATOR):
            if old.get(name) != new[name] or name not in known:
                session.set(name, known.get(name), new[name])
        # The API has answered for each of them. Every login tried here would lengthen the time
        # for which clients hold a password that is no longer the right one.
        Session(places).log_in(_ADMINISTRATOR, new[_ADMINISTRATOR].password)
    except FAULTS as error:
        raise UsersError(f"the API did not take the users: {type(error).__name__}") from None


def _log_in(places: Places, candidates: Sequence[User | None]) -> Session:
    session = Session(places)
    for user in candidates:
        if user is not None:
            with suppress(UsersError):
                session.log_in(_ADMINISTRATOR, user.password)
                return session
    raise UsersError(f"the API refuses every known password of {_ADMINISTRATOR}")


class Session:
    """A logged-in client of this unit's own API, which it knows by its certificate."""

    def __init__(self, places: Places, patience: float = _REQUEST_SECONDS) -> None:
        self._certificate = places.home / "api/configuration/ssl/server.crt"
        self._port = places.ports.api
        self._patience = patience  # seconds for one answer
        self._token = ""

    def log_in(self, name: str, password: str) -> None:
        """Fetch a token. Raises UsersError when the password is refused."""
        basic = base64.b64encode(f"{name}:{password}".encode()).decode()
        data = self._ask("POST", "/security/user/authenticate", f"Basic {basic}")
        self._token = data["data"]["token"]

    def get(self, path: str) -> list[dict]:
        """Return a list's items."""
        return self._ask("GET", path, f"Bearer {self._token}")["data"]["affected_items"]

    def get_all(self, path: str) -> list[dict]:
        """Return a list's items, however many; the API gives so many at once at most."""
        found: list[dict] = []
        page = self.get(f"{path}?limit={_PAGE}")
        while page:
            found += page
            more = len(page) == _PAGE
            page = self.get(f"{path}?limit={_PAGE}&offset={len(found)}") if more else []
        return found

    def insert(self, agent: Mapping[str, str]) -> None:
        """Add an agent with an id and a key of its own. Raises RefusedError, UsersError.

        Nobody makes room for it: unless it is told, the API replaces whoever has its address and
        was not seen for an hour (api/models/agent_inserted_model.py).
        """
        body = {**agent, "force": {"enabled": False}}
        self._ask("POST", "/agents/insert", f"Bearer {self._token}", body)

    def remove(self, agent: str) -> None:
        """Remove an agent; its line stays, marked. Raises RefusedError, UsersError.

        Without a status nothing is removed, and without an age nothing younger than seven days
        (framework/wazuh/agent.py, delete_agents). A refusal comes with 200 too.
        """
        path = f"/agents?agents_list={agent}&status=all&older_than=0s"
        answer = self._ask("DELETE", path, f"Bearer {self._token}")
        if agent not in answer["data"]["affected_items"]:
            raise RefusedError(f"the API did not remove agent {agent}")

    def reconnect(self, agents: Sequence[str]) -> int:
        """Have agents connect again; how many were told. Raises UsersError when refused."""
        path = f"/agents/reconnect?agents_list={','.join(agents)}"
        answer = self._ask("PUT", path, f"Bearer {self._token}")
        return len(answer["data"]["affected_items"])

    def set(self, name: str, number: int | None, user: User) -> None:
        """Change or make one user, and give it its roles."""
        bearer = f"Bearer {self._token}"
        if number is None:
            body = {"username": name, "password": user.password}
            made = self._ask("POST", "/security/users", bearer, body)
            number = made["data"]["affected_items"][0]["id"]
        else:
            self._ask("PUT", f"/security/users/{number}", bearer, {"password": user.password})
        if user.roles:
            roles = ",".join(map(str, user.roles))
            self._ask("POST", f"/security/users/{number}/roles?role_ids={roles}", bearer)

    def _ask(self, method: str, path: str, authorization: str, body: dict | None = None) -> dict:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=self._patience, context=_unverified()
        )
        try:
            connection.connect()
            self._recognise(connection)
            headers = {"Authorization": authorization, "Content-Type": "application/json"}
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, text, headers)
            response = connection.getresponse()
            content = response.read(8 * 1024 * 1024)
        finally:
            connection.close()
        if response.status != 200:
            refused = response.status in _REFUSALS and _code(content) != _NO_AUTHD
            kind = RefusedError if refused else UsersError
            raise kind(f"the API answered {response.status} to {method} {path}")
        return json.loads(content)

    def _recognise(self, connection: http.client.HTTPSConnection) -> None:
        """Compare the certificate with the one installed: no name fits the loopback."""
        pem = self._certificate.read_text()
        first = pem[: pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")]
        shown = connection.sock.getpeercert(binary_form=True)
        if shown != ssl.PEM_cert_to_DER_cert(first):
            raise UsersError("what listens on the API's port is not this unit's API")


def _code(content: bytes) -> object:
    """Return the number of the error in a problem that the API tells."""
    try:
        return json.loads(content).get("error")
    except (ValueError, AttributeError):
        return None


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
