"""Enrolment: port 1515 over TLS, the local socket, and the thread that writes the keys."""

import json
import os
import socket
import ssl
import threading
import time
from contextlib import suppress

from . import configuration, frames
from .configuration import ConfigurationError, Node
from .enrolment import LocalRefusedError, RefusedError, Registrar, Request, force_from, parse
from .home import Home, pause, scaled
from .keystore import KeyStore, replace_file
from .process import stopping
from .serving import accept, accept_some

ATTEMPTS = 10
"""Tries to reach the master, a second apart: 9.0 s (agent_op.c, w_send_clustered_message)."""
WRITE_SECONDS = 0.5
"""After writing, the writer is busy with wazuh-db this long before it looks again."""
POOL = 1000
"""AUTH_POOL: the places of clients, the first of which is the server's own (main-server.c)."""
STOP_SECONDS = 2.0
ANSWER_SECONDS = 60
"""How long a silent master is waited for (WAZUH_IPC_TIMEOUT)."""

LONGEST = 4096


def check(home: Home) -> bool:
    """Return whether <auth> is there and not disabled."""
    settings = configuration.read(home / "etc/ossec.conf")
    block = settings.find("auth")
    if block is None:
        return False
    port = block.value("port", "1515")
    if not port.isdigit() or int(port) == 0:
        raise ConfigurationError(f"(1235): Invalid value for element 'port': {port}.")
    force_from(block.find("force"))
    return block.value("disabled", "no") != "yes"


def serve(home: Home) -> int:
    """Answer agents until told to stop; SIGHUP is such a word too."""
    settings = configuration.read(home / "etc/ossec.conf")
    block = settings.find("auth") or Node("auth")
    try:
        server = Server(home, block, worker=configuration.is_worker(settings))
    except (OSError, ConfigurationError) as error:
        home.log("ERROR", f"{error}")
        return 1
    server.start()
    stopping.wait()
    home.log("INFO", "(1225): SIGNAL Received. Exit Cleaning...")
    server.close()
    return 0


class Server:
    """One authd: its settings are those of the moment it started."""

    def __init__(self, home: Home, block: Node, *, worker: bool):
        self.home = home
        self.worker = worker
        self.use_source_ip = block.value("use_source_ip", "no") == "yes"
        store = KeyStore(keep_removed=block.value("purge", "no") != "yes")
        if not worker:
            self._load(store)
        self.registrar = Registrar(
            store,
            force_from(block.find("force")),
            socket.gethostname(),
            lambda group: (home / f"etc/shared/{group}").is_dir(),
        )
        self.changed = threading.Condition()
        self.pending: list[dict[str, object]] = []
        self.gone: list[str] = []
        self.dirty = False
        self.one_at_a_time = threading.Lock()
        self.context = _tls(home, block)
        self.password = None
        self.remote = socket.socket()
        if block.value("remote_enrollment", "yes") == "yes":
            self.remote = _bind(int(block.value("port", "1515")))
            if block.value("use_password", "no") == "yes":
                self.password = _password(home)
        self.local = frames.listen_unix(home / "queue/sockets/auth")
        self.writer = threading.Thread(target=self._write_for_ever, daemon=True)

    def _load(self, store: KeyStore) -> None:
        path = self.home / "etc/client.keys"
        path.touch()
        store.read(path.read_text(), time.time())
        with suppress(FileNotFoundError):
            store.read_dates((self.home / "queue/agents-timestamp").read_text())

    def start(self) -> None:
        """Start the threads."""
        accept_some(self.remote, self._agent, POOL - 1, self._turned_away)
        accept(self.local, self._local)
        if not self.worker:
            self.writer.start()

    def _turned_away(self) -> None:
        self.home.log("ERROR", "Too many connections. Rejecting.")

    def close(self) -> None:
        """Answer nobody any more; a writer that rests writes once more, a busy one does not."""
        for server in (self.remote, self.local):
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        with self.changed:
            self.changed.notify_all()
        pause(STOP_SECONDS)
        if not self.worker:
            self.writer.join(scaled(STOP_SECONDS))

    def _agent(self, connection: socket.socket) -> None:
        # Whoever says nothing keeps its place for ever.
        source = connection.getpeername()[0]
        with self.context.wrap_socket(connection, server_side=True) as channel:
            line = b""
            while b"\n" not in line and len(line) < LONGEST:
                part = channel.recv(LONGEST)
                if not part:
                    return
                line += part
            # The real one has one thread for all agents, so that a worker whose master is
            # away answers them one after the other.
            with self.one_at_a_time:
                answer = self._answer(line.partition(b"\n")[0].decode(errors="replace"), source)
            channel.sendall(answer.encode())
            # The real one ends the connection with the answer.
            channel.settimeout(1)
            with suppress(OSError):
                channel.unwrap()

    def _answer(self, line: str, source: str) -> str:
        if stopping.is_set():
            return ""
        try:
            request = parse(line, self.password, source, use_source_ip=self.use_source_ip)
            identity, key = self._forward(request) if self.worker else self._enrol(request)
        except RefusedError as error:
            self.home.log("ERROR", f"{error} (from {source})")
            return f"{error}. Unable to add agent"
        self.home.log("INFO", f"Agent key generated for '{request.name}' (requested by {source})")
        return f"OSSEC K:'{identity} {request.name} {request.ip} {key}'"

    def _enrol(self, request: Request) -> "tuple[str, str]":
        with self.changed:
            before = set(self.registrar.store.agents)
            agent = self.registrar.enrol(request)
            self._note(agent.id, request.groups, before)
        return agent.id, agent.key

    def _note(self, identity: str, groups: "str | None", before: "set[str]") -> None:
        agent = self.registrar.store.agents[identity]
        self.gone += sorted(before - set(self.registrar.store.agents))
        self.pending.append(
            {
                "id": int(agent.id),
                "name": agent.name,
                "register_ip": agent.ip,
                "internal_key": agent.key,
                "group": groups,
            }
        )
        self.dirty = True
        self.changed.notify_all()

    def _forward(self, request: Request) -> "tuple[str, str]":
        arguments = {
            "name": request.name,
            "ip": request.ip,
            "groups": request.groups,
            "key_hash": request.key_hash,
        }
        message = {
            "daemon_name": "authd",
            "message": {
                "function": "add",
                "arguments": {
                    word: value for word, value in arguments.items() if value is not None
                },
            },
        }
        self.home.log("INFO", "Dispatching request to master node")
        answer = json.loads(self._cluster(json.dumps(message).encode()))
        if answer.get("error"):
            raise RefusedError(f"ERROR: {answer.get('message')}")
        return answer["data"]["id"], answer["data"]["key"]

    def _cluster(self, payload: bytes) -> bytes:
        for attempt in range(ATTEMPTS):
            if attempt and stopping.wait(scaled(1)):
                break
            try:
                answer = self._ask_cluster(attempt, payload)
            except TimeoutError:
                break
            if answer is not None:
                return answer
        self.home.log(
            "WARNING",
            f"Could not send message through the cluster after '{ATTEMPTS}' attempts.",
        )
        # The word is misspelt in the real answer.
        raise RefusedError("ERROR: Cannot comunicate with master")  # codespell:ignore

    def _ask_cluster(self, number: int, payload: bytes) -> bytes | None:
        """Return the master's answer, None where nobody takes the question."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(scaled(ANSWER_SECONDS))
                connection.connect(str(self.home / "queue/cluster/c-internal.sock"))
                frames.send_command(connection, number, b"sendsync", payload)
                _, command, data = frames.receive_command(connection)
        except TimeoutError:
            raise
        except OSError:
            return None
        return None if command == b"err" else data

    def _local(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(scaled(60))
            request = frames.receive_sized(connection)
            if stopping.is_set():
                return
            frames.send_sized(connection, json.dumps(self._dispatch(request)).encode())

    def _dispatch(self, request: bytes) -> "dict[str, object]":
        try:
            if self.worker:
                raise LocalRefusedError(9015)
            return {"error": 0, "data": self._perform(json.loads(request))}
        except LocalRefusedError as error:
            self.home.log("ERROR", f"ERROR {error.code}: {error}.")
            return {"error": error.code, "message": str(error)}
        except ValueError:
            return {"error": 9002, "message": "Parsing JSON input"}

    def _perform(self, message: "dict[str, object]") -> object:
        arguments = message.get("arguments")
        if not isinstance(arguments, dict):
            raise LocalRefusedError(9004)
        store = self.registrar.store
        with self.changed:
            if message.get("function") == "add":
                before = set(store.agents)
                agent = self.registrar.add(arguments)
                self._note(agent.id, arguments.get("groups"), before)
                return agent.__dict__
            identity = str(arguments.get("id"))
            if identity not in store.agents:
                raise LocalRefusedError(9011)
            if message.get("function") == "get":
                return store.agents[identity].__dict__
            if message.get("function") != "remove":
                raise LocalRefusedError(9003)
            store.remove(identity, purge=bool(arguments.get("purge")))
            self.gone.append(identity)
            self.dirty = True
            self.changed.notify_all()
        return "Agent deleted successfully."

    def _write_for_ever(self) -> None:
        while not stopping.is_set():
            with self.changed:
                while not self.dirty and not stopping.is_set():
                    self.changed.wait()
            self._write()
            # Who is acknowledged from here on is written only by the next round: a stop
            # in between loses these agents (run_writer).
            stopping.wait(scaled(write_seconds()))

    def _write(self) -> None:
        with self.changed:
            keys, dates = self.registrar.store.text(), self.registrar.store.dates_text()
            added, self.pending = self.pending, []
            gone, self.gone = self.gone, []
            self.dirty = False
        try:
            replace_file(self.home / "etc/client.keys", keys, 0o640)
            replace_file(self.home / "queue/agents-timestamp", dates, 0o640)
        except OSError as error:
            self.home.log("ERROR", f"Couldn't write file client.keys: {error}")
            pause(1)
        for agent in added:
            self._database(f"global insert-agent {json.dumps(agent)}")
        for identity in gone:
            self._database(f"global delete-agent {int(identity)}")

    def _database(self, query: str) -> None:
        for _ in range(5):
            with suppress(OSError):
                frames.ask(self.home / "queue/db/wdb", query.encode(), scaled(20))
                return
            if stopping.wait(scaled(1)):
                return


def write_seconds() -> float:
    """Return how long the writer is busy, in real seconds; an environment value changes it."""
    return float(os.environ.get("WAZUH_STAND_IN_WRITE_SECONDS", WRITE_SECONDS))


def _bind(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise ConfigurationError(
            f"(1206): Unable to Bind port '{port}' due to [({error.errno})-({error.strerror})]"
        ) from None


def _tls(home: Home, block: Node) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(
            home / block.value("ssl_manager_cert", "etc/sslmanager.cert"),
            home / block.value("ssl_manager_key", "etc/sslmanager.key"),
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"SSL error. Exiting. ({error})") from None
    return context


def _password(home: Home) -> str:
    path = home / "etc/authd.pass"
    if path.is_file():
        text = path.read_text().partition("\n")[0]
        if len(text) < 2:
            raise ConfigurationError("Empty password provided.")
        home.log("INFO", "Accepting connections. Using password specified on file: etc/authd.pass")
        return text
    text = os.urandom(16).hex()
    # The real one prints it as well (main-server.c).
    home.log(
        "INFO", f"Accepting connections. Random password chosen for agent authentication: {text}"
    )
    return text
