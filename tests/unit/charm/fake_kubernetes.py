"""A Kubernetes API of one Service and its guards: recorded forms, and rules of the real one.

No real API server is asked here. What it keeps of one: a merge patch, `externalTrafficPolicy` and
nodes' ports for outside types only, and answers 403, 409 and none at all.
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
        "ports": [
            {"name": f"juju-{port}-tcp", "port": port, "protocol": "TCP", "targetPort": port}
            for port in (1514, 1515, 6514, 55000)
        ],
        "selector": {"app.kubernetes.io/name": "wazuh-server"},
    },
    "status": {"loadBalancer": {}},
}


class Kubernetes:
    """What the API holds, what it was asked, and how it is to fail."""

    def __init__(self) -> None:
        self.service: dict[str, Any] = copy.deepcopy(SERVICE)
        self.guards: dict[str, dict[str, Any]] = {}
        self.nodes: list[str] = []
        """Where the application's pods are; none: the charm may not read pods."""
        self.asked: list[tuple[str, Any]] = []
        self.fail: int | None = None
        self.fails = "/"
        """Only for paths with this in them."""
        self.drops: str | None = None
        """It breaks off before it answers for such paths."""
        self.silent = False
        self.hang: threading.Event | None = None

    @property
    def patches(self) -> list[Any]:
        return [body for method, body in self.asked if method == "PATCH"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, body))
        if self.hang:
            self.hang.wait(30)
        if self.silent:
            return 503, _status(503, "etcd is not there")
        if self.fail and method in ("PATCH", "DELETE") and self.fails in path:
            return self.fail, _status(self.fail, "services is forbidden\nfor\x1b this user")
        if path.startswith(_GUARDS):
            return self._guard(method, path, body)
        if path == "/api/v1/namespaces/sec/pods":
            return self._pods()
        if path != "/api/v1/namespaces/sec/services/wazuh-server":
            return 404, _status(404, "not found")
        if method == "PATCH":
            merged = _merged(self.service, body)
            spec = merged["spec"]
            if spec["type"] == "ClusterIP" and spec.get("externalTrafficPolicy"):
                return 422, _status(422, "ExternalTrafficPolicy: only for external types")
            self.service = merged
            self._open_nodes_ports()
        return 200, self.service

    def _open_nodes_ports(self) -> None:
        """Give each port one of the nodes' own, as long as the type is for outside."""
        spec = self.service["spec"]
        for port in spec["ports"]:
            if spec["type"] == "ClusterIP":
                port.pop("nodePort", None)
            else:
                port.setdefault("nodePort", _node_port(port["port"]))

    def _pods(self) -> tuple[int, dict[str, Any]]:
        if not self.nodes:
            return 403, _status(403, "pods is forbidden")
        pods = [
            {"metadata": {"name": f"wazuh-server-{number}"}, "status": {"hostIP": node}}
            for number, node in enumerate(self.nodes)
        ]
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}

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


def _node_port(port: int) -> int:
    """Return one in Kubernetes' range, 30000 to 32767."""
    return 30000 + port % 2767


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
            if kubernetes.drops and kubernetes.drops in self.path:
                self.close_connection = True
                return
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
