"""A small HTTP server over TLS: as much of HTTP/1.1 as API clients use."""

import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

LONGEST_HEAD, LONGEST_BODY = 65536, 10 * 1024 * 1024
KEEP_OPEN_SECONDS = 30
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: "dict[str, str]"
    headers: "dict[str, str]"
    body: bytes
    source: str


@dataclass(frozen=True)
class Response:
    """What it is answered; a text body is sent as it is, anything else as JSON."""

    status: int
    body: object
    headers: "dict[str, str]" = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the response's bytes."""
        plain = isinstance(self.body, str)
        data = str(self.body).encode() if plain else json.dumps(self.body).encode()
        kind = (
            "text/plain"
            if plain
            else ("application/json" if self.status == 200 else "application/problem+json")
        )
        head = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Error')}",
            "Server: Wazuh stand-in",
            f"Content-Type: {kind}; charset=utf-8",
            f"Content-Length: {len(data)}",
        ]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def converse(
    connection: socket.socket,
    context: "ssl.SSLContext | None",
    answer: "Callable[[Request], Response]",
) -> None:
    """Answer one client's requests until it goes."""
    source = connection.getpeername()[0]
    connection.settimeout(KEEP_OPEN_SECONDS)
    channel = context.wrap_socket(connection, server_side=True) if context else connection
    with suppress(OSError, ValueError), channel, channel.makefile("rb") as stream:
        while True:
            request = _receive(stream, source)
            if request is None:
                return
            channel.sendall(answer(request).encoded())
            if request.headers.get("connection", "").lower() == "close":
                return


def _receive(stream, source: str) -> "Request | None":
    line = stream.readline(LONGEST_HEAD).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = {}
    while True:
        name, _, value = stream.readline(LONGEST_HEAD).decode("latin-1").partition(":")
        if not name.strip():
            break
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if length > LONGEST_BODY:
        return None
    parts = urlsplit(line[1])
    query = {
        name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
    }
    return Request(line[0], parts.path, query, headers, stream.read(length), source)
