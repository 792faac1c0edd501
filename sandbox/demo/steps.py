"""The demo's steps: each does one thing a user would do, and returns what it showed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.cluster import SandboxError
from sandbox.demo import pki
from sandbox.demo.cluster import Cluster
from sandbox.demo.report import Line, seconds_without
from sandbox.driver import APPLICATION, CommandFailedError, NeverHappenedError

AGENTS = 60
LOGINS = 30
_RULE = "custom.xml"
_RULE_ID = "100100"
_SENDER = "firewall-1"
_SERVICE = APPLICATION


@dataclasses.dataclass(slots=True)
class Run:
    """What the steps share: the cluster and what earlier steps learnt."""

    cluster: Cluster
    options: tuple[str, ...] = ()
    """What `deploy` is told beside the number of units."""
    units: int = 3
    enrolled: dict[str, str] = dataclasses.field(default_factory=dict)
    """Agent's id → digest of the key it was given."""
    sender: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The certificate and key of a sender of logs."""
    until_the_end: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    @property
    def authority(self) -> str:
        """The application's CA, as clients trust it."""
        return self.cluster.secret("certificate-authority")["certificate"]

    @property
    def password(self) -> str:
        """What agents enrol with, unless an operator's own is set."""
        return self.cluster.secret("enrolment-password")["password"]

    @property
    def api_password(self) -> str:
        """The password of the API's user `wazuh`."""
        return self.cluster.secret("api-users")["wazuh"]

    def everywhere(self) -> dict[str, list[str]]:
        """Unit → the enrolled agents whose key it lacks, or has differently."""
        lacking = {}
        for unit in self.cluster.units():
            held = {number: digest for number, (_, digest) in self.cluster.keys(unit).items()}
            lacking[unit] = [n for n, digest in self.enrolled.items() if held.get(n) != digest]
        return lacking

    def nobody_lost(self) -> bool:
        """Whether every unit holds every enrolled agent's key."""
        return not any(self.everywhere().values())


def deploy(run: Run) -> Line:
    """Three units: one master, two workers."""
    began = time.monotonic()
    run.cluster.driver.deploy(run.units, *run.options)
    run.cluster.wait("three units active", lambda: run.cluster.is_whole(run.units), 240)
    took = time.monotonic() - began
    roles = sorted(text.split()[0] for text in run.cluster.messages().values())
    return Line(
        f"deploy {run.units} units",
        f"{', '.join(roles)} after {took:.0f} s",
        roles == ["master", *["worker"] * (run.units - 1)],
        {"seconds": round(took, 1)},
    )


def enrol_agents(run: Run) -> Line:
    """Agents enrol over TLS through the Service; every node gets every key."""
    names = [f"agent-{number:02}" for number in range(1, AGENTS + 1)]
    answers = run.cluster.ask(
        "agents", host=_SERVICE, names=names, password=run.password, ca=run.authority
    )
    accepted = [answer for answer in answers if answer["id"]]
    run.enrolled |= {answer["id"]: answer["key_sha256"] for answer in accepted}
    waited = run.cluster.wait("each key on every node", run.nobody_lost, 120)
    median = statistics.median(answer["took"] for answer in answers)
    return Line(
        f"enrol {AGENTS} agents through the Service; each key on every node",
        f"{len(accepted)} accepted, {median * 1000:.0f} ms each (median), "
        f"on {run.units} nodes {waited:.0f} s later",
        len(accepted) == len(run.enrolled) == AGENTS and run.nobody_lost(),
        {"accepted": len(accepted), "seconds until everywhere": round(waited, 1)},
    )


def send_logs(run: Run) -> Line:
    """A line over mutual TLS arrives; a stranger's certificate and none are refused."""
    cluster = run.cluster
    run.sender = _sender_certificate(cluster, _SENDER)
    mark = f"sandbox line {time.time_ns()}"
    own = _send(run, f"{mark} by its sender", **run.sender)
    refused = [
        _send(run, f"{mark} by a stranger", **pki.stranger(_SENDER)),
        _send(run, f"{mark} by nobody"),
    ]
    cluster.wait("the line where Wazuh reads it", lambda: bool(_units_with(cluster, mark)), 60)
    arrived = _units_with(cluster, f"{mark} by its sender")
    wrongly = _units_with(cluster, f"{mark} by a stranger") + _units_with(cluster, f"{mark} by n")
    count = sum(1 for answer in refused if answer["error"])
    return Line(
        "a syslog line over mutual TLS to 6514; a stranger's certificate and none refused",
        f"arrived on {', '.join(arrived)}; refused {count} of 2, arrived all the same "
        f"{len(wrongly)}",
        own["error"] is None and count == 2 and len(arrived) == 1 and not wrongly,
        {"refused": count},
    )


def _send(run: Run, line: str, *, host: str = _SERVICE, **identity: str) -> dict[str, Any]:
    return run.cluster.ask(
        "syslog", host=host, ca=run.authority, sender=_SENDER, lines=[line], **identity
    )[0]


def _sender_certificate(cluster: Cluster, name: str) -> dict[str, str]:
    cluster.driver.juju("run", f"{APPLICATION}/leader", "issue-sender-certificate", f"name={name}")
    content = cluster.secret(f"sender-{name}")
    return {"certificate": content["certificate"], "private-key": content["private-key"]}


def _units_with(cluster: Cluster, text: str, place: str = "senders") -> list[str]:
    """The units whose senders' files, or other logs, hold the text."""
    search = ["grep", "-rl", "--", text, f"/var/ossec/logs/{place}"]
    return [unit for unit in cluster.units() if cluster.driver.exec(unit, search, check=False)]


def use_the_api(run: Run) -> Line:
    """Log in through the Service with the secret's password; each token on another unit."""
    hosts = run.cluster.hosts()
    answers = run.cluster.ask(
        "logins",
        host=_SERVICE,
        others=hosts,
        count=LOGINS,
        user="wazuh",
        password=run.api_password,
        ca=run.authority,
    )
    good = [answer for answer in answers if answer["login"] == answer["used"] == 200]
    nodes = {answer["node"] for answer in good}
    return Line(
        f"{LOGINS} logins through the Service with the secret's password; "
        "each token used on another unit",
        f"{len(good)} of {LOGINS}; answered by {', '.join(sorted(nodes))}",
        len(good) == LOGINS and len(nodes) == len(hosts),
        {"good": len(good)},
    )


def apply_rules(run: Run, scratch: Path) -> Line:
    """Rules from a Git repository served over HTTP work on every node without a restart."""
    cluster = run.cluster
    repository = _make_repository(scratch / "rules.git")
    before = {unit: cluster.starts(unit) for unit in cluster.units()}
    url = run.until_the_end.enter_context(cluster.driver.serve_repository(repository))
    run.until_the_end.callback(_take_back, cluster)
    began = time.monotonic()
    cluster.driver.juju("config", APPLICATION, f"custom-config-repository=git+{url}@main")
    cluster.wait("the rule on every node", lambda: all(_rules(cluster)), 120)
    cluster.wait("an alert by it on every node", lambda: _raises_alerts(run), 60)
    took = time.monotonic() - began
    restarted = [unit for unit in before if _restarts(before[unit], cluster.starts(unit))]
    return Line(
        "rules from a Git repository over HTTP, raising alerts on every node, without a restart",
        f"{took:.0f} s; units where something restarted: {len(restarted)}",
        not restarted,
        {"seconds": round(took, 1), "restarted": len(restarted)},
    )


def _raises_alerts(run: Run) -> bool:
    """Send a line straight to each unit, and see whether each has raised an alert by the rule."""
    for host in run.cluster.hosts():
        _send(run, "sandbox line for the rule", host=host, **run.sender)
    alerts = _units_with(run.cluster, f'"id": *"{_RULE_ID}"', "alerts/alerts.json")
    return len(alerts) == len(run.cluster.units())


def _make_repository(place: Path) -> Path:
    """A real repository with one rule, on the branch `main`."""
    work = place.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    (work / "rules").mkdir(parents=True)
    (work / "rules" / _RULE).write_text(
        '<group name="sandbox,">\n'
        f'  <rule id="{_RULE_ID}" level="5">\n'
        "    <match>sandbox line</match>\n"
        "    <description>A line of the sandbox's demo</description>\n"
        "  </rule>\n"
        "</group>\n"
    )
    author = ("-c", "user.name=demo", "-c", "user.email=demo@example.com")
    for command in (
        ("init", "-q", "-b", "main", str(work)),
        ("-C", str(work), "add", "."),
        ("-C", str(work), *author, "commit", "-q", "-m", "Add a rule"),
        ("clone", "-q", "--bare", str(work), str(place)),
    ):
        subprocess.run(("git", *command), check=True, capture_output=True)
    return place


def _rules(cluster: Cluster) -> list[str]:
    """The repository's rules as each unit has them; empty where it has none."""
    command = ["sh", "-c", f"cat /var/ossec/etc/rules/{_RULE} 2>/dev/null"]
    return [cluster.driver.exec(unit, command, check=False) for unit in cluster.units()]


def _take_back(cluster: Cluster) -> None:
    """Reset the repository before nobody serves it any more: the next look would complain."""
    with contextlib.suppress(SandboxError, CommandFailedError, NeverHappenedError):
        cluster.driver.juju("config", APPLICATION, "--reset", "custom-config-repository")
        cluster.wait("no rules of the repository", lambda: not any(_rules(cluster)), 120)


def _restarts(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Processes that were there before and are not any more."""
    return {text for pid, text in before.items() if after.get(pid) != text}


def scale(run: Run, size: int = 5) -> Line:
    """Up and back: nothing restarts on the units that stay, no agent is lost."""
    cluster, count = run.cluster, run.units
    before = {unit: cluster.starts(unit) for unit in cluster.units()}
    up = _scale_to(cluster, size)
    cluster.wait("each key on every node", run.nobody_lost, 120)
    down = _scale_to(cluster, count)
    restarts = sum(len(_restarts(before[u], cluster.starts(u))) for u in before)
    lost = sum(len(lacking) for lacking in run.everywhere().values())
    return Line(
        f"scale to {size} and back to {count}",
        f"{up:.0f} s, {down:.0f} s; restarts on the first {count} units: {restarts}; "
        f"agents lost: {lost}",
        restarts == 0 and lost == 0,
        {"up": round(up, 1), "down": round(down, 1), "restarts": restarts, "lost": lost},
    )


def _scale_to(cluster: Cluster, count: int) -> float:
    cluster.driver.juju("scale-application", APPLICATION, str(count))
    return cluster.wait(f"{count} units", lambda: cluster.is_whole(count), 240)


def change_the_password(run: Run) -> Line:
    """An operator's own enrolment password: the old one is refused on every unit."""
    cluster, old = run.cluster, run.password
    new = f"Demo-{time.time_ns()}"
    cluster.driver.use_secret("agent-password", {"password": new})
    units = cluster.hosts()
    numbers = itertools.count()

    def tried(password: str) -> list[bool]:
        return [bool(_enrol(run, host, f"late-{next(numbers)}", password)) for host in units]

    took = cluster.wait("the new password everywhere", lambda: all(tried(new)), 120)
    refused = [not accepted for accepted in tried(old)]
    return Line(
        "a new enrolment password: the old one refused on every unit",
        f"in force after {took:.0f} s; refused on {sum(refused)} of {len(units)}",
        all(refused) and len(refused) == run.units,
        {"seconds": round(took, 1), "refused": sum(refused)},
    )


def _enrol(run: Run, host: str, name: str, password: str) -> str | None:
    """The agent's id, remembered among the enrolled, or None."""
    answer = run.cluster.ask(
        "agents", host=host, names=[name], password=password, ca=run.authority
    )[0]
    if answer["id"]:
        run.enrolled[answer["id"]] = answer["key_sha256"]
    return answer["id"]


def lose_the_master(run: Run) -> Line:
    """The master's node goes for good; another unit takes over with everything kept."""
    cluster, old = run.cluster, run.cluster.master()
    if old is None:
        return Line("lose the master's node", "no master to lose", holds=False)
    token = {"file": f"{cluster.driver.scratch}/token", "ca": run.authority}
    login = {"user": "wazuh", "password": run.api_password}
    cluster.ask("tokens", **token, **login, keep=True, host=_SERVICE)
    cluster.wait("each key on every node", run.nobody_lost, 120)
    tries, moved = _enrol_during_a_loss(run, old)
    closed = seconds_without([(a["began"], a["id"] is not None) for a in tries])
    cluster.wait("each key on every node", run.nobody_lost, 120)
    late = _lost_of(run, [a for a in tries if a["id"]])
    lost = sum(len(lacking) for lacking in run.everywhere().values())
    hosts = cluster.hosts()
    tokens = cluster.ask("tokens", **token, hosts=hosts)
    log_in = cluster.ask("logins", host=_SERVICE, others=hosts, count=3, **login, ca=run.authority)
    good = all(a["status"] == 200 for a in tokens) and all(a["used"] == 200 for a in log_in)
    return Line(
        "lose the master's node: another takes over, with the same agents, password and tokens",
        f"{old} → {cluster.master()} after {moved:.0f} s; {closed:.1f} s without enrolment; "
        f"agents lost: {lost}; of those enrolling in the last seconds before: {late}; "
        f"password and old token on every unit: {'yes' if good else 'no'}",
        lost == 0 and good,
        {
            "seconds until moved": round(moved, 1),
            "without enrolment": round(closed, 1),
            "lost": lost,
            "lost of the last seconds": late,
        },
    )


def _enrol_during_a_loss(run: Run, old: str) -> tuple[list[dict[str, Any]], float]:
    """Enrol four agents a second while the master is lost; the tries, and seconds to the move."""
    cluster = run.cluster
    request = {"host": _SERVICE, "prefix": "during-", "password": run.password}
    with cluster.asking(
        "agents", **request, every=0.25, seconds=400, timeout=3, ca=run.authority
    ) as stop:
        cluster.wait("the first of them enrolled", lambda: _has_agent(cluster, old, "during-"), 60)
        cluster.driver.juju("lose-node", old)
        moved = cluster.wait("another master", lambda: cluster.master() not in (None, old), 300)
        cluster.wait("three units active again", lambda: cluster.is_whole(run.units), 300)
        _enrols_again(run)
        return stop(), moved


def _has_agent(cluster: Cluster, unit: str, prefix: str) -> bool:
    return any(name.startswith(prefix) for name, _ in cluster.keys(unit).values())


def _enrols_again(run: Run) -> None:
    numbers = itertools.count()
    run.cluster.wait(
        "enrolment works again",
        lambda: bool(_enrol(run, _SERVICE, f"after-{next(numbers)}", run.password)),
        120,
    )


def _lost_of(run: Run, accepted: list[dict[str, Any]]) -> int:
    """How many of these acknowledged agents the new master does not know.

    The old one had acknowledged them, but its volume went before they were copied.
    """
    held = {digest for _, digest in run.cluster.keys(run.cluster.master() or "").values()}
    return sum(1 for answer in accepted if answer["key_sha256"] not in held)


def attempt(text: str, step: Callable[[], Line]) -> Line:
    """Run a step; when what it waits for does not come about, that is its line."""
    try:
        return step()
    except (
        NeverHappenedError,
        CommandFailedError,
        SandboxError,
        OSError,
        ValueError,
        LookupError,
    ) as reason:
        return Line(text, f"{type(reason).__name__}: {reason}", holds=False)
