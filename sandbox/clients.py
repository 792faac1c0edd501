"""What meets the cluster from outside: agents that enrol, senders of logs, users of the API.

Run inside the sandbox's client host as `python -m sandbox.clients ROLE`; the request is JSON on
standard input, so that no password is ever an argument, and each answer is a line of JSON. Only
the standard library: these are the protocols as real agents, senders and scripts speak them.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import http.client
import itertools
import json
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ENROLMENT_PORT = 1515
LOGS_PORT = 6514
API_PORT = 55000
EVENTS_PORT = 1514
_SILENT = 6.0
"""Seconds without an answer after which an agent takes its session for cut."""
_ANSWER = re.compile(r"OSSEC K:'(?P<id>\d+) (?P<name>\S+) (?P<ip>\S+) (?P<key>[0-9a-f]{64})'")


def _context(ca: str | None) -> ssl.SSLContext:
    """A client's TLS: verified by the given authority, or, as agents do by default, not at all."""
    context = ssl.create_default_context(cadata=ca)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclasses.dataclass(frozen=True, slots=True)
class Enrolment:
    """One agent's try: its id and its key's digest when it got one, else the server's words."""

    name: str
    began: float
    took: float
    id: str | None = None
    key_sha256: str | None = None
    error: str | None = None


def enrol(
    host: str, name: str, password: str, *, ca: str | None = None, timeout: float = 20
) -> Enrolment:
    """Enrol one agent as wazuh-agent's agent-auth does (src/os_auth/main-client.c)."""
    began = time.time()
    try:
        answer = _ask_authd(host, f"OSSEC PASS: {password} OSSEC A:'{name}'\n", ca, timeout)
    except (OSError, ssl.SSLError) as error:
        return Enrolment(
            name, began, time.time() - began, error=str(error) or type(error).__name__
        )
    took = time.time() - began
    match = _ANSWER.search(answer)
    if match is None:
        return Enrolment(name, began, took, error=answer.strip() or "closed without an answer")
    digest = hashlib.sha256(match["key"].encode()).hexdigest()
    return Enrolment(name, began, took, id=match["id"], key_sha256=digest)


def _ask_authd(host: str, request: str, ca: str | None, timeout: float) -> str:
    with (
        socket.create_connection((host, ENROLMENT_PORT), timeout) as raw,
        _context(ca).wrap_socket(raw, server_hostname=host) as tls,
    ):
        tls.sendall(request.encode())
        answer = b""
        with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
            while b"'\n" not in answer and b"\n\n" not in answer:
                chunk = tls.recv(4096)
                if not chunk:
                    break
                answer += chunk
        return answer.decode(errors="replace").strip("\0\n ")


class Api:
    """Wazuh's REST API on one address; a fresh connection for each call, as scripts make them."""

    def __init__(
        self, host: str, *, ca: str | None, source: str | None = None, timeout: float = 20
    ):
        self._host, self._timeout = host, timeout
        self._context = _context(ca)
        self._source = (source, 0) if source else None

    def call(
        self,
        method: str,
        path: str,
        *,
        authorization: str | None = None,
        body: dict[str, object] | None = None,
    ) -> tuple[int, str]:
        """(status, body); OSError when nobody answers."""
        connection = http.client.HTTPSConnection(
            self._host,
            API_PORT,
            timeout=self._timeout,
            context=self._context,
            source_address=self._source,
        )
        headers = {"Authorization": authorization} if authorization else {}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def log_in(self, user: str, password: str) -> tuple[int, str | None]:
        """(status, token): the token only with 200."""
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        status, body = self.call(
            "POST", "/security/user/authenticate?raw=true", authorization=f"Basic {basic}"
        )
        return status, body.strip() if status == 200 else None

    def get(self, path: str, token: str) -> tuple[int, str]:
        """A call with a token."""
        return self.call("GET", path, authorization=f"Bearer {token}")


def _agents(request: dict) -> Iterator[dict]:
    """Enrol the named agents; with a `prefix`, one `every` so often, for `seconds`."""
    options = {"ca": request.get("ca"), "timeout": request.get("timeout", 20)}
    if "names" in request:
        for name in request["names"]:
            yield dataclasses.asdict(enrol(request["host"], name, request["password"], **options))
        return
    end = time.time() + request["seconds"]
    for number in itertools.count(1):
        if time.time() > end or Path(request.get("stop-file", "/nonexistent")).exists():
            return
        began = time.time()
        name, password = f"{request['prefix']}{number}", _password(request)
        yield dataclasses.asdict(enrol(request["host"], name, password, **options))
        time.sleep(max(0.0, request["every"] - (time.time() - began)))


def _password(request: dict) -> str:
    """Return the password, read anew where a file has it: somebody else follows a secret."""
    place = request.get("password-file")
    return Path(place).read_text() if place else request["password"]


def _credentials(request: dict) -> Iterator[dict]:
    """Log in again and again with the password that a file has, until the stop file appears."""
    end = time.time() + request["seconds"]
    while time.time() < end and not Path(request["stop-file"]).exists():
        began = time.time()
        api = Api(request["host"], ca=request["ca"])
        try:
            status, _ = api.log_in(request["user"], _password(request))
        except OSError:
            status = None
        took = time.time() - began
        yield {"began": began, "took": took, "status": status}
        time.sleep(max(0.0, request["every"] - took))


def _logins(request: dict) -> Iterator[dict]:
    """Log in `count` times at `host`, then use each token on the next of `others`."""
    others = itertools.cycle(request["others"])
    for _ in range(request["count"]):
        status, token = Api(request["host"], ca=request["ca"]).log_in(
            request["user"], request["password"]
        )
        other = next(others)
        used, body = (None, "") if token is None else _use(other, token, request["ca"])
        yield {"login": status, "used-on": other, "used": used, "node": body}


def _use(host: str, token: str, ca: str | None) -> tuple[int | None, str]:
    status, body = Api(host, ca=ca).get("/cluster/local/info", token)
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return status, json.loads(body)["data"]["affected_items"][0]["node"]
    return status, ""


def _tokens(request: dict) -> Iterator[dict]:
    """Log in once, keep the token in a file only this user reads, or use the one kept there."""
    place = Path(request["file"])
    if request.get("keep"):
        _, token = Api(request["host"], ca=request["ca"]).log_in(
            request["user"], request["password"]
        )
        if token is not None:
            place.touch(mode=0o600)
            place.write_text(token)
        yield {"kept": token is not None}
        return
    token = place.read_text()
    for host in request["hosts"]:
        status, _ = _use(host, token, request["ca"])
        yield {"host": host, "status": status}


def _call(request: dict) -> Iterator[dict]:
    """Log in and make one call; it is a GET unless the request has a `method`."""
    api = Api(request["host"], ca=request["ca"])
    status, token = api.log_in(request["user"], request["password"])
    if token is None:
        yield {"status": status, "body": None}
        return
    status, body = api.call(
        request.get("method", "GET"),
        request["path"],
        authorization=f"Bearer {token}",
        body=request.get("send"),
    )
    yield {"status": status, "body": json.loads(body) if body else None}


def _person(request: dict) -> Iterator[dict]:
    """Make a user as an administrator would, with a role, and say what the API answered."""
    api = Api(request["host"], ca=request["ca"])
    _, token = api.log_in(request["user"], request["password"])
    made = {"username": request["new"], "password": request["new-password"]}
    status, body = api.call(
        "POST", "/security/users", authorization=f"Bearer {token}", body=dict(made)
    )
    number = json.loads(body)["data"]["affected_items"][0]["id"] if status == 200 else None
    path = f"/security/users/{number}/roles?role_ids={request['granted']}"
    role, _ = api.call("POST", path, authorization=f"Bearer {token}")
    yield {"status": status, "id": number, "role": role}


def _defaults(request: dict) -> Iterator[dict]:
    """Try the default passwords, one address after the other, from one source address.

    Wazuh blocks a source after 50 failed logins, and takes 300 calls a minute from all together.
    """
    pairs = itertools.cycle([("wazuh", "wazuh"), ("wazuh-wui", "wazuh-wui")])
    hosts = itertools.cycle(request["hosts"])
    for _ in range(request["tries"]):
        (user, password), host = next(pairs), next(hosts)
        try:
            api = Api(host, ca=None, source=request["source"], timeout=5)
            status, _ = api.log_in(user, password)
        except OSError:
            status = None
        yield {"host": host, "user": user, "status": status}
        time.sleep(0.35)


def _syslog(request: dict) -> Iterator[dict]:
    """Send lines over TLS with the given client certificate (RFC 5424 in frames of RFC 5425)."""
    context = _context(request["ca"])
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
        if request.get("certificate"):
            pair.write(request["certificate"] + "\n" + request["private-key"])
            pair.flush()
            context.load_cert_chain(pair.name)
        try:
            yield {"sent": _send(context, request), "error": None}
        except (OSError, ssl.SSLError) as error:
            yield {"sent": 0, "error": str(error)}


def _send(context: ssl.SSLContext, request: dict) -> int:
    host, sender = request["host"], request["sender"]
    with (
        socket.create_connection((host, LOGS_PORT), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        for line in request["lines"]:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            frame = f"<13>1 {stamp} {sender} sandbox - - - {line}".encode()
            tls.sendall(f"{len(frame)} ".encode() + frame)
        # In TLS 1.3 a refused certificate shows only at the next read, never at the handshake:
        # a receiver that took the line says nothing and keeps the session open.
        tls.settimeout(2)
        with contextlib.suppress(TimeoutError):
            if tls.recv(1) == b"":
                raise ConnectionResetError("closed by the receiver")
        with contextlib.suppress(OSError):
            tls.unwrap()
        return len(request["lines"])


def _sessions(request: dict) -> Iterator[dict]:
    """Hold one session on 1514 until the stop file appears; say whether it was ever cut."""
    with socket.create_connection((request["host"], EVENTS_PORT), 10) as session:
        session.settimeout(0.2)
        yield {"open": True}
        end = time.time() + request["seconds"]
        while time.time() < end and not Path(request["stop-file"]).exists():
            try:
                if session.recv(1024) == b"":
                    yield {"cut": True}
                    return
            except TimeoutError:
                continue
            except OSError as error:
                yield {"cut": True, "error": str(error)}
                return
    yield {"cut": False}


def _reporting(request: dict) -> Iterator[dict]:
    """Let agents report on 1514 until the stop file appears: how often each was told or cut.

    As agents do they connect again either way; the Service decides where.
    """
    with ThreadPoolExecutor(len(request["ids"])) as pool:
        yield from pool.map(lambda number: _report(request, number), request["ids"])


def _report(request: dict, number: str) -> dict:
    found = {"told": 0, "cut": 0, "refused": 0, "open": 0}
    end, stop = time.time() + request["seconds"], Path(request["stop-file"])

    def over() -> bool:
        return time.time() > end or stop.exists()

    while not over() and not found["open"]:
        try:
            with socket.create_connection((request["host"], EVENTS_PORT), 3) as session:
                found[_stay(session, number, over)] += 1
        except OSError:
            found["refused"] += 1
            time.sleep(0.2)
    return {"id": number, **found}


def _stay(session: socket.socket, number: str, over: Callable[[], bool]) -> str:
    """Speak every second as one agent; say why the session ended, `open` when it did not."""
    session.settimeout(1)
    heard = time.monotonic()
    try:
        while not over():
            session.sendall(f"!{number}!still here\n".encode())
            with contextlib.suppress(TimeoutError):
                data = session.recv(4096)
                if b"#!-force_reconnect" in data:
                    return "told"
                if not data:
                    return "cut"
                heard = time.monotonic()
                time.sleep(0.5)
            if time.monotonic() - heard > _SILENT:
                return "cut"
    except OSError:
        return "cut"
    return "open"


ROLES = {
    "agents": _agents,
    "call": _call,
    "credentials": _credentials,
    "defaults": _defaults,
    "logins": _logins,
    "person": _person,
    "reporting": _reporting,
    "sessions": _sessions,
    "syslog": _syslog,
    "tokens": _tokens,
}


def main(arguments: list[str]) -> int:
    """Play one role; 2 when its name is unknown."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        print(
            f"usage: python -m sandbox.clients {'|'.join(ROLES)} < request.json", file=sys.stderr
        )
        return 2
    for answer in ROLES[arguments[0]](json.load(sys.stdin)):
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
