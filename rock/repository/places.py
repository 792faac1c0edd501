"""Where things lie and how much of them is taken."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024
REPOSITORY = "custom-config-repository"
SSH_KEY = "custom-config-ssh-key"
KNOWN_HOSTS = "custom-config-known-hosts"


class RefusedError(Exception):
    """Why a repository is not taken, as one short sentence fit for a status line.

    `option` names the charm's option that has to be set right.
    """

    def __init__(self, sentence: str, option: str = REPOSITORY):
        super().__init__(sentence)
        self.option = option


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one run.

    `request` is written by the charm; `home` belongs to the fetching user and holds one
    directory per fetched commit, and `result.json`; `socket` is Pebble's.
    """

    request: Path = Path("/etc/wazuh-server/repository.json")
    home: Path = Path("/var/lib/wazuh-repository")
    socket: Path = Path("/charm/container/pebble.socket")

    @property
    def key(self) -> Path:
        """The private key for ssh."""
        return self.request.with_suffix(".key")

    @property
    def known_hosts(self) -> Path:
        """The public keys that ssh servers may have."""
        return self.request.with_suffix(".known_hosts")

    @property
    def result(self) -> Path:
        """What the charm reads after the notice."""
        return self.home / "result.json"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run takes at most (seconds) and how much it takes in (bytes, files)."""

    seconds: float = 60
    stall_seconds: int = 15
    pack_bytes: int = 64 * MEBIBYTE
    memory_bytes: int = 1024 * MEBIBYTE
    listing_bytes: int = 8 * MEBIBYTE
    entries: int = 20_000
    files: int = 2_000
    file_bytes: int = 8 * MEBIBYTE
    total_bytes: int = 32 * MEBIBYTE
