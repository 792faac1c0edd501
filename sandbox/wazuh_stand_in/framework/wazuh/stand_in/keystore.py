"""etc/client.keys in memory, as authd holds and writes it (src/shared keystore rules)."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from .home import belongs_to_wazuh


@dataclass(frozen=True)
class Agent:
    """One enrolled agent."""

    id: str
    name: str
    ip: str
    key: str

    def line(self, mark: str = "") -> str:
        """Return the agent's line in client.keys."""
        return f"{self.id} {mark}{self.name} {self.ip} {self.key}\n"


class KeyStore:
    """The agents, the removed ones, and the highest id ever read or given."""

    def __init__(self, *, keep_removed: bool):
        self.agents: dict[str, Agent] = {}
        self.removed: list[str] = []
        self.dates: dict[str, float] = {}
        self.highest = 0
        self.keep_removed = keep_removed

    def read(self, text: str, now: float) -> None:
        """Take in a client.keys; removed lines count only where they are kept (purge no)."""
        for line in text.splitlines():
            words = line.split()
            if len(words) < 4 or not words[0].isdigit():
                continue
            if words[1][0] in "!#":
                if self.keep_removed:
                    self.removed.append(line.strip() + "\n")
                    self.highest = max(self.highest, int(words[0]))
                continue
            self.agents[words[0]] = Agent(*words[:4])
            self.dates[words[0]] = now
            self.highest = max(self.highest, int(words[0]))

    def read_dates(self, text: str) -> None:
        """Take in queue/agents-timestamp: when each agent was added."""
        for line in text.splitlines():
            words = line.split()
            if len(words) == 5 and words[0] in self.agents:
                stamp = time.strptime(f"{words[3]} {words[4]}", "%Y-%m-%d %H:%M:%S")
                self.dates[words[0]] = time.mktime(stamp)

    def add(
        self, name: str, ip: str, identity: "str | None", key: "str | None", now: float
    ) -> Agent:
        """Add an agent; without an id it gets the next after the highest."""
        identity = identity or f"{self.highest + 1:03d}"
        agent = Agent(identity, name, ip, key or secrets.token_hex(32))
        self.agents[identity] = agent
        self.dates[identity] = now
        self.highest = max(self.highest, int(identity))
        return agent

    def remove(self, identity: str, *, purge: bool) -> Agent:
        """Take an agent out; without purge its line stays, marked with `!`."""
        agent = self.agents.pop(identity)
        self.dates.pop(identity, None)
        if self.keep_removed and not purge:
            self.removed.append(agent.line("!"))
        return agent

    def named(self, name: str) -> "Agent | None":
        """Return the agent of that name."""
        return next((agent for agent in self.agents.values() if agent.name == name), None)

    def at(self, ip: str) -> "Agent | None":
        """Return the agent of that address; `any` is nobody's."""
        if ip == "any":
            return None
        return next((agent for agent in self.agents.values() if agent.ip == ip), None)

    def text(self) -> str:
        """Return client.keys as it is written: agents first, then the removed."""
        return "".join(agent.line() for agent in self.agents.values()) + "".join(self.removed)

    def dates_text(self) -> str:
        """Return queue/agents-timestamp as it is written."""
        return "".join(
            f"{agent.id} {agent.name} {agent.ip} "
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.dates[agent.id]))}\n"
            for agent in self.agents.values()
        )


def replace_file(path: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all; raise OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    belongs_to_wazuh(draft, mode)
    draft.replace(path)
