"""The application's Service: four options, against a recorded form of Kubernetes' API."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import exposure
from tests.unit.charm.fake_kubernetes import SERVICE, serving
from tests.unit.charm.world import leader, peer_of

BALANCER = {
    "service-type": "LoadBalancer",
    "service-annotations": "cloud.example/kind=internal, pool=blue",
    "external-traffic-policy": "Local",
    "service-source-ranges": "10.0.0.0/8,192.0.2.0/24",
}


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def unit(kubernetes, tmp_path):
    return leader(tmp_path / "unit")


def ask(unit, **options):
    unit.configure(config={name.replace("_", "-"): value for name, value in options.items()})
    unit.run("config_changed")


def test_given_no_option_when_hooks_run_then_kubernetes_is_never_asked(unit, kubernetes):
    for event in ("config_changed", "update_status", "upgrade_charm", "leader_elected"):
        unit.run(event)

    assert kubernetes.asked == []


def test_given_all_options_when_set_then_the_service_is_patched_and_the_rest_is_left(
    unit, kubernetes
):
    environment = unit.environment

    ask(unit, **BALANCER)

    spec, annotations = kubernetes.service["spec"], kubernetes.service["metadata"]["annotations"]
    assert spec["type"] == "LoadBalancer"
    assert spec["externalTrafficPolicy"] == "Local"
    assert spec["loadBalancerSourceRanges"] == ["10.0.0.0/8", "192.0.2.0/24"]
    assert spec["ports"] == SERVICE["spec"]["ports"]
    assert annotations["cloud.example/kind"] == "internal"
    assert annotations["somebody.else/wants"] == "this"
    assert unit.status.message == "service-type: waiting for the load balancer's address"
    assert unit.environment == environment


def test_given_a_load_balancer_when_it_has_an_address_then_status_and_certificate_name_it(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.7"}]}

    unit.run("update_status")

    assert unit.status.message == "master of 3, epoch 1, at 203.0.113.7"
    before = len(kubernetes.asked)
    for event in ("update_status", "config_changed", "update_status"):
        unit.run(event)
        assert unit.writes == {}
        assert unit.tools["relation_set"] == 0
    assert len(kubernetes.asked) == before


def test_given_options_when_they_are_reset_then_the_service_is_as_it_was(unit, kubernetes):
    ask(unit, **BALANCER)

    ask(unit)

    assert kubernetes.service["spec"] == SERVICE["spec"]
    assert kubernetes.service["metadata"]["annotations"] == SERVICE["metadata"]["annotations"]
    assert "service" not in unit.databag
    assert unit.status.message == "master of 3, epoch 1"


def test_given_options_when_another_unit_leads_then_it_knows_and_puts_back(
    unit, kubernetes, tmp_path
):
    ask(unit, **BALANCER)
    other = peer_of(unit, tmp_path / "other")
    other.run("pebble_ready")
    other.report(role="worker")
    other.configure(leader=True, secrets=unit.state.secrets)

    other.run("leader_elected")

    assert kubernetes.service["spec"] == SERVICE["spec"]


@pytest.mark.parametrize("code", [403, 409, 500])
def test_given_a_refusal_when_asked_then_it_is_said_and_tried_again_and_all_serves(
    unit, kubernetes, code
):
    kubernetes.fail = code
    environment = unit.environment

    ask(unit, **BALANCER)

    assert unit.status.name == "blocked"
    assert unit.status.message == (
        f"service-type: the Service cannot be made LoadBalancer: {code} "
        "services is forbidden for this user"
    )
    assert unit.environment == environment
    kubernetes.fail = None
    unit.run("update_status")
    assert kubernetes.service["spec"]["type"] == "LoadBalancer"
    assert unit.status.name == "waiting"


def test_given_no_answer_when_asked_then_the_hook_goes_on_and_says_so(unit, kubernetes):
    kubernetes.hang = threading.Event()

    ask(unit, **BALANCER)

    assert unit.status.message == (
        "service-type: the Service cannot be made LoadBalancer: Kubernetes does not answer"
    )


def test_given_a_cluster_that_is_not_there_when_asked_then_it_is_said(unit, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))

    ask(unit, **BALANCER)

    assert unit.status.message.startswith("service-type: the Service cannot be made LoadBalancer")


BAD = {
    "service-type: has to be one of ClusterIP, NodePort, LoadBalancer": {
        "service_type": "Loadbalancer"
    },
    "external-traffic-policy: has to be one of Cluster, Local": {
        "external_traffic_policy": "local\n"
    },
    "external-traffic-policy: is of no use with service-type=ClusterIP": {
        "external_traffic_policy": "Local"
    },
    "service-source-ranges: is of use with service-type=LoadBalancer only": {
        "service_source_ranges": "10.0.0.0/8"
    },
    "service-source-ranges: has to be networks such as 10.0.0.0/8, by commas": {
        "service_source_ranges": "10.0.0.1/8"
    },
    "service-annotations: has to be key=value pairs, by commas or line breaks": {
        "service_annotations": "a</host><x>"
    },
    "service-annotations: model.juju.is/id belongs to somebody else": {
        "service_annotations": "model.juju.is/id=2"
    },
}


@pytest.mark.parametrize("message", BAD)
def test_given_a_bad_option_when_set_then_it_is_blocked_and_nothing_is_asked(
    unit, kubernetes, message
):
    ask(unit, **BAD[message])

    assert unit.status.name == "blocked"
    assert unit.status.message == message
    assert kubernetes.asked == []
    unit.run("update_status")
    assert unit.status.message == message
    assert unit.writes == {}
    ask(unit)
    assert unit.status.name == "active"


@given(st.dictionaries(st.sampled_from(exposure.OPTIONS), st.text()))
def test_given_any_texts_when_read_then_they_are_taken_or_refused_by_name(options):
    try:
        found = exposure.parse(options)
    except exposure.BadOptionError as reason:
        assert reason.option in options
        assert "\n" not in reason.reason
        return
    assert exposure.parse(options) == found


def test_given_an_address_when_the_command_is_asked_for_then_it_names_it_and_no_password(
    unit, kubernetes
):
    unit.relate("ingress", "traefik_route")
    unit.offer("ingress", {"external_host": "wazuh.example.com"})

    event = unit.context.on.action("enrolment-command")
    unit.context.run(event, unit.state)

    results = dict(unit.context.action_results or {})
    assert results["address"] == "wazuh.example.com"
    assert results["api"] == "https://wazuh.example.com:55000"
    assert "agent-auth -m wazuh.example.com" in results["command"]
    assert results["password"].startswith("juju show-secret --reveal secret:")
    assert unit.secrets["enrolment-password"]["password"] not in str(results)


def test_given_no_address_when_the_command_is_asked_for_then_it_names_the_service(unit):
    unit.context.run(unit.context.on.action("enrolment-command"), unit.state)

    results = dict(unit.context.action_results or {})
    assert results["address"] == "wazuh-server.sec.svc.cluster.local"
