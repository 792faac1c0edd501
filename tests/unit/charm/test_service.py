"""The application's Service: four options, against a recorded form of Kubernetes' API."""

import copy
import ipaddress
import json
import subprocess
import threading

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from src import digests, enrolment, exposure, secrets
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


def addresses(unit):
    """Return the addresses for which the application's certificate holds."""
    text = unit.secrets["api-identity"]["certificate"]
    certificate = x509.load_pem_x509_certificates(text.encode())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.IPAddress)


def marked(unit, options):
    """Return what the leader publishes of a Service that these options made."""
    key = secrets.digest_key(unit.secrets["cluster-key"])
    return digests.keyed(key, exposure.parse(options).dump())


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
    ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec["ports"]]
    assert ports == SERVICE["spec"]["ports"]
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
    assert ipaddress.ip_address("203.0.113.7") in addresses(unit)
    kubernetes.asked.clear()
    for event in ("update_status", "config_changed", "update_status"):
        unit.run(event)
        assert unit.writes == {}
        assert unit.tools["relation_set"] == 0
        assert sum(unit.tools.values()) <= 12
        assert unit.requests <= 6
    assert kubernetes.asked == [("GET", None)] * 2


def test_given_a_load_balancer_when_its_address_changes_then_a_quiet_hook_sees_it(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.7"}]}
    unit.run("update_status")
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"hostname": "lb.example.com"}]}

    unit.run("update_status")

    assert unit.status.message == "master of 3, epoch 1, at lb.example.com"
    assert ipaddress.ip_address("203.0.113.7") not in addresses(unit)
    kubernetes.service["status"]["loadBalancer"] = {}
    unit.run("update_status")
    assert unit.status.message == "service-type: waiting for the load balancer's address"


@pytest.mark.parametrize("bad", [{"hostname": "a</host><x>"}, {"ip": "$(id)"}, {}])
def test_given_a_load_balancer_when_its_address_is_none_then_the_next_one_counts(
    unit, kubernetes, bad
):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [bad, {"ip": "203.0.113.7"}]}

    unit.run("update_status")

    assert unit.status.message == "master of 3, epoch 1, at 203.0.113.7"


@pytest.mark.parametrize("event", ["update_status", "leader_elected"])
def test_given_a_service_that_somebody_reset_when_looked_at_then_it_is_as_the_options_say(
    unit, kubernetes, event
):
    ask(unit, **BALANCER)
    wanted = copy.deepcopy(kubernetes.service)
    kubernetes.service = copy.deepcopy(SERVICE)

    unit.run(event)

    assert kubernetes.service == wanted


def test_given_a_waiting_balancer_when_hooks_are_quiet_then_nothing_else_is_done(unit, kubernetes):
    ask(unit, **BALANCER)

    for _ in range(5):
        unit.run("update_status")
        assert unit.writes == {}
        assert sum(unit.tools.values()) <= 12
    assert unit.status.message == "service-type: waiting for the load balancer's address"


def test_given_a_worker_or_a_bad_option_when_hooks_are_quiet_then_kubernetes_is_not_asked(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.asked.clear()

    ask(unit, **BALANCER | {"service-type": "none"})
    unit.run("update_status")
    assert unit.status.message.startswith("service-type: has to be one of")
    unit.configure(leader=False, config=BALANCER)
    unit.run("update_status")

    assert kubernetes.asked == []


def test_given_no_answer_when_a_quiet_hook_looks_then_what_was_known_holds(unit, kubernetes):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.7"}]}
    unit.run("update_status")
    kubernetes.silent = True

    unit.run("update_status")

    assert unit.status.message == "master of 3, epoch 1, at 203.0.113.7"
    assert unit.writes == {}


def test_given_a_service_that_was_reset_when_the_patch_is_refused_then_it_is_said(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.service = copy.deepcopy(SERVICE)
    kubernetes.fail = 403

    for _ in range(2):
        unit.run("update_status")
        assert unit.status.name == "blocked"
        assert unit.status.message.startswith("service-type: the Service cannot be made LoadB")
    kubernetes.fail = None
    unit.run("update_status")

    assert kubernetes.service["spec"]["type"] == "LoadBalancer"
    assert unit.status.name == "waiting"


def test_given_a_type_that_another_leader_took_back_when_leading_again_then_no_old_address(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.7"}]}
    unit.run("update_status")
    published = {name: text for name, text in unit.databag.items() if name != "service"}
    unit.publish(published)
    unit.configure(config={})

    unit.run("leader_elected")

    assert unit.status.message == "master of 3, epoch 1"


def test_given_annotations_alone_when_another_leader_took_the_type_back_then_no_old_address(
    unit, kubernetes
):
    ask(unit, **BALANCER)
    kubernetes.service["status"]["loadBalancer"] = {"ingress": [{"ip": "203.0.113.7"}]}
    unit.run("update_status")
    mark = marked(unit, {"service-annotations": "pool=blue"})
    unit.publish({**unit.databag, "service": mark})
    unit.configure(config={"service-annotations": "pool=blue"})

    unit.run("leader_elected")

    assert unit.status.message == "master of 3, epoch 1"


def test_given_node_ports_when_set_then_status_and_command_tell_address_and_ports(
    unit, kubernetes
):
    kubernetes.nodes = ["192.0.2.12", "192.0.2.11", "192.0.2.12"]

    ask(unit, service_type="NodePort")

    told = "31514 for 1514, 31515 for 1515, 30980 for 6514, 32427 for 55000"
    assert unit.status.message == f"master of 3, epoch 1, at 192.0.2.11, port {told}"
    assert ipaddress.ip_address("192.0.2.11") in addresses(unit)
    results = unit.act("enrolment-command")
    assert results["address"] == "192.0.2.11"
    assert results["ports"] == told
    assert results["api"] == "https://192.0.2.11:32427"
    assert (
        "agent-auth -m 192.0.2.11 -p 31515 -v /var/ossec/etc/rootca.pem &&" in results["command"]
    )
    assert "s|<port>1514</port>|<port>31514</port>|" in results["command"]
    kubernetes.nodes = ["192.0.2.11", "192.0.2.10"]
    unit.run("update_status")
    assert unit.writes == {}
    kubernetes.nodes = ["192.0.2.10"]
    unit.run("update_status")
    assert "at 192.0.2.10, port" in unit.status.message
    ask(unit)
    assert unit.status.message == "master of 3, epoch 1"
    assert "ports" not in unit.act("enrolment-command")


def test_given_node_ports_when_pods_cannot_be_read_then_any_node_and_the_ports_are_told(
    unit, kubernetes
):
    ask(unit, service_type="NodePort")

    assert unit.status.message.startswith("master of 3, epoch 1, at any node, port 31514 for 1514")
    assert unit.act("enrolment-command")["address"] == "NODE"
    unit.run("update_status")
    assert unit.writes == {}


def test_given_node_ports_and_an_ingress_when_told_then_the_ingress_ports_are_wazuhs_own(
    unit, kubernetes
):
    kubernetes.nodes = ["192.0.2.11"]
    ask(unit, service_type="NodePort")

    unit.relate("ingress", "traefik_route")
    unit.offer("ingress", {"external_host": "wazuh.example.com"})

    assert unit.status.message == "master of 3, epoch 1, at wazuh.example.com"
    assert "ports" not in unit.act("enrolment-command")


def test_given_an_enrolment_command_when_a_shell_runs_it_then_the_agent_uses_the_nodes_ports(
    tmp_path,
):
    """The quotes have to hold: what people copy goes through their shell."""
    told = enrolment.tell("192.0.2.11", "secret:x", {"1514": 31514, "1515": 31515})
    conf = tmp_path / "ossec.conf"
    conf.write_text("<address>MANAGER_IP</address>\n<port>1514</port>\n")
    sed = told["command"].split(" && ")[2].removeprefix("sudo ")
    subprocess.run(
        ["sh", "-c", sed.replace("/var/ossec/etc/ossec.conf", str(conf))], check=True, timeout=30
    )

    assert conf.read_text() == "<address>192.0.2.11</address>\n<port>31514</port>\n"


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
    "service-annotations: has to be key=value pairs, one a line or by commas, or a JSON object of "
    "texts": {"service_annotations": "a</host><x>"},
    "service-annotations: is not JSON, though it begins with a brace": {
        "service_annotations": '{"a": ' * 5000
    },
    "service-annotations: has to hold texts alone, as JSON in quotes": {
        "service_annotations": '{"service.example/idle-timeout": 60}'
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


AWS = "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags"
ANNOTATIONS = {
    "a.example/b=1": {"a.example/b": "1"},
    "a=1, b=2,c=": {"a": "1", "b": "2", "c": ""},
    "a=1\nb=2\n\n": {"a": "1", "b": "2"},
    "a=1,\nb=2,": {"a": "1", "b": "2"},
    "nets=10.0.0.0/8,192.0.2.0/24, pool=blue": {"nets": "10.0.0.0/8,192.0.2.0/24", "pool": "blue"},
    f"{AWS}=a=b,c=d\npool=blue": {AWS: "a=b,c=d", "pool": "blue"},
    json.dumps({AWS: "a=b,c=d"}): {AWS: "a=b,c=d"},
    json.dumps({"a": "1", "b": '{"c": 2}'}, indent=2): {"a": "1", "b": '{"c": 2}'},
}


@pytest.mark.parametrize("text", ANNOTATIONS)
def test_given_annotations_when_written_in_any_way_then_commas_stay_in_values(text):
    assert exposure.parse({"service-annotations": text}).annotations == ANNOTATIONS[text]


@given(
    st.dictionaries(
        st.sampled_from(["a", "b.example/c", AWS]), st.text(st.sampled_from('ab=,{}" :/'))
    )
)
def test_given_any_values_when_written_as_an_object_then_they_are_taken_as_they_are(wanted):
    found = exposure.parse({"service-annotations": json.dumps(wanted)}).annotations

    assert found == wanted


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
