"""I9: a second run of any event changes nothing."""

import time

import ops
import pytest

from sandbox.inprocess import Charm, Cluster
from sandbox.inprocess.invariants import repeat_all
from src.charm import WazuhOperatorCharm


def test_given_a_cluster_with_a_history_when_every_event_runs_again_then_nothing_is_done(whole):
    cluster = whole(order=(0, 1, 2))
    model = cluster.model
    uri = model.add_secret("mine", {"password": "operators-choice"})
    model.grant_secret("mine", cluster.app)
    model.set_config(cluster.app, {"agent-password": uri})
    cluster.settle()
    model.update_secret("mine", {"password": "another-choice"})
    model.pod_deleted("wazuh-server/2")
    model.check_failed("wazuh-server/1", "wazuh-server", "ready")
    model.check_recovered("wazuh-server/1", "wazuh-server", "ready")
    assert cluster.settle()
    model.node_lost("wazuh-server/0")
    cluster.run(150)
    model.node_back("wazuh-server/0")
    cluster.run(400)
    assert cluster.settle()
    again = repeat_all(cluster)
    kinds = {effects.hook for effects in again}
    assert {
        "install",
        "start",
        "config-changed",
        "update-status",
        "upgrade-charm",
        "leader-elected",
        "secret-changed",
        "data-storage-attached",
        "wazuh-peers-relation-created",
        "wazuh-peers-relation-joined",
        "wazuh-peers-relation-changed",
        "wazuh-server-pebble-ready",
        "wazuh-server-pebble-custom-notice",
        "wazuh-server-pebble-check-failed",
        "wazuh-server-pebble-check-recovered",
    } <= kinds
    assert [effects.describe() for effects in again if not effects.quiet or not effects.ok] == []


def test_given_each_hook_of_a_deployment_when_run_twice_at_once_then_the_second_is_quiet(deployed):
    cluster = deployed(order=(0, 1, 2), seed=3)
    seconds = []
    while cluster.model.now < 60:
        cluster.sync()
        due = cluster.model.due()
        if not due:
            cluster.tick()
            continue
        unit = cluster.chance.choice(due)
        spec = cluster.model.peek(unit)
        cluster.run_hook(unit)
        seconds.append(cluster.repeat(unit, spec))
    assert cluster.masters() == ["wazuh-server-0"]
    assert [effects.describe() for effects in seconds if not effects.quiet] == []


def test_given_a_quiet_hook_when_counted_then_few_tools_and_few_requests(whole):
    cluster = whole(order=(0, 1, 2))
    cluster.run(400)
    quiet = [effects for effects in cluster.history if effects.hook == "update-status"]
    assert {effects.unit for effects in quiet} == {f"wazuh-server/{n}" for n in range(3)}
    for effects in quiet:
        assert sum(effects.pebble.values()) <= 6, effects.pebble
        assert sum(effects.tools.values()) <= 16, effects.tools


class _Restless(WazuhOperatorCharm):
    """The charm with a bug: it writes at every hook."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on.update_status, self._write)

    def _write(self, _event: ops.EventBase) -> None:
        relation = self.model.get_relation("wazuh-peers")
        assert relation is not None
        relation.data[self.unit]["seen"] = str(time.monotonic_ns())


def test_given_a_charm_that_writes_at_every_hook_when_events_run_again_then_it_is_caught(charm):
    cluster = Cluster(Charm(_Restless, charm.metadata), order=(0, 1, 2))
    assert cluster.settle()
    cluster.run(400)
    loud = [effects for effects in repeat_all(cluster) if not effects.quiet]
    assert {effects.hook for effects in loud} == {"update-status"}
    assert {effects.relation_writes[0][1] for effects in loud} == {False}


class _Failing(WazuhOperatorCharm):
    """The charm with a bug: a hook fails."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on.start, self._fail)

    def _fail(self, _event: ops.EventBase) -> None:
        raise RuntimeError("planted")


def test_given_a_charm_whose_hook_fails_when_it_runs_then_it_is_an_error_and_nothing_is_kept(
    charm,
):
    cluster = Cluster(Charm(_Failing, charm.metadata), units=1)
    cluster.run(30)
    failed = [effects for effects in cluster.history if not effects.ok]
    assert {effects.hook for effects in failed} == {"start"}
    assert all("planted" in effects.error for effects in failed)
    assert cluster.failing() == ["wazuh-server/0"]
    with pytest.raises(AssertionError):
        assert cluster.whole()
