"""wazuh-db: queue/db/wdb answers queries on the agents of queue/db/global.db."""

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import suppress

from . import configuration, frames
from .home import Home
from .process import stopping
from .serving import accept

LINKED = ("etc", "logs", "backup", "var/multigroups")
#: The real table's columns (src/wazuh_db/schema_global.sql), which a real API asks for.
SCHEMA = """
CREATE TABLE IF NOT EXISTS agent (id INTEGER PRIMARY KEY, name TEXT NOT NULL, ip TEXT,
  register_ip TEXT, internal_key TEXT, os_name TEXT, os_version TEXT, os_major TEXT, os_minor TEXT,
  os_codename TEXT, os_build TEXT, os_platform TEXT, os_uname TEXT, os_arch TEXT, version TEXT,
  config_sum TEXT, merged_sum TEXT, manager_host TEXT, node_name TEXT DEFAULT 'unknown',
  date_add INTEGER, last_keepalive INTEGER, "group" TEXT, group_hash TEXT,
  group_config_status TEXT DEFAULT 'not synced', sync_status TEXT DEFAULT 'synced',
  connection_status TEXT DEFAULT 'never_connected', disconnection_time INTEGER DEFAULT 0,
  status_code INTEGER DEFAULT 0);
"""


def check(home: Home) -> bool:
    """Read the configuration as every daemon does."""
    configuration.read(home / "etc/ossec.conf")
    return True


def serve(home: Home) -> int:
    """Answer until told to stop."""
    for name in LINKED:
        path = home / name
        if path.is_symlink() and path.readlink().is_absolute():
            # The real one changes its root and then dies of the link that leads nowhere.
            os.kill(os.getpid(), signal.SIGSEGV)
    database = Database(home)
    server = frames.listen_unix(home / "queue/db/wdb")
    accept(server, database.converse)
    stopping.wait()
    server.close()
    return 0


class Database:
    """The agents' table, and the queries understood."""

    def __init__(self, home: Home):
        self.home = home
        self.lock = threading.Lock()
        self.session = sqlite3.connect(
            home / "queue/db/global.db", check_same_thread=False, isolation_level=None
        )
        self.session.execute("PRAGMA journal_mode = WAL")
        self.session.executescript(SCHEMA)

    def converse(self, connection: socket.socket) -> None:
        """Answer one client's queries until it goes."""
        while not stopping.is_set():
            query = frames.receive_sized(connection).decode(errors="replace")
            with self.lock:
                answer = self.answer(query)
            frames.send_sized(connection, answer.encode())

    def answer(self, query: str) -> str:
        """Return `ok …` or `err …`."""
        if query.startswith("{"):
            return json.dumps({"error": 0, "message": "ok", "data": {"uptime": int(time.time())}})
        actor, _, rest = query.partition(" ")
        if actor in ("agent", "mitre", "task", "wazuhdb"):
            return "ok"
        if actor != "global":
            return f"err Invalid DB query actor: {actor}"
        command, _, value = rest.partition(" ")
        handler = {
            "sql": self._sql,
            "insert-agent": self._insert,
            "delete-agent": self._delete,
            "set-agent-groups": self._groups,
            "update-agent-data": self._report,
        }.get(command)
        if handler is None:
            return f"err Invalid DB query syntax, near '{command[:32]}'"
        try:
            return handler(value)
        except (sqlite3.Error, ValueError) as error:
            return f"err Cannot execute Global database query; {error}"

    def _sql(self, query: str) -> str:
        cursor = self.session.execute(query)
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        # As the real one does, columns without a value are left out (wdb.c, wdb_exec_row_stmt).
        return "ok " + json.dumps(
            [{name: value for name, value in row.items() if value is not None} for row in rows]
        )

    def _insert(self, value: str) -> str:
        agent = json.loads(value)
        self.session.execute(
            "INSERT OR REPLACE INTO agent (id, name, register_ip, internal_key, "
            "\"group\", date_add, connection_status) VALUES (?, ?, ?, ?, ?, ?, 'never_connected')",
            (
                agent["id"],
                agent["name"],
                agent.get("register_ip"),
                agent.get("internal_key"),
                agent.get("group"),
                int(time.time()),
            ),
        )
        return "ok"

    def _report(self, value: str) -> str:
        agent = json.loads(value)
        names = ("connection_status", "node_name", "sync_status", "id")
        self.session.execute(
            "INSERT OR IGNORE INTO agent (id, name, date_add) VALUES (?, '', strftime('%s') + 0)",
            (agent["id"],),
        )
        self.session.execute(
            "UPDATE agent SET connection_status = ?, node_name = ?, sync_status = ?, "
            "last_keepalive = strftime('%s') + 0 WHERE id = ?",
            [agent[name] for name in names],
        )
        return "ok"

    def _delete(self, value: str) -> str:
        self.session.execute("DELETE FROM agent WHERE id = ?", (int(value),))
        return "ok"

    def _groups(self, value: str) -> str:
        for agent in json.loads(value):
            with suppress(sqlite3.IntegrityError):
                self.session.execute(
                    "INSERT OR IGNORE INTO agent (id, name) VALUES (?, ?)",
                    (agent["id"], agent["name"]),
                )
            self.session.execute(
                'UPDATE agent SET "group" = ? WHERE id = ?', (agent["group"], agent["id"])
            )
        return "ok"
