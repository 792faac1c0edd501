"""A Kubernetes API of one Service and its guards: recorded forms, and rules of the real one.

No real API server is asked here. What it keeps of one: a merge patch, `externalTrafficPolicy` for
outside types only, and answers 403, 409 and none at all.
"""

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "wazuh-server",
        "uid": "6f1b0f5e-0000-4000-8000-000000000000",
        "namespace": "sec",
        "annotations": {"model.juju.is/id": "1", "somebody.else/wants": "this"},
    },
    "spec": {
        "type": "ClusterIP",
        "clusterIP": "10.152.183.7",
        "ports": [{"name": "juju-1514-tcp", "port": 1514, "protocol": "TCP", "targetPort": 1514}],
        "selector": {"app.kubernetes.io/name": "wazuh-server"},
    },
    "status": {"loadBalancer": {}},
}


class Kubernetes:
    """What the API holds, what it was asked, and how it is to fail."""

    def __init__(self) -> None:
        self.service: dict[str, Any] = copy.deepcopy(SERVICE)
        self.guards: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.fail: int | None = None
        self.hang: threading.Event | None = None

    @property
    def patches(self) -> list[Any]:
        return [body for method, body in self.asked if method == "PATCH"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, body))
        if self.hang:
            self.hang.wait(30)
        if self.fail and method in ("PATCH", "DELETE"):
            return self.fail, _status(self.fail, "services is forbidden\nfor\x1b this user")
        if path.startswith(_GUARDS):
            return self._guard(method, path, body)
        if path != "/api/v1/namespaces/sec/services/wazuh-server":
            return 404, _status(404, "not found")
        if method == "PATCH":
            merged = _merged(self.service, body)
            spec = merged["spec"]
            if spec["type"] == "ClusterIP" and spec.get("externalTrafficPolicy"):
                return 422, _status(422, "ExternalTrafficPolicy: only for external types")
            self.service = merged
        return 200, self.service

    def _guard(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Keep an object that is applied whole (server-side apply), or take it away."""
        if method == "PATCH":
            self.guards[path] = body
            return 200, body
        if self.guards.pop(path, None) is None:
            return 404, _status(404, "not found")
        return 200, _status(200, "")


_GUARDS = (
    "/apis/networking.k8s.io/v1/namespaces/sec/networkpolicies/",
    "/apis/policy/v1/namespaces/sec/poddisruptionbudgets/",
)


def _merged(value: Any, patch: Any) -> Any:
    """Merge as RFC 7386 says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), item)
    return result


def _status(code: int, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "code": code,
    }


@contextmanager
def serving(folder: Path, monkeypatch) -> Iterator[Kubernetes]:
    """Serve on the loopback, and let the client find it as it finds the real one."""
    kubernetes = Kubernetes()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            code, value = kubernetes.answer(self.command, self.path.partition("?")[0], body)
            content = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            pass

    for method in ("DELETE", "GET", "PATCH"):
        setattr(Handler, f"do_{method}", Handler._do)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    path = folder / "kubeconfig"
    path.write_text(json.dumps(_config(server.server_port)))
    monkeypatch.setenv("KUBECONFIG", str(path))
    try:
        yield kubernetes
    finally:
        if kubernetes.hang:
            kubernetes.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _config(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "charm"}}],
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "charm", "user": {}}],
    }
