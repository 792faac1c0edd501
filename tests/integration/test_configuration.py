"""A configuration from a real Git server in a deployed cluster: what restarts, in which order.

Juju is emulated, Wazuh is a stand-in unless one is given; the printed seconds say the clock.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.demo.cluster import Cluster
from sandbox.driver import APPLICATION, Driver

_RULE = "/var/ossec/etc/rules/team.xml"
_GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com")
_STATE = "cat /run/wazuh-server/state.json"
_PYTHON = "/var/ossec/framework/python/bin/python3"
# Gives analysisd a line, and says whether an alert of the rule has come of it.
_LINE = """
import json, socket, sys, time
from pathlib import Path
number, home = sys.argv[1], Path("/var/ossec")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as queue:
    queue.connect(str(home / "queue/sockets/queue"))
    queue.send(f"1:team:team-word-{number}".encode())
time.sleep(0.2)
lines = (home / "logs/alerts/alerts.json").read_text(errors="replace").splitlines()
print("alert" if any(json.loads(line)["rule"]["id"] == number for line in lines) else "none")
"""


@dataclass(frozen=True, slots=True)
class Team:
    """A team's repository, served to the cluster, whose branch the option names."""

    cluster: Cluster
    work: Path
    served: Path

    def commit(self, files: dict[str, str]) -> str:
        """Commit and push; return the commit."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for words in (
            ("add", "--all"),
            ("commit", "-q", "-m", "x"),
            ("push", "-q", str(self.served), "HEAD:refs/heads/main"),
        ):
            subprocess.run([*_GIT, *words], cwd=self.work, check=True, capture_output=True)
        return subprocess.check_output(
            [*_GIT, "rev-parse", "HEAD"], cwd=self.work, text=True
        ).strip()

    def reports(self) -> dict[str, dict]:
        """Unit → what its supervisor says."""
        found = {}
        for unit in self.cluster.units():
            text = self.cluster.driver.exec(unit, ["sh", "-c", _STATE], check=False)
            found[unit] = json.loads(text) if text.startswith("{") else {}
        return found

    def in_force(self, commit: str) -> bool:
        """Tell whether every unit says that it has the commit, and serves."""
        return all(
            (report.get("ruleset") or {}).get("commit") == commit and report.get("ready")
            for report in self.reports().values()
        )

    def active(self, number: int) -> bool:
        """Tell whether a line raises an alert of the rule on every unit."""
        command = [_PYTHON, "-c", _LINE, str(number)]
        return all(
            self.cluster.driver.exec(unit, command, check=False).strip() == "alert"
            for unit in self.cluster.units()
        )


def _rule(number: int) -> str:
    return (
        f'<group name="team,">\n  <rule id="{number}" level="3">\n'
        f"    <match>team-word-{number}</match>\n"
        "    <description>The team's own</description>\n  </rule>\n</group>\n"
    )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Three units with a rule of the repository in force."""
    driver = Driver("tests-configuration")
    driver.destroy()
    driver.deploy(3)
    folder = tmp_path_factory.mktemp("team")
    work, served = folder / "work", folder / "rules.git"
    subprocess.run([*_GIT, "init", "-q", "-b", "main", str(work)], check=True)
    subprocess.run([*_GIT, "init", "-q", "--bare", "-b", "main", str(served)], check=True)
    made = Team(Cluster(driver), work, served)
    try:
        made.cluster.wait("three units active", lambda: made.cluster.is_whole(3), 300)
        with driver.serve_repository(served) as url:
            commit = made.commit({"rules/team.xml": _rule(100100)})
            began = time.monotonic()
            driver.config(custom_config_repository=f"git+{url}@main")
            made.cluster.wait("the rule is active", lambda: made.active(100100), 180)
            _say(
                f"from juju config to an alert of it on 3 units: {time.monotonic() - began:.1f} s"
            )
            made.cluster.wait("all say so", lambda: made.in_force(commit), 180)
            yield made
    finally:
        driver.destroy()


def _say(text: str) -> None:
    sys.stdout.write(f"{text} (Juju emulated, Wazuh a stand-in, clock factor 10)\n")


def _synchronise(team: Team) -> None:
    master = team.cluster.master()
    assert master is not None
    record = team.cluster.driver.run(master, "sync-configuration")
    assert record["status"] == "completed", record


def test_given_a_commit_of_rules_when_it_comes_then_nothing_restarts_and_no_session_is_cut(
    team: Team,
) -> None:
    cluster = team.cluster
    before = {unit: cluster.starts(unit) for unit in cluster.units()}
    with cluster.asking("sessions", host=APPLICATION, seconds=240) as stop:
        team.commit({"rules/team.xml": _rule(100200)})
        began = time.monotonic()
        _synchronise(team)
        cluster.wait("the rule is active", lambda: team.active(100200), 180)
        _say(f"from the action to an alert of it on 3 units: {time.monotonic() - began:.1f} s")
        time.sleep(2)
        session = stop()

    assert session[0]["open"]
    assert not any(answer.get("cut") for answer in session), session
    assert {unit: cluster.starts(unit) for unit in cluster.units()} == before


def test_given_a_commit_that_needs_restarts_when_it_comes_then_one_unit_goes_at_a_time(
    team: Team,
) -> None:
    cluster = team.cluster
    master = cluster.master()
    lines = "".join(f"    <white_list>192.0.2.{n}</white_list>\n" for n in range(3))
    text = f"<ossec_config>\n  <global>\n{lines}  </global>\n</ossec_config>\n"
    commit = team.commit({"ossec.conf": text})
    order: list[str] = []
    together: set[tuple[str, ...]] = set()

    def done() -> bool:
        found = team.reports()
        away = tuple(unit for unit, report in found.items() if report.get("phase") == "starting")
        together.add(away)
        for unit, report in found.items():
            if (report.get("ruleset") or {}).get("commit") == commit and unit not in order:
                order.append(unit)
        return team.in_force(commit) and cluster.is_whole(3)

    _synchronise(team)
    took = cluster.wait("every unit has it", done, 300)

    _say(f"from the action to a restart of 3 units, one after the other: {took:.1f} s")
    assert all(len(away) <= 1 for away in together), together
    assert order[-1] == master, order
    for unit in cluster.units():
        conf = cluster.driver.exec(unit, ["cat", "/var/ossec/etc/ossec.conf"])
        assert "192.0.2.2" in conf
        cluster.wait("it is shown", lambda unit=unit: _is_shown(cluster, unit, commit), 60)


def _is_shown(cluster: Cluster, unit: str, commit: str) -> bool:
    """Tell whether a unit has heard from each that it serves with a commit: that is told last."""
    shown = cluster.driver.run(unit, "show-cluster")["results"]["table"].splitlines()[1:]
    wanted = f"serving  1      0       {commit[:12]}"
    return len(shown) == 3 and all(wanted in line for line in shown)


def test_given_a_file_changed_by_hand_when_looked_at_then_it_is_put_back_and_the_status_says_so(
    team: Team,
) -> None:
    cluster = team.cluster
    master = cluster.master()
    assert master is not None
    before = cluster.driver.exec(master, ["cat", _RULE])

    cluster.driver.exec(master, ["sh", "-c", f"echo '<!-- by hand -->' >> {_RULE}"])

    cluster.wait(
        "it is put back", lambda: cluster.driver.exec(master, ["cat", _RULE]) == before, 120
    )
    said = "put back after a change by hand: etc/rules/team.xml"
    cluster.wait("the status says so", lambda: said in cluster.messages()[master], 120)


def test_given_a_host_that_is_down_when_looked_at_then_the_status_says_so_and_it_heals(
    team: Team,
) -> None:
    cluster = team.cluster
    before = {unit: cluster.starts(unit) for unit in cluster.units()}
    url = cluster.driver.juju("config", APPLICATION, "custom-config-repository").strip()

    cluster.driver.config(custom_config_repository=url.replace(":8080", ":8081"))

    sentence = "custom-config-repository: the host does not accept connections"
    cluster.wait("the sentence", lambda: sentence in cluster.messages().values(), 120)
    assert {unit: cluster.starts(unit) for unit in cluster.units()} == before
    cluster.driver.config(custom_config_repository=url)
    cluster.wait("whole again", lambda: cluster.is_whole(3), 120)
    assert {unit: cluster.starts(unit) for unit in cluster.units()} == before
