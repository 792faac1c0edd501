"""A stand-in for OpenCTI's GraphQL over real HTTPS, which filters as its `FilterGroup` does.

It knows the fields that the integration asks for and refuses others, as GraphQL does.
"""

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "0b23cd61-77f1-4b0a-9c3e-1c2d3e4f5a6b"
_FIELDS = {
    *("stixCyberObservables", "indicators", "edges", "node", "observable_value", "hashes"),
    *("algorithm", "hash", "id", "name", "pattern", "revoked", "valid_until", "x_opencti_score"),
}
_WORDS = {"query", "fragment", "on", "filters", "first", "Known", "Lookup", "StixFile", "Artifact"}
_TYPES = {"Indicator", "FilterGroup", "Int", "observables"}


class StandIn:
    """What is known, what was asked, and how to answer instead."""

    def __init__(self) -> None:
        self.observables: list[dict[str, Any]] = []
        self.indicators: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.url = ""

    def resolve(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer one query."""
        words = set(re.findall(r"(?<![$.])\b[A-Za-z_]\w*", question["query"]))
        if unknown := words - _FIELDS - _WORDS - _TYPES:
            return {"errors": [{"message": f'Cannot query field "{unknown}"'}]}
        variables = question["variables"]
        return {
            "data": {
                "stixCyberObservables": _edges(
                    {**one, "indicators": _edges(one["indicators"])}
                    for one in self.observables
                    if _passes(_searched(one), variables["observables"])
                ),
                "indicators": _edges(
                    one
                    for one in self.indicators
                    if _passes({"pattern": {one["pattern"]}}, variables["indicators"])
                ),
            }
        }


def _searched(observable: dict[str, Any]) -> dict[str, set[str]]:
    hashes = {f"hashes.{h['algorithm']}": {h["hash"]} for h in observable.get("hashes", ())}
    return {"value": {observable["observable_value"]}, **hashes}


def _passes(fields: dict[str, set[str]], group: dict[str, Any]) -> bool:
    assert group["mode"] == "or"
    assert group["filterGroups"] == []
    assert all(one["operator"] == "eq" for one in group["filters"])
    found = [bool(fields.get(one["key"], set()) & {*one["values"]}) for one in group["filters"]]
    return any(found)


def _edges(nodes: Any) -> dict[str, Any]:
    return {"edges": [{"node": node} for node in nodes]}


@contextlib.contextmanager
def serving(
    certificate: Path | None, address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[StandIn]:
    """Serve until the end; without a certificate (and key, in one file) over plain HTTP."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path != "/cti/graphql":
                self.send_error(404)
                return
            length = int(self.headers["Content-Length"])
            stand_in.asked.append(json.loads(self.rfile.read(length)))
            stand_in.headers.append(dict(self.headers))
            if stand_in.answer:
                stand_in.answer(self)
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                # As OpenCTI refuses: with status 200.
                refusal = {"extensions": {"code": "AUTH_REQUIRED"}, "message": "log in"}
                reply(self, {"errors": [refusal], "data": None})
            else:
                reply(self, stand_in.resolve(stand_in.asked[-1]))

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if certificate else "http"
    stand_in.url = f"{scheme}://localhost:{server.server_address[1]}/cti"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


def reply(handler: BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
    """Send JSON, or bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(body)
