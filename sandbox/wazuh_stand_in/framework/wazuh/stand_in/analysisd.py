"""analysisd: loads the rules, takes lines from logcollector, writes archives and alerts."""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from . import configuration, frames, ruleset
from .configuration import ConfigurationError
from .home import Home, belongs_to_wazuh
from .process import stopping
from .serving import accept

COMMANDS = ("getstats", "getconfig", "reload-ruleset")


def check(home: Home) -> bool:
    """Load the rules once, so that broken ones are refused by -t."""
    ruleset.load(home.path, configuration.read(home / "etc/ossec.conf"))
    return True


def serve(home: Home) -> int:
    """Analyse until told to stop."""
    engine = Engine(home)
    server = frames.listen_unix(home / "queue/sockets/analysis")
    queue = _queue(home / "queue/sockets/queue")
    accept(server, engine.converse)
    threading.Thread(target=engine.receive, args=(queue,), daemon=True).start()
    stopping.wait()
    server.close()
    return 0


def _queue(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        path.unlink()
    queue = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    queue.bind(str(path))
    belongs_to_wazuh(path, 0o660)
    return queue


class Engine:
    """The rules in force, and the logs that lines end up in."""

    def __init__(self, home: Home):
        self.home = home
        self.settings = configuration.read(home / "etc/ossec.conf")
        self.rules = ruleset.load(home.path, self.settings)
        self.reloads = self.events = self.alerts = 0
        block = configuration.Cluster(
            self.settings.find("cluster") or configuration.Node("cluster")
        )
        self.cluster = {"name": block.name, "node": block.node}
        self._report()

    def _report(self) -> None:
        numbers = " ".join(str(number) for number in sorted(self.rules))
        self.home.log("INFO", f"Total rules enabled: '{len(self.rules)}'")
        self.home.log("INFO", f"rules loaded (reloads: {self.reloads}): {numbers}")
        self._state()

    def _state(self) -> None:
        with suppress(OSError):
            (self.home / "var/run/wazuh-analysisd.state").write_text(
                f"# State file for wazuh-analysisd (stand-in)\nevents_received='{self.events}'\n"
                f"alerts_written='{self.alerts}'\nrules_loaded='{len(self.rules)}'\n"
                f"ruleset_reloads='{self.reloads}'\n"
            )

    def converse(self, connection: socket.socket) -> None:
        """Answer one request; the real one ends the connection after it."""
        request = frames.receive_sized(connection)
        frames.send_sized(connection, json.dumps(self.answer(request)).encode())

    def answer(self, request: bytes) -> "dict[str, object]":
        """Return the answer to a request (src/analysisd/asyscom.c)."""
        try:
            message = json.loads(request)
        except ValueError:
            return {"error": 2, "message": "Invalid JSON input", "data": {}}
        command = message.get("command") if isinstance(message, dict) else None
        if command == "reload-ruleset":
            return self.reload()
        if command == "getstats":
            return {
                "error": 0,
                "message": "ok",
                "data": {
                    "events": self.events,
                    "alerts": self.alerts,
                    "rules": sorted(self.rules),
                    "reloads": self.reloads,
                },
            }
        if command is None:
            return {"error": 3, "message": "Empty command", "data": {}}
        return {"error": 4, "message": "Unrecognized command", "data": {}}

    def reload(self) -> "dict[str, object]":
        """Load the rules anew; broken ones are refused and the old stay in force."""
        try:
            settings = configuration.read(self.home / "etc/ossec.conf")
            rules = ruleset.load(self.home.path, settings)
        except ConfigurationError as error:
            self.home.log("ERROR", str(error))
            return {"error": 1, "message": "due", "data": [f"ERROR: {error}"]}
        self.rules = rules
        self.reloads += 1
        self.home.log("INFO", "Ruleset reloaded successfully")
        self._report()
        return {"error": 0, "message": "ok", "data": []}

    def receive(self, queue: socket.socket) -> None:
        """Take lines (`1:location:line`) until the end."""
        while not stopping.is_set():
            data = queue.recv(65536).decode(errors="replace")
            _, _, rest = data.partition(":")
            location, _, line = rest.partition(":")
            self.analyse(location.replace("|:", ":"), line)

    def analyse(self, location: str, line: str) -> None:
        """Write a line to the archives, and an alert where a rule asks for one."""
        self.events += 1
        rule = ruleset.meet(self.rules, line)
        event = self._event(location, line)
        stamp = time.strftime("%Y %b %d %H:%M:%S")
        if self.settings.value("global", "logall", "no") == "yes":
            self.home.append(
                "logs/archives/archives.log",
                f"{stamp} {event['manager']['name']}->{location} {line}\n",
            )
        if rule:
            event["rule"] = {
                "level": rule.level,
                "description": rule.description,
                "id": str(rule.id),
                "groups": list(rule.groups),
            }
        if self.settings.value("global", "logall_json", "no") == "yes":
            self.home.append("logs/archives/archives.json", json.dumps(event) + "\n")
        if rule and rule.level >= int(self.settings.value("alerts", "log_alert_level", "3")):
            self._alert(rule, event, stamp)
        self._state()

    def _event(self, location: str, line: str) -> dict:
        return {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000%z"),
            "agent": {"id": "000", "name": socket.gethostname()},
            "manager": {"name": socket.gethostname()},
            "cluster": self.cluster,
            "id": f"{time.time():.0f}.{self.events}",
            "full_log": line,
            "decoder": {},
            "location": location,
            "stand_in": os.getpid(),
        }

    def _alert(self, rule: ruleset.Rule, event: dict, stamp: str) -> None:
        self.alerts += 1
        self.home.append(
            "logs/alerts/alerts.log",
            f"** Alert {event['id']}: - {','.join(rule.groups)}\n{stamp} "
            f"{event['manager']['name']}->{event['location']}\nRule: {rule.id} "
            f"(level {rule.level}) -> '{rule.description}'\n{event['full_log']}\n\n",
        )
        if self.settings.value("global", "jsonout_output", "yes") == "yes":
            self.home.append("logs/alerts/alerts.json", json.dumps(event) + "\n")
