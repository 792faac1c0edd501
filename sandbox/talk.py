"""Asking a model's server: one line of JSON there, one back."""

import array
import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from sandbox.cluster import Model, SandboxError


def ask(model: Model, command: str, /, files: Sequence[int] = (), **fields: Any) -> Any:
    """Return what the server of `model` answers. Raises `SandboxError` with its refusal."""
    with _connected(model) as connection:
        text = json.dumps({"command": command, **fields}).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        sent = connection.sendmsg([text], rights)
        if sent < len(text):
            connection.sendall(text[sent:])
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise SandboxError(f"the sandbox's server ended; see {model.home / 'server.log'}")
    answer = json.loads(line)
    if "error" in answer:
        raise SandboxError(answer["error"])
    return answer["result"]


def _connected(model: Model) -> socket.socket:
    if model.process() is None:
        raise SandboxError(f'there is no model "{model.name}": deploy the charm first')
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as stack:
        # A socket's path must be short; through the open directory it is, wherever that lies.
        directory = os.open(model.home, os.O_PATH)
        stack.callback(os.close, directory)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{model.socket.name}")
        except OSError as error:
            connection.close()
            raise SandboxError(f"the sandbox's server does not answer: {error}") from error
    return connection
