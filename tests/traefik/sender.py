"""A real rsyslog on the clients' host that sends what is written to a file."""

import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.driver import Driver

_PAGE = Path(__file__).parents[2] / "docs/how-to/senders.md"
_INPUT = """
global(workDirectory="{folder}")
module(load="imfile")
input(type="imfile" file="{folder}/lines" tag="through-traefik:")
"""


def documented(folder: Path, target: str, receiver: str) -> str:
    """Return the configuration that the page about senders shows, for this place and target."""
    (shown,) = re.findall(r"```text\n(global\(.*?)```", _PAGE.read_text(), re.DOTALL)
    text, names = re.subn(r'PermittedPeers="[^"]+"', f'PermittedPeers="{receiver}"', shown)
    text, targets = re.subn(r' target="[^"]+"', f' target="{target}"', text)
    assert names == targets == 1
    return text.replace("/etc/ssl/wazuh", str(folder))


@dataclass
class Sender:
    """An rsyslogd with a certificate of its own."""

    driver: Driver
    target: str
    pair: Mapping[str, str]
    written: dict[str, float] = field(default_factory=dict)
    """Line to when it was written."""
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def _folder(self) -> Path:
        return self.driver.scratch / "sender"

    def start(self) -> None:
        """Write its files, and start it."""
        folder = self._folder
        folder.mkdir()
        for name, part in {
            "ca.pem": "authority",
            "firewall.pem": "certificate",
            "firewall.key": "private-key",
        }.items():
            (folder / name).write_text(self.pair[part])
        (folder / "lines").touch()
        receiver = f"wazuh-server.{self.driver.model}.svc.cluster.local"
        settings = _INPUT.format(folder=folder) + documented(folder, self.target, receiver)
        (folder / "rsyslog.conf").write_text(settings)
        words = (
            f'exec rsyslogd -n -f "{folder}/rsyslog.conf" -i "{folder}/pid" > "{folder}/log" 2>&1'
        )
        self._process = self.driver.start_client(["sh", "-c", words])

    def write(self, line: str) -> None:
        """Have it send a line."""
        with (self._folder / "lines").open("a") as lines:
            lines.write(f"{line}\n")
        self.written[line] = time.monotonic()

    def said(self) -> str:
        """Return what it had to say."""
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
