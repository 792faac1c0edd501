"""The foreign daemons that answer somebody, on asyncio."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import ssl
import struct
import subprocess
import sys
from pathlib import Path

from .rbac import orm

HOME, NAME = Path(sys.argv[1]), Path(sys.argv[2]).name
CONF = (HOME / "etc/ossec.conf").read_text()
KEYS = HOME / "etc/client.keys"
nodes: list = []


def option(name, default="", text=CONF):
    """Return what stands between the first tags of a name."""
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return found[1].strip() if found else default


MASTER, KEY = option("node_type", "master") == "master", option("key", text=option("cluster"))


def port(section, default):
    """Return a section's port."""
    return int(option("port", default, option(section)))


async def unix(path, handle):
    """Listen on a local socket."""
    (HOME / path).unlink(missing_ok=True)
    await asyncio.start_unix_server(handle, str(HOME / path))
    (HOME / path).chmod(0o666)


async def always(path, text):
    """Answer whatever is asked with the same, after its length."""

    async def handle(reader, writer):
        while size := await reader.read(4):
            await reader.readexactly(struct.unpack("<I", size)[0])
            writer.write(struct.pack("<I", len(text)) + text)

    await unix(path, handle)


async def sessions():
    """Hold agents' connections."""

    async def hold(reader, _writer):
        while await reader.read(4096):
            pass

    if option("remote"):
        await asyncio.start_server(hold, None, port("remote", 1514))


async def ask(message):
    """Have the master do something: one line of JSON each way, the key in clear."""
    if MASTER:
        return perform(message)
    place = option("node"), port("cluster", 1516)
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*place), 5)
    writer.write(json.dumps({**message, "key": KEY, "from": option("node_name")}).encode() + b"\n")
    answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
    writer.close()
    return answer


def perform(message):
    """Do what the master does, for itself and for its workers."""
    if message["do"] == "enrol":
        lines = KEYS.read_text().splitlines()
        number = max([0, *(int(line.split()[0]) for line in lines)]) + 1
        lines.append(f"{number:03d} {message['name']} any {os.urandom(32).hex()}")
        KEYS.write_text("\n".join(lines) + "\n")
        return {"line": lines[-1]}
    if message["do"] == "login":
        users = orm.AuthenticationManager()
        return {"ok": users.check_user(message["name"], message["word"])}
    if message["from"] not in nodes:
        nodes.append(message["from"])
    return {"keys": KEYS.read_text(), "nodes": nodes}


async def local(reader, writer):
    """Answer get_nodes on the cluster's local socket, as the framing has it."""

    def say(counter, word, data):
        writer.write(struct.pack("!2I12s", counter, len(data), word.ljust(12, b"-")) + data)

    while head := await reader.read(20):
        number, size, word = struct.unpack("!2I12s", head)
        await reader.readexactly(size)
        items = json.dumps({"items": [{"name": name} for name in nodes]}).encode()
        if word.startswith(b"get_nodes") and (MASTER or not nodes):
            say(number, b"ok " if MASTER else b"err ", items)
        elif word.startswith(b"get_nodes"):
            say(number, b"ok ", b"Sent request to master node")
            say(7, b"control_res ", items)


async def follow():
    """Take the master's keys, again and again."""
    while True:
        nodes.clear()
        try:
            answer = await ask({"do": "join"})
            nodes.extend(answer["nodes"])
            KEYS.write_text(answer["keys"])
            await asyncio.sleep(2)
        except (OSError, ValueError, asyncio.TimeoutError):
            await asyncio.sleep(1)


async def cluster():
    """Be the master, or follow it."""

    async def worker(reader, writer):
        message = json.loads(await reader.readline())
        if message.pop("key") == KEY:
            writer.write(json.dumps(perform(message)).encode() + b"\n")
        writer.close()

    await unix("queue/cluster/c-internal.sock", local)
    if not MASTER:
        return asyncio.create_task(follow())
    nodes.append(option("node_name"))
    return await asyncio.start_server(worker, None, port("cluster", 1516))


def tls(certificate, key):
    """Return a server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HOME / certificate, HOME / key)
    return context


async def enrolment():
    """Give keys to agents that know the password."""
    due = f"OSSEC PASS: {(HOME / 'etc/authd.pass').read_text().strip()} OSSEC A:'"

    async def agent(reader, writer):
        line = (await reader.readline()).decode()
        said = "ERROR: Invalid password."
        if line.startswith(due):
            name = line[len(due) :].partition("'")[0]
            said = f"OSSEC K:'{(await ask({'do': 'enrol', 'name': name}))['line']}'"
        writer.write(said.encode())
        writer.close()

    context = tls("etc/sslmanager.cert", "etc/sslmanager.key")
    await asyncio.start_server(agent, None, port("auth", 1515), ssl=context)


async def api():
    """Log people in; everything else says who is there."""
    orm.check_database_integrity()
    secret = (HOME / "api/configuration/security/private_key.pem").read_bytes()

    def sign(name):
        return f"{name}.{hmac.new(secret, name.encode(), hashlib.sha512).hexdigest()}"

    async def answer(path, kind, word):
        if kind == "Basic" and path.startswith("/security/user/authenticate"):
            name, _, said = base64.b64decode(word).decode().partition(":")
            if (await ask({"do": "login", "name": name, "word": said}))["ok"]:
                return 200, sign(name) if "raw=true" in path else {"data": {"token": sign(name)}}
        elif kind == "Bearer" and sign(word.partition(".")[0]) == word:
            return 200, {"data": {"affected_items": list(orm.load()), "node": nodes}}
        return 401, {"title": "Unauthorized"}

    async def client(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        given = re.search(r"(?i)authorization: (\w+) (\S+)", head) or ("", "", "")
        try:
            status, said = await answer(head.split()[1], given[1], given[2])
        except (OSError, ValueError, asyncio.TimeoutError):
            status, said = 500, {"error": 3012}
        text = said if isinstance(said, str) else json.dumps(said)
        length = f"Connection: close\r\nContent-Length: {len(text)}"
        writer.write(f"HTTP/1.1 {status} Said\r\n{length}\r\n\r\n{text}".encode())
        writer.close()

    await asyncio.sleep(2)
    place = "api/configuration/ssl/server"
    told = re.search(r"port: (\d+)", (HOME / "api/configuration/api.yaml").read_text())
    number = int(told[1]) if told else 55000
    await asyncio.start_server(client, None, number, ssl=tls(f"{place}.crt", f"{place}.key"))


async def main():
    """Be the daemon of this name until told to end, a helper beside it."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    helper = subprocess.Popen(["sleep", "100000"])
    fine = b'{"error": 0, "message": "ok", "data": []}'
    work = {
        "wazuh-db": lambda: always("queue/db/wdb", b"ok []"),
        "wazuh-analysisd": lambda: always("queue/sockets/analysis", fine),
        "wazuh-remoted": sessions,
        "wazuh-clusterd": cluster,
        "wazuh-authd": enrolment,
        "wazuh-apid": api,
    }
    kept = await work[NAME]()
    pid = HOME / f"var/run/{NAME}-{os.getpid()}.pid"
    pid.write_text(f"{os.getpid()}\n")
    await ended.wait()
    del kept
    helper.kill()
    pid.unlink()


if __name__ == "__main__":
    if "-t" in sys.argv:
        sys.exit(0 if len(KEY) in (0, 32) else 1)
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    asyncio.run(main())
