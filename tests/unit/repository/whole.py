"""The whole way of a configuration: the charm's option, the fetching, the checks, the status.

Real: the charm's hooks, Git and its servers, the fetcher, the supervisor's keeper. Juju and
Pebble are ops.testing's; of Wazuh there is analysisd's socket, and a `-t` that refuses rule 0.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ops
from ops import testing
from repository.places import Limits, Places
from repository.run import run
from supervisor import places as supervisor_places
from supervisor.ruleset import Duty, Keeper

from tests.unit.charm.world import Unit
from tests.unit.supervisor.analysis import Analysis, install_check, lay_out, texts

REPOSITORY = "custom-config-repository"
KNOWN_HOSTS = "custom-config-known-hosts"
SSH_KEY = "custom-config-ssh-key"
_REQUEST = "/etc/wazuh-server/repository.json"
#: What names the wish and its outcome; everything else is what runs.
_TOLD = ("repository.", "applied.json", "desired.json")


@dataclass
class Whole:
    """A master, its fetcher and its supervisor's keeper; one turn of each follows each hook."""

    unit: Unit
    places: supervisor_places.Places
    limits: Limits = field(default_factory=lambda: Limits(seconds=30))
    analysis: Analysis = field(init=False)
    keeper: Keeper = field(init=False)
    now: float = 0.0
    cost: tuple[int, int] = (0, 0)
    """Hook tools and Pebble requests of the hook that began the last turn."""

    def __post_init__(self) -> None:
        lay_out(self.places)
        install_check(
            self.places,
            "wazuh-analysisd",
            'for file in "$home"/etc/rules/*.xml; do\n'
            '  if grep -q "rule id=.0." "$file"; then\n'
            '    echo "wazuh-analysisd: CRITICAL: (1220): Error loading the rules: $file"\n'
            "    exit 1\n"
            "  fi\n"
            "done",
        )
        self.analysis = Analysis(self.places)
        self.keeper = Keeper(self.places, {"PATH": "/usr/bin:/bin"})

    def set(self, options: Mapping[str, str | None], secret: Mapping[str, str] | None = None):
        """Set and reset options as `juju config` does, with a user's secret for ssh."""
        config = dict(self.unit.state.config)
        if secret is not None:
            made = testing.Secret(dict(secret), owner=None)
            self.unit.configure(secrets={*self.unit.state.secrets, made})
            config[SSH_KEY] = made.id
        for name, value in options.items():
            config.pop(name, None)
            if value is not None:
                config[name] = value
        self.unit.configure(config=config)
        self.turn("config_changed")

    def turn(self, event: str) -> None:
        """Play a hook, and what it leads to until all is quiet."""
        self.unit.run(event)
        self.cost = (sum(self.unit.tools.values()), self.unit.requests)
        if self.unit.calls["start_services"]:
            self._fetch()
        self._keep()

    def _fetch(self) -> None:
        request = self.unit.path(_REQUEST)
        home = self.unit.path("/var/lib/wazuh-repository")
        run(Places(request, home, self.places.home / "no-pebble"), self.limits)
        self.unit.stop("repository")
        self.unit.notice("wazuh-server.local/repository")

    def _keep(self) -> None:
        told = self.unit.desired["ruleset"]
        wanted = (told["commit"] or "none") if told else self.keeper.offer
        self.now += 100
        self.keeper.look(Duty(True, wanted, lambda: True), self.now, running=True)
        report = self.keeper.report
        ruleset = {"commit": report.commit, "error": report.error, "mended": report.mended}
        self.unit.report(ruleset=ruleset)
        self.unit.notice("wazuh-server.local/state")

    @property
    def said(self) -> str:
        """What the unit's status says, with its name."""
        status = self.unit.status
        return f"{status.name}: {status.message}"

    @property
    def commit(self) -> str | None:
        """The commit that the status says is in place."""
        _, found, rest = self.unit.status.message.partition("configuration ")
        active = isinstance(self.unit.status, ops.ActiveStatus)
        return rest[:12] if active and found else None

    def service(self) -> str:
        """All that runs and that it reads: equal means untouched."""
        given = {
            path: text
            for path, text in self.unit.files().items()
            if not path.rpartition("/")[2].startswith(_TOLD)
        }
        # The digest of all options moves with any of them, and what is wished for is no fact yet.
        told = ("inputs", "ruleset")
        orders = {name: value for name, value in self.unit.desired.items() if name not in told}
        plan = self.unit.container.plan.services["wazuh"].to_dict()
        loads = len(self.analysis.loads)
        return json.dumps([given, orders, plan, texts(self.places), loads], sort_keys=True)

    def close(self) -> None:
        """Let analysisd go."""
        self.analysis.close()


def make(unit: Unit, folder: Path) -> Whole:
    """Put a deployed master together with a home of Wazuh's and what it fetches into."""
    home = supervisor_places.Places(
        home=folder / "ossec",
        image=folder / "image",
        repository=unit.path("/var/lib/wazuh-repository"),
    )
    return Whole(unit, home)
