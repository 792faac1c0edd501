"""Units of two Wazuh versions, as in the middle of a refresh: one sentence, and no unit waits."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest
from supervisor import wire
from supervisor.machine import Answer, Term

from tests.unit.supervisor.virtual import Cluster, deployed


def _refresh(cluster: Cluster, node: str, version: str) -> None:
    cluster.kill(node)
    cluster[node].version = version
    cluster.restart(node)


def _ready(cluster: Cluster, node: str) -> bool:
    state = cluster[node].state
    # The virtual units have no port 55000 of their own to look at but what runs.
    return bool(state and state.ready)


def test_given_a_refreshed_worker_when_the_master_is_older_then_it_says_so_and_is_ready():
    cluster = deployed(3)

    _refresh(cluster, "u2", "v4.14.8")
    cluster.until(120, lambda: "4.14.8" in (cluster.sentences()["u2"] or ""))

    assert cluster.sentences()["u2"] == (
        "Wazuh 4.14.8 here, but 4.14.7 on the master u0, which takes no worker of another "
        "version: new agents are known here when both run the same"
    )
    assert cluster.phases()["u2"] == "following"
    assert _ready(cluster, "u2"), "or the refresh would wait for it for ever"
    assert cluster.phases()["u1"] == "serving"


def test_given_one_unit_after_another_when_all_are_refreshed_then_the_cluster_is_whole():
    cluster = deployed(3)
    for node in ("u2", "u1", "u0"):
        _refresh(cluster, node, "v4.14.8")
        cluster.until(120, lambda node=node: _ready(cluster, node), enrol_every=1)
    cluster.until(120, lambda: cluster.settled("u0"), enrol_every=1)

    assert set(cluster.enrolled) <= set(cluster["u0"].keys)
    assert cluster.twice == []


def test_given_a_master_that_goes_in_the_middle_when_another_takes_over_then_no_key_is_lost():
    cluster = deployed(3)
    cluster.run(20, enrol_every=1)
    _refresh(cluster, "u2", "v4.14.8")
    cluster.until(120, lambda: cluster.phases()["u2"] == "following", enrol_every=1)
    cluster.publish(2, "u2")
    cluster.until(120, lambda: cluster.masters() == ["u2"])

    assert set(cluster.enrolled) <= set(cluster["u2"].keys), "versions do not part the peers"
    said = "Wazuh 4.14.7 here, but 4.14.8 on the master u2"
    cluster.until(120, lambda: (cluster.sentences()["u0"] or "").startswith(said))


def test_given_a_unit_that_is_being_removed_when_looked_at_then_it_is_not_ready():
    cluster = deployed(3)
    assert _ready(cluster, "u1")
    cluster["u1"].leaving = True
    cluster.run(1)
    assert not _ready(cluster, "u1")
    assert cluster.phases()["u1"] == "serving", "agents that are connected stay"


@pytest.mark.parametrize("version", [None, 4, "v4.14.7\nand more", "v4.14.7"])
def test_given_a_peer_when_its_version_is_missing_or_odd_then_it_is_heard_all_the_same(version):
    answer = replace(Answer("u1", Term(1, "u0")), version="v4.14.7")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, wire.Message(answer))
        length = theirs.recv(4)
        content = json.loads(theirs.recv(int.from_bytes(length, "big")))
        content["version"] = version
        if version is None:
            del content["version"]
        text = json.dumps(content).encode()
        ours.sendall(len(text).to_bytes(4, "big") + text)
        heard = wire.receive(theirs, wire.QUESTION, 0.0).answer
    assert heard.version == ("v4.14.7" if version == "v4.14.7" else "")
