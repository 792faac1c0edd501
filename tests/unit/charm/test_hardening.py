"""The option `harden-network`, against a recorded form of Kubernetes' API."""

import threading

import pytest

from src import files, hardening
from tests.unit.charm.fake_kubernetes import SERVICE, serving
from tests.unit.charm.world import leader, peer_of

WHAT = "harden-network: a NetworkPolicy and a PodDisruptionBudget cannot be set"


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def unit(kubernetes, tmp_path):
    return leader(tmp_path / "unit")


def ask(unit, harden, **others):
    unit.configure(config={"harden-network": harden, **others})
    unit.run("config_changed")


def guard(kubernetes, kind):
    return next(one for one in kubernetes.guards.values() if one["kind"] == kind)


def test_given_the_option_when_set_then_only_our_pods_reach_the_ports_between_units(
    unit, kubernetes
):
    environment = unit.environment

    ask(unit, True)

    spec = guard(kubernetes, "NetworkPolicy")["spec"]
    everybody, units = spec["ingress"]
    own = {"matchLabels": {"app.kubernetes.io/name": "wazuh-server"}}
    assert spec["podSelector"] == own
    assert "from" not in everybody
    assert [one["port"] for one in everybody["ports"]] == list(files.PORTS)
    assert units["from"] == [{"podSelector": own}]
    assert [one["port"] for one in units["ports"]] == [1516, 8514]
    assert guard(kubernetes, "PodDisruptionBudget")["spec"] == {
        "maxUnavailable": 1,
        "selector": own,
    }
    assert unit.environment == environment
    assert unit.status.message == "master of 3, epoch 1"


def test_given_the_guards_when_kept_then_they_go_with_the_application(unit, kubernetes):
    ask(unit, True)

    for one in kubernetes.guards.values():
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Service", SERVICE["metadata"]["uid"])


def test_given_the_ports_of_the_supervisor_when_compared_then_none_is_shut():
    from supervisor.places import Ports

    open_ = {*files.PORTS, *hardening.BETWEEN_UNITS}
    ports = Ports()
    assert {ports.api, ports.cluster, ports.peers, ports.enrolment} <= open_


def test_given_the_guards_when_hooks_run_then_kubernetes_is_not_asked_again(unit, kubernetes):
    ask(unit, True)
    before = len(kubernetes.asked)

    for event in (*["update_status"] * 5, "config_changed", "leader_elected", "upgrade_charm"):
        unit.run(event)
        assert unit.writes == {}
        assert unit.tools["relation_set"] == 0

    assert len(kubernetes.asked) == before


def test_given_no_option_when_hooks_run_then_kubernetes_is_never_asked(unit, kubernetes):
    ask(unit, False)
    unit.run("leader_elected")

    assert kubernetes.asked == []


def test_given_the_option_when_it_is_reset_then_both_are_taken_away(unit, kubernetes):
    ask(unit, True)

    ask(unit, False)

    assert kubernetes.guards == {}
    assert "hardened" not in unit.databag
    assert unit.status.message == "master of 3, epoch 1"


def test_given_a_guard_that_is_gone_when_the_option_is_reset_then_that_is_right(unit, kubernetes):
    ask(unit, True)
    kubernetes.guards.clear()

    ask(unit, False)

    assert "hardened" not in unit.databag
    assert unit.status.name == "active"


def test_given_another_leader_when_the_option_is_reset_then_it_takes_them_away(
    unit, kubernetes, tmp_path
):
    ask(unit, True)
    other = peer_of(unit, tmp_path / "other", config={"harden-network": True})
    other.run("pebble_ready")
    other.report(role="worker")
    other.configure(leader=True, secrets=unit.state.secrets)
    before = len(kubernetes.asked)
    other.run("leader_elected")
    assert len(kubernetes.asked) == before

    ask(other, False)

    assert kubernetes.guards == {}


@pytest.mark.parametrize("code", [403, 409, 500])
def test_given_a_refusal_when_asked_then_it_is_said_and_tried_again_and_all_serves(
    unit, kubernetes, code
):
    kubernetes.fail = code
    environment = unit.environment

    ask(unit, True)

    trust = "; it needs juju trust wazuh-server --scope=cluster" if code == 403 else ""
    assert unit.status.name == "blocked"
    assert unit.status.message == f"{WHAT}: {code} services is forbidden for this user{trust}"
    assert unit.environment == environment
    kubernetes.fail = None
    unit.run("update_status")
    assert len(kubernetes.guards) == 2
    assert unit.status.name == "active"


@pytest.mark.parametrize("how", ["refused", "unanswered"])
def test_given_half_of_the_guards_when_the_option_is_reset_then_that_half_is_taken_away(
    unit, kubernetes, how
):
    if how == "refused":
        kubernetes.fail, kubernetes.fails = 409, "poddisruptionbudgets"
    else:
        kubernetes.drops = "poddisruptionbudgets"
    ask(unit, True)
    assert unit.status.message.startswith(WHAT)
    assert [one["kind"] for one in kubernetes.guards.values()] == ["NetworkPolicy"]
    kubernetes.fail = kubernetes.drops = None

    ask(unit, False)

    assert kubernetes.guards == {}
    assert "hardened" not in unit.databag
    assert unit.status.message == "master of 3, epoch 1"


def test_given_half_of_the_guards_when_tried_again_then_they_are_whole(unit, kubernetes):
    kubernetes.fail, kubernetes.fails = 409, "poddisruptionbudgets"
    ask(unit, True)
    kubernetes.fail = None

    unit.run("update_status")

    assert len(kubernetes.guards) == 2
    assert unit.status.message == "master of 3, epoch 1"


def test_given_no_trust_when_the_option_is_reset_then_nothing_is_asked_and_nothing_said(
    unit, kubernetes
):
    kubernetes.fail = 403
    ask(unit, True)
    before = len(kubernetes.asked)

    ask(unit, False)

    assert len(kubernetes.asked) == before
    assert unit.status.message == "master of 3, epoch 1"


def test_given_a_refusal_when_taking_away_then_it_is_tried_again(unit, kubernetes):
    ask(unit, True)
    kubernetes.fail = 403

    ask(unit, False)

    assert unit.status.message.startswith(WHAT)
    kubernetes.fail = None
    unit.run("update_status")
    assert kubernetes.guards == {}
    assert unit.status.name == "active"


def test_given_no_answer_when_asked_then_the_hook_goes_on_and_says_so(unit, kubernetes):
    kubernetes.hang = threading.Event()

    ask(unit, True)

    assert unit.status.message == f"{WHAT}: Kubernetes does not answer"


def test_given_both_kinds_of_options_when_set_then_each_is_remembered(unit, kubernetes):
    ask(unit, True, **{"service-type": "NodePort"})

    assert {"service", "hardened"} <= set(unit.databag)
    ask(unit, True)
    assert "service" not in unit.databag
    assert "hardened" in unit.databag
    assert len(kubernetes.guards) == 2
