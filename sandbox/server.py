"""The sandbox's server: one process per model that runs it and carries out commands.

It is started in the cluster's namespaces by `sandbox.cluster` and ends with them. A command is a
line of JSON on `server.socket`, with up to three open files where a program is to be run; the
answer is a line of JSON.
"""

import array
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from sandbox import boxes, commands, hook_tools, network, settings
from sandbox.model import CommandError, Model, Timings
from sandbox.node import Node
from sandbox.processes import kill_others
from sandbox.runner import GRACE, Runner

_LONGEST_REQUEST = 1 << 22


async def serve(home: Path) -> None:
    """Run the model whose settings lie in `home` until it is told to end."""
    os.chdir(home)
    given = settings.read(home)
    Path("tools").mkdir()
    Path("tools/hook-tool").touch()
    for name in hook_tools.NAMES:
        Path("tools", name).symlink_to("hook-tool")
    node = Node(given, overlay=await _overlays())
    await node.start()
    mode = "3.6" if given.commit_mode == "3.6" else "4"
    # A program takes as long to end as it takes, however fast the clock is.
    timings = Timings(grace=GRACE * given.factor)
    model = Model(given.seed, mode, given.model, timings=timings, epoch=time.time())
    runner = Runner(given, node, model)
    listener = _listen("server.socket")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, runner.end)
    async with await runner.hooks.serve(), await _kubernetes(), asyncio.TaskGroup() as parts:
        accepting = parts.create_task(_accept(listener, commands.Commands(runner)))
        await runner.run()
        accepting.cancel()
    kill_others()
    _clear()


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    # Bound under another name first: who sees the socket can use it.
    listener.bind(f"{path}.new")
    listener.listen(32)
    Path(f"{path}.new").rename(path)
    return listener


async def _kubernetes() -> asyncio.Server:
    """Listen where the Kubernetes API would: only that it can be reached is of interest."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return await asyncio.start_server(hang_up, network.KUBERNETES, network.KUBERNETES_PORT)


async def _accept(listener: socket.socket, known: "commands.Commands") -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        while True:
            connection, _ = await loop.sock_accept(listener)
            tasks.create_task(_answer(connection, known))


async def _answer(connection: socket.socket, known: "commands.Commands") -> None:
    loop = asyncio.get_running_loop()
    with connection:
        connection.setblocking(False)
        try:
            text, files = await _receive(connection)
            work = asyncio.create_task(_carry_out(known, json.loads(text), files))
            if files and not await _outlasts(connection, work):
                return
            reply = await work
            await loop.sock_sendall(connection, json.dumps(reply).encode() + b"\n")
        except (ConnectionError, json.JSONDecodeError):
            return  # Who asked has gone.


async def _outlasts(connection: socket.socket, work: asyncio.Task[Any]) -> bool:
    """Say whether who asked waits until `work` is done; when not, what runs for him is ended."""
    gone = asyncio.create_task(_readable(connection))
    await asyncio.wait([gone, work], return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if work.done():
        return True
    work.cancel()
    await asyncio.wait([work])
    return False


async def _carry_out(
    known: "commands.Commands", request: dict[str, Any], files: list[int]
) -> dict[str, Any]:
    try:
        return {"result": await known.carry_out(request.pop("command"), request, files)}
    except CommandError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"the sandbox could not do it: {error}"}
    finally:
        for descriptor in files:
            os.close(descriptor)


async def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Read a line and the open files that came with it."""
    text, files = b"", []
    while not text.endswith(b"\n"):
        await _readable(connection)
        chunk, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(3 * 4))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files += array.array("i", data[: len(data) - len(data) % 4]).tolist()
        if not chunk or len(text) > _LONGEST_REQUEST:
            raise ConnectionResetError
        text += chunk
    return text, files


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(connection)


async def _overlays() -> bool:
    """Try whether the kernel mounts an overlay here; where it does not, trees are copied."""
    tried = [Path("tried", name) for name in ("lower", "upper", "work")]
    for path in tried:
        path.mkdir(parents=True)
    lower, upper, work = (str(path.absolute()) for path in tried)
    for name in boxes.links():
        Path(lower, name).symlink_to(Path("/", name).readlink())
    box = boxes.Box(["/usr/bin/true"], "tried", {}, root=boxes.Overlay(lower, upper, work))
    process = await asyncio.create_subprocess_exec(
        *boxes.arguments(box), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    works = await process.wait() == 0
    shutil.rmtree("tried")
    return works


def _clear() -> None:
    """Remove everything that belongs to the cluster's users, whom only this namespace knows."""
    for path in Path().iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(Path(sys.argv[1])))
