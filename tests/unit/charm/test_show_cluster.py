"""The action `show-cluster`: how every unit is, from what one of them hears."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops import testing

from src import overview
from tests.unit.charm.world import Unit, leader

_FILE = "/run/wazuh-server/overview.json"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _node(number: int, **changes: object) -> dict[str, object]:
    return {
        "node": f"wazuh-server-{number}",
        "role": "worker" if number else "master",
        "epoch": 1,
        "phase": "serving",
        "heard": True,
        "agents": 60,
        "commit": _COMMIT,
        "version": "v4.14.7",
    } | changes


def test_given_three_units_when_asked_then_each_is_shown_as_table_and_as_values(tmp_path):
    unit = leader(tmp_path)
    gone = [_node(1), _node(0), _node(2, heard=False, commit=""), _node(3)]
    unit.write(_FILE, json.dumps({"schema": 1, "nodes": gone}))

    results = unit.act("show-cluster")

    assert results["master"] == "wazuh-server/0"
    assert (results["epoch"], results["planned-units"]) == (1, 3)
    assert results["table"].splitlines() == [
        "unit            role    phase      epoch  agents  configuration  version",
        "wazuh-server/0  master  serving    1      60      0123456789ab   v4.14.7",
        "wazuh-server/1  worker  serving    1      60      0123456789ab   v4.14.7",
        "wazuh-server/2  worker  not heard  1      60      none           v4.14.7",
    ]
    assert set(results["units"]) == {f"wazuh-server-{number}" for number in range(3)}
    assert results["units"]["wazuh-server-2"]["phase"] == "not heard"
    assert unit.writes == {}


@pytest.mark.parametrize("rubbish", [None, "", "{", "[]", '{"nodes": {}}', '{"nodes": [1]}'])
def test_given_nothing_to_show_when_asked_then_it_is_said(tmp_path, rubbish):
    unit = leader(tmp_path)
    if rubbish is not None:
        unit.write(_FILE, rubbish)

    with pytest.raises(testing.ActionFailed, match="nothing is known yet"):
        unit.act("show-cluster")


def test_given_a_container_that_is_away_when_asked_then_it_is_said(tmp_path):
    unit = Unit(tmp_path, reachable=False)

    with pytest.raises(testing.ActionFailed, match="cannot be asked"):
        unit.act("show-cluster")


values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@given(st.lists(st.dictionaries(st.sampled_from(list(_node(0))), values) | values))
def test_given_any_nodes_when_read_then_a_table_of_plain_lines_comes(nodes):
    found = overview.read({"nodes": nodes}, "wazuh-server", 3)

    lines = overview.table(found).split("\n")
    assert len(lines) == len(found) + 1
