"""A worker: connects to its master, takes its files, forwards what only the master may do."""

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

from . import agents, frames, integrity
from .clusterlocal import LocalServer, Node, Peer
from .home import VERSION, scaled
from .link import ClusterError, Link
from .process import fork_child, stopping

CHECK_SECONDS = 9
RETRY_SECONDS = 10
AGENTS_SECONDS = 10
KEEP_ALIVE_SECONDS = 60
FAILED_KEEP_ALIVES = 2
NO_ANSWER = 3020
FORWARDED = (b"get_nodes", b"get_health")


class Worker(Node):
    """The worker's end of the cluster."""

    title = "Worker"
    link: "Link | None" = None

    def start(self) -> None:
        """Try to connect, for ever."""
        fork_child(self.home, "wazuh-clusterd_child")
        self.title = f"Worker {self.settings.node}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not stopping.is_set():
            self.local = LocalServer(self)
            link = self._connect()
            if link is None:
                return
            self._follow(link)
            # Until the next try nobody on this node is answered: connection refused.
            self.link = None
            self.local.close()
            self.log(
                "INFO", "Main", "Connection with server has been lost. Reconnecting in 10 seconds."
            )
            stopping.wait(scaled(RETRY_SECONDS))

    def _connect(self) -> "Link | None":
        while not stopping.is_set():
            try:
                # The name is looked up at each try, so that it may be pointed elsewhere.
                connection = socket.create_connection(
                    (self.settings.nodes[0], self.settings.port), timeout=scaled(130)
                )
            except OSError as error:
                reason = "" if isinstance(error, ConnectionRefusedError) else f": {error}"
                self.log(
                    "ERROR",
                    "Main",
                    f"Could not connect to master{reason}. Trying again in 10 seconds.",
                )
                stopping.wait(scaled(RETRY_SECONDS))
                continue
            connection.settimeout(None)
            return Link(connection, self.settings.key, self._asked)
        return None

    def _follow(self, link: Link) -> None:
        self.link = link
        threading.Thread(target=link.serve, daemon=True).start()
        try:
            link.ask(
                "hello",
                node=self.settings.node,
                cluster=self.settings.name,
                type=self.settings.kind,
                version=VERSION,
            )
            self.log("INFO", "Main", "Successfully connected to master.")
            for work in (self._keep_alive, self._send_agents):
                threading.Thread(target=work, args=(link,), daemon=True).start()
            self._check_for_ever(link)
        except ClusterError as error:
            self.log("ERROR", "Main", f"Could not connect to master: {error}.")
        link.close()
        self.log("INFO", "Main", "The master closed the connection")

    def _check_for_ever(self, link: Link) -> None:
        while not link.lost.wait(scaled(CHECK_SECONDS)):
            self._check(link)

    def _check(self, link: Link) -> None:
        try:
            files, surplus = self._take(link)
        except (ClusterError, OSError) as error:
            self.log("ERROR", "Integrity check", f"Error synchronizing: {error}")
        except integrity.PathNotAllowedError as error:
            self.log("ERROR", "Integrity sync", f"Error 3027 - {error}")
        else:
            if files or surplus:
                self.log(
                    "INFO", "Integrity sync", f"Finished: {files} files taken, {surplus} deleted."
                )

    def _take(self, link: Link) -> tuple[int, int]:
        home = self.home.path
        answer = link.ask("integrity", digests=integrity.digests(home))
        integrity.apply(home, answer["files"], answer["surplus"])
        return len(answer["files"]), len(answer["surplus"])

    def _send_agents(self, link: Link) -> None:
        """Tell the master which agents report here (worker.py, sync_agent_info)."""
        while not link.lost.wait(scaled(AGENTS_SECONDS)):
            with suppress(ClusterError):
                link.ask("agents", agents=agents.news(self.home))

    def _keep_alive(self, link: Link) -> None:
        failed = 0
        while not link.lost.is_set():
            try:
                link.ask("keepalive")
                failed = 0
            except ClusterError as error:
                self.log("ERROR", "Keep Alive", f"Error sending keep alive: {error}")
                failed += 1
            if failed >= FAILED_KEEP_ALIVES:
                self.log(
                    "ERROR",
                    "Keep Alive",
                    "Maximum number of failed keep alives reached. Disconnecting.",
                )
                link.close()
            link.lost.wait(scaled(KEEP_ALIVE_SECONDS))

    def _asked(self, _link: Link, message: dict) -> dict:
        if message["kind"] == "groups":
            query = "global set-agent-groups " + json.dumps(message["groups"])
            self._quietly(self.home / "queue/db/wdb", query.encode())
            return {}
        if message["kind"] == "reconnect":
            return {"failed": agents.reconnect(self.home, message["agents"])}
        if message["kind"] == "reload":
            from .ruleset import ask_reload

            return {"answer": ask_reload(self.home)}
        raise ClusterError(3027)

    def _quietly(self, path: Path, payload: bytes) -> None:
        try:
            frames.ask(path, payload, scaled(10))
        except OSError as error:
            self.log("ERROR", "Agent-groups recv", f"wazuh-db does not answer: {error}")

    def answer(self, peer: Peer, command: bytes, data: bytes) -> "tuple[bytes, bytes] | None":
        """Forward to the master what it must decide; raise ClusterError 3023 without one."""
        if command not in (*FORWARDED, b"sendsync", b"dapi"):
            return super().answer(peer, command, data)
        if self.link is None:
            raise ClusterError(3023)
        threading.Thread(
            target=self._forward, args=(self.link, peer, command, data), daemon=True
        ).start()
        if command == b"sendsync":
            return None
        if command == b"dapi":
            return b"ok", b"Added request to API requests queue"
        return b"ok", b"Sent request to master node"

    def _forward(self, link: Link, peer: Peer, command: bytes, data: bytes) -> None:
        reply = {b"sendsync": b"ok"}.get(command, b"control_res")
        try:
            answer = link.ask(command.decode(), data=data.decode())["answer"].encode()
        except ClusterError as error:
            self.log("ERROR", "Local Server", str(error))
            # Who waits for an answer that never comes is not told: it has a limit of its own.
            if error.code != NO_ANSWER:
                peer.tell(b"err" if command == b"sendsync" else reply, error.encoded())
            return
        peer.tell(reply, answer)
