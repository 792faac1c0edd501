"""What people make through the API, on one volume: Wazuh's own users and the newest copy."""

import json
from dataclasses import dataclass, field

from supervisor import machine, rbac


@dataclass(slots=True)
class People:
    """The users in this volume's rbac.db, and the newest copy of any master's."""

    made: frozenset[str] = frozenset()
    copy: rbac.Copy | None = field(default=None, repr=False)

    @property
    def edition(self) -> machine.Edition:
        """Which copy is held."""
        return self.copy.edition if self.copy else machine.Edition()

    def take(self, memory: machine.Memory, node: str) -> None:
        """Copy this unit's own where it is the last that served as master, if they changed."""
        if not is_newest(memory, node):
            return
        same_epoch = self.edition.epoch == memory.served
        counter = self.edition.counter if same_epoch else 0
        content = json.dumps(sorted(self.made)).encode()
        if not (counter and self.copy and self.copy.database == content):
            self.keep(rbac.Copy(machine.Edition(memory.served, counter + 1), content, None))

    def keep(self, copy: rbac.Copy | None) -> None:
        """Keep a copy if it is newer."""
        if copy is not None and copy.edition > self.edition:
            self.copy = copy

    def inherit(self, memory: machine.Memory, node: str) -> None:
        """Begin from the newest copy, unless this unit itself was the last master."""
        if self.copy is not None and not is_newest(memory, node):
            self.made = frozenset(json.loads(self.copy.database))

    def dump(self) -> str | None:
        """Write the copy as it goes into `master-state`."""
        if self.copy is None:
            return None
        epoch, counter = self.edition.epoch, self.edition.counter
        return json.dumps([epoch, counter, self.copy.database.decode()])

    def load(self, text: str | None) -> None:
        """Keep what `master-state` held, if it is newer."""
        if text is not None:
            epoch, counter, content = json.loads(text)
            self.keep(rbac.Copy(machine.Edition(epoch, counter), content.encode(), None))


def is_newest(memory: machine.Memory, node: str) -> bool:
    """Tell whether this unit was the last to take over, as far as anybody has said."""
    return memory.served > 0 and memory.serving == machine.Term(memory.served, node)
