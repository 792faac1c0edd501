"""The API: HTTPS on 55000, on every node; what only the master may do is forwarded to it."""

import base64
import json
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..rbac import orm
from . import api_settings, calls, configuration, web
from .calls import ApiError, Performer
from .home import REVISION, VERSION, Home, belongs_to_wazuh, pause
from .process import end_children, fork_child, stopping
from .serving import accept
from .tokens import AUDIENCE, KeyPair, TokenError, openssl

START_SECONDS, STOP_SECONDS = 6.0, 3.0
LOGIN = "/security/user/authenticate"
ROUTES = (
    ("GET", r"/", "here_info"),
    ("DELETE", r"/security/user/revoke", "revoke"),
    ("GET", r"/security/users/me", "me"),
    ("GET", r"/security/users", "users"),
    ("POST", r"/security/users", "create_user"),
    ("DELETE", r"/security/users", "delete_users"),
    ("PUT", r"/security/users/(?P<user_id>\d+)", "update_user"),
    ("POST", r"/security/users/(?P<user_id>\d+)/roles", "add_roles"),
    ("DELETE", r"/security/users/(?P<user_id>\d+)/roles", "remove_roles"),
    ("GET", r"/security/roles", "all_roles"),
    ("GET", r"/security/config", "security_config"),
    ("PUT", r"/security/config", "set_security_config"),
    ("GET", r"/cluster/status", "here_cluster"),
    ("GET", r"/cluster/local/info", "here_node"),
    ("GET", r"/cluster/nodes", "nodes"),
    ("GET", r"/cluster/healthcheck", "health"),
    ("PUT", r"/cluster/analysisd/reload", "reload"),
    ("GET", r"/manager/status", "here_status"),
    ("GET", r"/manager/info", "here_manager"),
    ("GET", r"/agents", "agents"),
    ("POST", r"/agents", "add_agent"),
    ("POST", r"/agents/insert", "add_agent"),
    ("DELETE", r"/agents", "delete_agents"),
    ("PUT", r"/agents/reconnect", "reconnect"),
    ("GET", r"/agents/summary/status", "summary"),
    ("GET", r"/agents/(?P<agent_id>\d+)/key", "agent_key"),
    ("GET", r"/groups", "groups"),
    ("POST", r"/groups", "add_group"),
)
UNAUTHORIZED = {"title": "Unauthorized", "detail": "No authorization token provided"}
BLOCKED = {
    "title": "Permission Denied",
    "error": 6000,
    "detail": "Limit of login attempts reached. The current IP has been blocked due to a "
    "high number of login attempts",
}


def check(home: Home) -> bool:
    """Read api.yaml; raise ConfigurationError."""
    api_settings.read(home / "api/configuration/api.yaml")
    return True


def serve(home: Home) -> int:
    """Make what is missing, then answer until told to stop."""
    settings = api_settings.read(home / "api/configuration/api.yaml")
    orm.check_database_integrity()
    fork_child(home, "wazuh-apid_exec")
    pause(START_SECONDS)
    try:
        api = Api(home, settings)
        servers = [_listen(host, settings.port) for host in settings.hosts if _usable(host)]
    except (OSError, ssl.SSLError) as error:
        home.log("ERROR", f"Error when trying to start the Wazuh API. {error}")
        end_children(home)
        return 1
    for server in servers:
        accept(server, lambda one: web.converse(one, api.context, api.answer))
    api.log("INFO", f"Listening on {', '.join(settings.hosts)}:{settings.port}.")
    stopping.wait()
    for server in servers:
        server.close()
    end_children(home)
    pause(STOP_SECONDS)
    return 0


def _usable(host: str) -> bool:
    return ":" not in host or socket.has_dualstack_ipv6()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


class Limits:
    """Logins failed per source address, and requests in this minute."""

    def __init__(self, settings: api_settings.ApiSettings):
        self.settings = settings
        self.failed: dict[str, list[float]] = {}
        self.minute, self.requests = time.monotonic(), 0
        self.lock = threading.Lock()

    def too_many(self) -> bool:
        """Count a request; return whether it is one too many in its minute, whoever asks."""
        with self.lock:
            if time.monotonic() - self.minute > 60:
                self.minute, self.requests = time.monotonic(), 0
            self.requests += 1
            return 0 < self.settings.requests_per_minute < self.requests

    def blocked(self, source: str) -> bool:
        """Return whether an address failed too often."""
        with self.lock:
            first, count = self.failed.get(source, [0.0, 0])
            if count and time.monotonic() - first >= self.settings.block_seconds:
                del self.failed[source]
                return False
            return count >= self.settings.login_attempts

    def fail(self, source: str) -> None:
        """Count a failed login."""
        with self.lock:
            entry = self.failed.setdefault(source, [time.monotonic(), 0])
            entry[1] += 1


class Api:
    """One node's API; role, key pair and certificate are those of its start."""

    def __init__(self, home: Home, settings: api_settings.ApiSettings):
        self.home = home
        self.limits = Limits(settings)
        self.keys = KeyPair(home / "api/configuration/security")
        self.context = _tls(home, settings) if settings.https else None
        ossec = configuration.read(home / "etc/ossec.conf")
        self.cluster = configuration.Cluster(
            ossec.find("cluster") or configuration.Node("cluster")
        )
        self.enabled = ossec.find("cluster") is not None and not self.cluster.disabled
        worker = self.enabled and self.cluster.kind == "worker"
        self.performer = None if worker else Performer(home)

    def log(self, level: str, message: str) -> None:
        """Write a line to logs/api.log."""
        self.home.append(
            "logs/api.log", f"{time.strftime('%Y/%m/%d %H:%M:%S')} {level}: stand-in: {message}\n"
        )

    def answer(self, request: web.Request) -> web.Response:
        """Answer a request; every error has the API's form."""
        began = time.monotonic()
        try:
            response = self._answer(request)
        except ApiError as error:
            response = self._fault(error)
        self.log(
            "INFO",
            f'{request.source} "{request.method} {request.path}" done in '
            f"{time.monotonic() - began:.3f}s: {response.status}",
        )
        return response

    def _fault(self, error: ApiError) -> web.Response:
        if error.status == 401:
            return web.Response(401, {"title": "Unauthorized", "detail": error.detail})
        body = error.body()
        if error.status == 500:
            body["dapi_errors"] = {
                self.cluster.node: {"error": error.detail, "logfile": "WAZUH_HOME/logs/api.log"}
            }
        return web.Response(error.status, body)

    def _answer(self, request: web.Request) -> web.Response:
        if self.limits.too_many():
            calls.refuse(6001, status=429)
        if request.path == LOGIN:
            return self._login(request)
        found = [
            (method, call, match)
            for method, pattern, call in ROUTES
            if (match := re.fullmatch(pattern, request.path))
        ]
        if not found:
            return web.Response(404, {"title": "Not Found", "detail": "404: Not Found"})
        for method, call, match in found:
            if method == request.method:
                return web.Response(200, self._perform(request, call, match.groupdict()))
        return web.Response(
            405, {"title": "Method Not Allowed", "detail": "405: Method Not Allowed"}
        )

    def _login(self, request: web.Request) -> web.Response:
        if request.method not in ("GET", "POST"):
            return web.Response(
                405, {"title": "Method Not Allowed", "detail": "405: Method Not Allowed"}
            )
        if self.limits.blocked(request.source):
            return web.Response(403, BLOCKED)
        name, password = _basic(request.headers.get("authorization", ""))
        answer: dict = {"roles": None}
        if name:
            answer = self._remote("login", None, {"username": name, "password": password})
        if answer["roles"] is None:
            self.limits.fail(request.source)
            return web.Response(401, {"title": "Unauthorized", "detail": "Invalid credentials"})
        now = int(time.time())
        token = self.keys.sign(
            {
                "iss": "wazuh",
                "aud": AUDIENCE,
                "nbf": now,
                "exp": now + answer["lifetime"],
                "sub": name,
                "run_as": False,
                "rbac_roles": answer["roles"],
                "rbac_mode": "white",
            }
        )
        raw = request.query.get("raw") == "true"
        return web.Response(200, token if raw else {"data": {"token": token}, "error": 0})

    def _perform(self, request: web.Request, call: str, values: "dict[str, str]") -> dict:
        token = self._token(request)
        if call.startswith("here_"):
            user = self._remote("check", token, {})
            if call != "here_status":
                calls.check_daemons(self.home)
            return getattr(self, f"_{call}")(user)
        arguments = {**_parameters(request), **values}
        return self._remote(call, token, arguments)

    def _token(self, request: web.Request) -> dict:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise ApiError(401, 0, UNAUTHORIZED["detail"])
        try:
            return self.keys.verify(token.strip())
        except TokenError as error:
            raise ApiError(401, 0, str(error)) from None

    def _remote(self, call: str, token: "dict | None", arguments: dict) -> dict:
        if self.performer:
            return self.performer.perform(call, token, arguments)
        answer = calls.ask_cluster(
            self.home, b"dapi", {"call": call, "token": token, "arguments": arguments}
        )
        if "body" not in answer:
            raise ApiError(answer["status"], answer["code"], answer["detail"])
        return answer["body"]

    def _here_info(self, _user: dict) -> dict:
        return {
            "data": {
                "title": "Wazuh API REST (stand-in)",
                "api_version": VERSION.lstrip("v"),
                "revision": REVISION,
                "hostname": socket.gethostname(),
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
            "error": 0,
        }

    def _here_cluster(self, user: dict) -> dict:
        calls.require(user, "read:cluster")
        running = self.home.running("wazuh-clusterd")
        return {
            "data": {
                "enabled": "yes" if self.enabled else "no",
                "running": "yes" if running else "no",
            },
            "error": 0,
        }

    def _here_node(self, user: dict) -> dict:
        calls.require(user, "read:cluster")
        settings = self.cluster
        return calls.items(
            [{"node": settings.node, "cluster": settings.name, "type": settings.kind}],
            "All selected information was returned",
        )

    def _here_status(self, user: dict) -> dict:
        calls.require(user, "read:cluster")
        return calls.items(
            [calls.daemons(self.home)], "Processes status was successfully read in specified node"
        )

    def _here_manager(self, user: dict) -> dict:
        calls.require(user, "read:cluster")
        return calls.items(
            [calls.version_info(self.home)], "Basic information was successfully read"
        )


def _parameters(request: web.Request) -> dict:
    values: dict = {
        name: value
        for name, value in request.query.items()
        if name not in ("pretty", "wait_for_complete")
    }
    if request.body:
        try:
            body = json.loads(request.body)
        except ValueError:
            raise ApiError(400, 1018, "Body request is not a valid JSON") from None
        if not isinstance(body, dict):
            raise ApiError(400, 1018, "Body request is not a valid JSON")
        values.update(body)
    if set(values) & {"user", "call", "token"}:
        raise ApiError(400, 0, "Unexpected parameters")
    return values


def _basic(header: str) -> "tuple[str, str]":
    kind, _, text = header.partition(" ")
    if kind.lower() == "basic":
        with suppress(ValueError):
            name, _, password = base64.b64decode(text).decode("latin-1").partition(":")
            return name, password
    return "", ""


def _tls(home: Home, settings: api_settings.ApiSettings) -> ssl.SSLContext:
    folder = home / "api/configuration/ssl"
    certificate, key = folder / settings.certificate, folder / settings.key
    if not (certificate.is_file() and key.is_file()):
        _self_sign(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _self_sign(certificate: Path, key: Path) -> None:
    made = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"")
    key.write_bytes(made)
    certificate.write_bytes(
        openssl(
            ["req", "-x509", "-new", "-key", "{}", "-days", "365", "-subj", "/CN=wazuh.com"],
            b"",
            made,
        )
    )
    for path in (certificate, key):
        belongs_to_wazuh(path, 0o400)
