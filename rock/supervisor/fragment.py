"""Which daemons read which block of the part for ossec.conf, so that no other starts again.

Wazuh 4.14: src/config/config.c says which reader takes a block, and the daemons' own config.c
which readers they ask for. A block that several daemons read, or that is not known here, is
everybody's; so is a text that is no strict XML.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

_ALONE = {
    "agentless": "wazuh-agentlessd",
    "email_alerts": "wazuh-maild",
    "integration": "wazuh-integratord",
    "localfile": "wazuh-logcollector",
    "reports": "wazuh-monitord",
    "rootcheck": "wazuh-syscheckd",
    "syslog_output": "wazuh-csyslogd",
    # What modulesd alone runs.
    "fluent-forward": "wazuh-modulesd",
    "gcp-bucket": "wazuh-modulesd",
    "gcp-pubsub": "wazuh-modulesd",
    "github": "wazuh-modulesd",
    "ms-graph": "wazuh-modulesd",
    "office365": "wazuh-modulesd",
    "sca": "wazuh-modulesd",
    "vulnerability-detection": "wazuh-modulesd",
    "wodle": "wazuh-modulesd",
}
#: A wodle that authd reads.
_KEY_POLLING = "agent-key-polling"
#: The name of what all daemons are to be started again for.
ALL = ""


def parts(text: bytes) -> Mapping[str, bytes]:
    """Give what each daemon alone reads, and under `ALL` the rest; comments count for nobody."""
    reader = _Reader(b"<all>%b</all>" % text)
    try:
        reader.parser.Parse(reader.text, True)
    except expat.ExpatError:
        return {ALL: text}
    return reader.found


class _Reader:
    """Cuts a text at the blocks within its roots."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.found: dict[str, bytes] = {}
        self._depth = 0
        self._daemon, self._begin, self._head = ALL, 0, b""
        self.parser = expat.ParserCreate(encoding="utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth == 3:
            whose = ALL if _KEY_POLLING in attributes.values() else _ALONE.get(name, ALL)
            self._daemon, self._begin = whose, self.parser.CurrentByteIndex
            self._head = repr((name, sorted(attributes.items()))).encode()

    def _end(self, _name: str) -> None:
        if self._depth == 3:
            block = self._head + self.text[self._begin : self.parser.CurrentByteIndex]
            self.found[self._daemon] = self.found.get(self._daemon, b"") + block
        self._depth -= 1
