"""Rules that Juju sets and that every change has to keep; each names where it comes from."""

import ops
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import digests
from tests.unit.charm.world import leader

EVENTS = ("install", "leader_elected", "config_changed", "start", "pebble_ready", "update_status")


def test_given_a_leader_when_it_publishes_then_no_secrets_id_is_in_a_databag(tmp_path):
    """An id outlives no restore, and a stale one is not found again: labels are (R25)."""
    unit = leader(tmp_path)
    ids = {secret.id.removeprefix("secret:") for secret in unit.state.secrets}

    bags = [
        text
        for relation in unit.state.relations
        for bag in (relation.local_app_data, relation.local_unit_data)
        for text in bag.values()
    ]

    assert ids and bags
    assert [text for text in bags if any(one in text for one in ids)] == []


@pytest.mark.parametrize("event", EVENTS)
def test_given_a_unit_when_any_hook_ends_then_no_event_is_deferred(tmp_path, event):
    """A deferred event goes with its pod (R11)."""
    unit = leader(tmp_path)

    unit.run(event)

    assert unit.state.deferred == []


def test_given_a_configured_unit_when_its_checks_are_read_then_none_is_for_life(tmp_path):
    """Kubelet kills a container whose check for life fails, with all that is in it (R35)."""
    checks = leader(tmp_path).container.plan.checks

    assert checks
    assert {check.level for check in checks.values()} == {ops.pebble.CheckLevel.READY}


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_given_equal_values_in_another_order_when_digested_then_the_digests_are_equal(value):
    """Another digest is another restart of the daemons."""
    turned = dict(reversed(value.items()))

    assert digests.keyed("key", turned) == digests.keyed("key", value)
