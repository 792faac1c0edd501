"""The API's users: offline by Wazuh's package, or through an API over TLS that serves."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from supervisor import users
from supervisor.places import Places, Ports

from tests.unit.supervisor import certificates
from tests.unit.supervisor.fake_wazuh import Fake

_WANTED = {
    "wazuh": users.User("New-1-secret"),
    "wazuh-wui": users.User("New-2-secret"),
    "wazuh-charm": users.User("New-3-secret", (1,)),
}


def _database(fake: Fake) -> dict[str, str]:
    content = json.loads((fake.home / "rbac.json").read_text())
    return {name: password for name, (_, password) in content.items()}


def test_given_a_new_database_when_preset_then_no_default_password_is_left(fake: Fake):
    users.preset(fake.places, _WANTED, lambda: False)
    assert _database(fake) == {name: user.password for name, user in _WANTED.items()}
    users.preset(fake.places, _WANTED, lambda: False)
    assert _database(fake) == {name: user.password for name, user in _WANTED.items()}


def test_given_a_user_nobody_sets_when_preset_then_its_default_password_is_an_error(fake: Fake):
    with pytest.raises(users.UsersError, match="wazuh-wui still has its default password"):
        users.preset(fake.places, {"wazuh": users.User("New-1-secret")}, lambda: False)


def test_given_a_database_that_refuses_when_preset_then_it_says_whom_and_no_password(fake: Fake):
    (fake.home / "refuse").touch()
    with pytest.raises(users.UsersError) as error:
        users.preset(fake.places, _WANTED, lambda: False)
    assert "wazuh" in str(error.value)
    assert "secret" not in str(error.value)


def test_given_a_stop_when_preset_is_under_way_then_it_ends_at_once(slow: Fake):
    with pytest.raises(users.UsersError, match="interrupted"):
        users.preset(slow.places, _WANTED, lambda: True)


@pytest.mark.parametrize("text", ["", "[]", '{"wazuh": {}}', '{"wazuh": "x"}', "\0"])
def test_given_a_users_file_that_is_malformed_when_loaded_then_it_is_refused(tmp_path: Path, text):
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(users.UsersError):
        users.load(tmp_path)


def test_given_a_user_when_shown_then_its_password_is_not():
    assert "secret" not in repr(_WANTED)


class Api(ThreadingHTTPServer):
    """A few calls of Wazuh's API, with its rule that ids to 99 change each other only."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.users: dict[str, list] = {"wazuh": [1, "Old-1"], "wazuh-wui": [2, "Old-2"]}
        self.tokens: dict[str, str] = {}
        self.roles: list[str] = []
        self.requests: list[str] = []
        self.of_agents: tuple[int, dict] = (200, {})
        self.bodies: list[dict] = []
        folder = root / "ossec/api/configuration/ssl"
        folder.mkdir(parents=True)
        pair = certificates.issue("localhost")
        (folder / "server.crt").write_bytes(pair.pem())
        (folder / "server.key").write_bytes(pair.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.places = Places(home=root / "ossec", ports=Ports(api=self.server_port))
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._act()

    def do_POST(self) -> None:
        self._act()

    def do_PUT(self) -> None:
        self._act()

    def do_DELETE(self) -> None:
        self._act()

    def _act(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        api.requests.append(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        kind, _, value = self.headers["Authorization"].partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            if name in api.users and api.users[name][1] == password:
                api.tokens[f"token-{name}"] = name
                return self._answer(200, {"data": {"token": f"token-{name}"}})
            return self._answer(401, {"title": "Unauthorized"})
        caller = api.tokens.get(value)
        if caller is None:
            return self._answer(401, {})
        return self._answer(*self._change(api, caller, body))

    def _change(self, api: Api, caller: str, body: dict) -> tuple[int, dict]:
        path = self.path.split("?")[0]
        if path.startswith("/agents"):
            api.bodies.append(body)
            return api.of_agents
        items = [{"id": number, "username": name} for name, (number, _) in api.users.items()]
        if self.command == "GET":
            query = dict(part.split("=") for part in self.path.partition("?")[2].split("&"))
            first, count = int(query.get("offset", "0")), int(query["limit"])
            return 200, {"data": {"affected_items": items[first : first + count]}}
        if path.endswith("/roles"):
            api.roles.append(self.path)
            return 200, {}
        if self.command == "POST":
            api.users[body["username"]] = [100, body["password"]]
            return 200, {"data": {"affected_items": [{"id": 100}]}}
        number = int(path.rpartition("/")[2])
        if number <= 99 < api.users[caller][0]:
            return 403, {"error": 5011}
        for name, entry in api.users.items():
            if entry[0] == number:
                entry[1] = body["password"]
                api.tokens.pop(f"token-{name}", None)
        return 200, {}

    def _answer(self, status: int, content: dict) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Serve an API for a test."""
    made = Api(tmp_path)
    yield made
    made.shutdown()
    made.server_close()


def test_given_more_users_than_one_answer_holds_when_one_is_changed_then_it_is_not_made_anew(
    api: Api,
):
    for number in range(100, 1100):
        api.users[f"somebody-{number}"] = [number, "Old-1"]
    api.users["wazuh-charm"] = [1100, "Old-3"]
    users.update(api.places, _OLD, _WANTED)
    assert api.users["wazuh-charm"] == [1100, "New-3-secret"]


_OLD = {"wazuh": users.User("Old-1"), "wazuh-wui": users.User("Old-2")}


def test_given_a_running_api_when_the_users_change_then_all_are_set_through_it(api: Api):
    users.update(api.places, _OLD, _WANTED)
    assert {n: p for n, (_, p) in api.users.items()} == {
        name: user.password for name, user in _WANTED.items()
    }
    assert api.roles == ["/security/users/100/roles?role_ids=1"]


def test_given_users_that_are_set_already_when_updated_then_nothing_is_changed(api: Api):
    users.update(api.places, _OLD, _WANTED)
    api.requests.clear()
    users.update(api.places, _WANTED, _WANTED)
    assert not [r for r in api.requests if r.startswith("PUT") or r == "POST /security/users"]


def test_given_an_api_whose_password_nobody_knows_when_updated_then_it_says_so(api: Api):
    api.users["wazuh"][1] = "somebody else's"
    with pytest.raises(users.UsersError, match="refuses every known password of wazuh"):
        users.update(api.places, _OLD, _WANTED)


def test_given_something_else_on_the_port_when_updated_then_it_gets_no_password(api: Api):
    other = certificates.issue("localhost")
    (api.places.home / "api/configuration/ssl/server.crt").write_bytes(other.pem())
    with pytest.raises(users.UsersError):
        users.update(api.places, _OLD, _WANTED)
    assert api.requests == []


def test_given_no_api_when_updated_then_it_is_an_error_of_one_kind(tmp_path: Path):
    api = Api(tmp_path)
    api.shutdown()
    api.server_close()
    with pytest.raises(users.UsersError) as error:
        users.update(api.places, _OLD, _WANTED)
    assert "secret" not in str(error.value)


@pytest.fixture
def session(api: Api) -> users.Session:
    """Log in."""
    session = users.Session(api.places)
    session.log_in("wazuh", "Old-1")
    return session


_AGENT = {"id": "002", "name": "late", "ip": "10.0.0.7", "key": "ab" * 32}


def test_given_an_agent_when_inserted_then_nobody_has_to_make_room_for_it(
    api: Api, session: users.Session
):
    # Without a word on it, Wazuh's API replaces who has the address and was away for an hour.
    session.insert(_AGENT)
    assert api.requests[-1] == "POST /agents/insert"
    assert api.bodies == [{**_AGENT, "force": {"enabled": False}}]


def test_given_an_agent_when_removed_then_its_age_and_status_do_not_count(
    api: Api, session: users.Session
):
    api.of_agents = (200, {"data": {"affected_items": ["002"]}})
    session.remove("002")
    assert api.requests[-1] == "DELETE /agents?agents_list=002&status=all&older_than=0s"
    api.of_agents = (200, {"data": {"affected_items": [], "failed_items": [{"id": ["002"]}]}})
    with pytest.raises(users.RefusedError):
        session.remove("002")


@pytest.mark.parametrize(
    ("status", "error", "final"),
    [
        (400, 1708, True),
        (404, 1701, True),
        (400, None, True),
        (400, 1726, False),
        (429, 6001, False),
        (500, 3021, False),
        (503, "", False),
    ],
)
def test_given_an_api_that_says_no_when_asked_then_an_outage_is_no_refusal(
    api: Api, session: users.Session, status: int, error: object, final: bool
):
    api.of_agents = (status, {"error": error})
    with pytest.raises(users.UsersError) as caught:
        session.insert(_AGENT)
    assert isinstance(caught.value, users.RefusedError) == final
    assert "ab" * 32 not in str(caught.value)
