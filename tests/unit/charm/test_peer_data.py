"""Peers' data of an older, a newer or a broken charm: a sentence, never an error."""

import ops
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import state
from tests.unit.charm.world import leader, peer_of

GOOD = {"schema": "1", "epoch": "3", "master": "wazuh-server/0", "high-water": "12"}
BROKEN = {
    "epoch of letters": {"epoch": "three"},
    "negative epoch": {"epoch": "-1"},
    "epoch of zero": {"epoch": "0"},
    "huge epoch": {"epoch": "9" * 400},
    "another script's digits": {"epoch": "٣"},
    "no epoch": {"epoch": ""},
    "empty schema": {"schema": ""},
    "no master": {"master": ""},
    "master is no unit": {"master": "wazuh-server"},
    "master with markup": {"master": "a</node><x>/0"},
    "master with a line break": {"master": "wazuh-server/0\n"},
    "high-water of letters": {"high-water": "many"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_given_broken_peer_data_when_a_unit_runs_then_it_says_so_and_runs_on(tmp_path, change):
    unit = leader(tmp_path)
    before = unit.files()
    databag = GOOD | change
    unit.publish({key: value for key, value in databag.items() if value})

    unit.run("relation_changed")

    assert unit.files() == before
    assert unit.writes == {}
    assert isinstance(unit.status, ops.WaitingStatus)
    assert unit.status.message.startswith("wazuh-peers: ")


def test_given_data_of_a_newer_charm_when_an_older_leader_runs_then_it_leaves_it_alone(tmp_path):
    unit = leader(tmp_path)
    newer = GOOD | {"schema": "2", "master": "wazuh-server/2"}
    unit.publish(newer)

    unit.run("leader_elected")

    assert unit.databag == newer
    assert unit.status == ops.WaitingStatus(
        "wazuh-peers: written by a newer charm (schema 2); refresh this unit"
    )


def test_given_data_without_a_digest_of_secrets_when_a_worker_runs_then_it_reads_them(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    worker.publish({key: value for key, value in lead.databag.items() if key != "secrets"})

    worker.run("pebble_ready")

    assert worker.desired["role"] == "worker"


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=20)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_given_any_text_in_the_databag_when_parsed_then_it_is_a_decision_or_a_reason(values):
    peers = state.parse_peers(GOOD | values)

    assert (peers.decision is None) != (peers.problem is None)
    if peers.problem:
        assert "\n" not in peers.problem
