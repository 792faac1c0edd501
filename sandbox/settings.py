"""Where the parts of one model lie, and how it was started: written once, read by the server."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

CHARM_USER = 170


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a server needs to know; paths are absolute."""

    model: str
    project: str
    home: str
    programs: str
    venv: str
    python: str
    factor: float
    single: bool
    """Whether the namespace has one uid only."""
    wazuh: str | None = None
    parallel: int = 2
    seed: int = 0
    commit_mode: str = "4"
    order: tuple[int, ...] = ()
    """Numbers of units in the order in which their first pods start; without it all at once."""

    def write(self) -> None:
        """Leave the settings where `read` finds them."""
        (Path(self.home) / "settings.json").write_text(json.dumps(asdict(self), indent=1))

    @property
    def workload(self) -> str:
        """Name what runs in place of Wazuh."""
        return f"Wazuh from {self.wazuh}" if self.wazuh else "a stand-in for Wazuh"


def read(home: Path) -> Settings:
    """Return the settings of the model whose directory is `home`."""
    found = json.loads((home / "settings.json").read_text())
    return Settings(**found | {"order": tuple(found["order"])})
