"""Fault 15: the old master comes back with keys that the new one lacks, or has differently.

Two masters that know nothing of each other give the same id to two agents only if the ids that
the new one leaves free did not suffice, or people chose one: here one is chosen through the API.
"""

import hashlib
import sys

from sandbox.demo.cluster import Cluster
from sandbox.demo.steps import Run
from sandbox.driver import APPLICATION, Driver

_CLASH, _LATE, _TAKEN = "7000", "6999", "a" * 64
_OLD, _NEW = "b" * 64, "c" * 64


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _insert(run: Run, number: str, name: str, key: str) -> bool:
    """Add an agent under an id of one's choice, as people may through Wazuh's API."""
    (answer,) = run.cluster.ask(
        "call",
        host=APPLICATION,
        user="wazuh",
        password=run.api_password,
        ca=run.authority,
        method="POST",
        path="/agents/insert",
        send={"id": number, "name": name, "ip": "any", "key": key},
    )
    return answer["status"] == 200


def _another_leads(cluster: Cluster, old: str) -> bool:
    """Whether another unit says that it is master; what Juju knows of the lost one is old."""
    said = cluster.messages()
    return any(text.startswith("master") for unit, text in said.items() if unit != old)


def test_fault_15_given_an_id_that_two_masters_gave_when_the_old_one_returns_then_it_is_said(
    whole: Driver,
) -> None:
    cluster = Cluster(whole)
    run = Run(cluster)
    cluster.wait("a master", lambda: cluster.master() is not None)
    old = cluster.master() or ""
    cluster.wait("an agent on all units", lambda: _insert(run, "6998", "everywhere", _TAKEN))
    cluster.wait(
        "each key on each unit", lambda: all("6998" in cluster.keys(u) for u in cluster.units())
    )

    whole.juju("pause", old)
    lines = f"{_LATE} late any {_OLD}\\n{_CLASH} ghost any {_OLD}\\n"
    whole.exec(old, ["sh", "-c", f"printf '{lines}' >> /var/ossec/etc/client.keys"])
    whole.juju("lose-node", old, "--keep-volume", "--never")
    cluster.wait("another master", lambda: _another_leads(cluster, old), 300)
    cluster.wait("the same id again", lambda: _insert(run, _CLASH, "chosen", _NEW), 120)
    whole.juju("restore-node", old)
    cluster.wait("three units active", lambda: cluster.is_whole(3), 300)

    said = f"{_CLASH} ghost: its id belongs to chosen now"
    cluster.wait("it is said", lambda: any(said in text for text in cluster.messages().values()))
    wanted = {
        "6998": ("everywhere", _digest(_TAKEN)),
        _LATE: ("late", _digest(_OLD)),
        _CLASH: ("chosen", _digest(_NEW)),
    }

    def everywhere() -> bool:
        held = [cluster.keys(unit) for unit in cluster.units()]
        return all(wanted.items() <= keys.items() for keys in held)

    cluster.wait("whom both have, whom the old one alone has, and the chosen one", everywhere)
    sys.stdout.write(f"Juju is emulated, Wazuh a stand-in: {cluster.messages()[old]}\n")
    assert cluster.master() != old
