"""The charm's calls of Kubernetes against a real kube-apiserver; Juju is emulated.

No controller runs beside it: nothing makes load balancers or pods, so the tests write what a
cloud and kubelet would. Rights are those that Juju gives a charm (caas/kubernetes, trust.go).
"""

import itertools
from collections.abc import Iterator

import pytest
from lightkube.core.exceptions import ApiError
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType

from src import cluster, exposure, hardening, kubernetes
from tests.kubernetes.apiserver import CHARM, Apiserver, serving

APP, PORTS = "wazuh-server", (1514, 1515, 6514, 55000)
UNTRUSTED = [
    {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "patch"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
]
POLICIES = {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["*"]}
BUDGETS = {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["*"]}
BALANCER = exposure.Exposure(
    "LoadBalancer", {"cloud.example/tags": "a=b,c=d"}, "Local", ("10.0.0.0/8",)
)
_models = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apiserver]:
    with serving(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
def names(server: Apiserver, monkeypatch: pytest.MonkeyPatch) -> cluster.Names:
    """A model of its own with the Service as Juju makes it, and a charm without trust."""
    names = cluster.Names(APP, f"sec-{next(_models)}")
    server.make(apiVersion="v1", kind="Namespace", metadata={"name": names.model})
    server.make(
        apiVersion="v1",
        kind="Service",
        metadata={
            "name": APP,
            "namespace": names.model,
            "annotations": {"model.juju.is/id": "1", "somebody.else/wants": "this"},
        },
        spec={
            "type": "ClusterIP",
            "selector": {"app.kubernetes.io/name": APP},
            "ports": [
                {"name": f"juju-{port}-tcp", "port": port, "protocol": "TCP", "targetPort": port}
                for port in PORTS
            ],
        },
    )
    server.allow("untrusted", UNTRUSTED, names.model)
    monkeypatch.setenv("KUBECONFIG", str(server.config(CHARM)))
    return names


def service(server: Apiserver, names: cluster.Names) -> dict:
    """Return the Service without what changes at each write."""
    found = server.admin().get(Service, APP, namespace=names.model).to_dict()
    meta, spec = found["metadata"], found["spec"]
    ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.pop("ports")]
    return {"annotations": meta["annotations"], "ports": ports, **spec}


def guards(names: cluster.Names) -> tuple[dict, ...]:
    return hardening.objects(names, PORTS)


def kinds(server: Apiserver, names: cluster.Names) -> set[str]:
    """Name what guards the application."""
    client, found = server.admin(), set()
    for kind in (NetworkPolicy, PodDisruptionBudget):
        listed = client.list(kind, namespace=names.model)
        known = {one.metadata.name for one in listed if one.metadata}
        found |= {kind.__name__} if hardening.name(names) in known else set()
    return found


def test_given_no_trust_when_exposed_and_put_back_then_the_service_is_as_juju_made_it(
    server, names
):
    before = service(server, names)

    kubernetes.expose(names, BALANCER)

    found = service(server, names)
    assert (found["type"], found["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert found["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert found["annotations"]["cloud.example/tags"] == "a=b,c=d"
    assert found["annotations"]["somebody.else/wants"] == "this"
    assert (found["ports"], found["clusterIP"]) == (before["ports"], before["clusterIP"])
    kubernetes.expose(names, exposure.Exposure())
    assert service(server, names) == before


@pytest.mark.parametrize("first", ["LoadBalancer", "NodePort", "ClusterIP"])
@pytest.mark.parametrize("then", ["LoadBalancer", "NodePort", "ClusterIP"])
def test_given_any_type_when_another_is_asked_for_then_the_api_takes_it_and_writes_once(
    server, names, first, then
):
    for kind in (first, then, then):
        policy = "Local" if kind != "ClusterIP" else "Cluster"
        kubernetes.expose(names, exposure.Exposure(kind, policy=policy))
    version = server.admin().get(Service, APP, namespace=names.model).metadata.resourceVersion

    kubernetes.expose(names, exposure.Exposure(then, policy=policy))

    found = server.admin().get(Service, APP, namespace=names.model)
    assert found.spec.type == then
    assert found.metadata.resourceVersion == version


def test_given_a_balancer_when_it_has_an_address_then_it_is_told(server, names):
    assert kubernetes.expose(names, BALANCER) == kubernetes.Reached()
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}}
    server.admin().patch(
        Service.Status, APP, status, namespace=names.model, patch_type=PatchType.MERGE
    )

    assert kubernetes.expose(names, BALANCER).address == "203.0.113.7"


def test_given_node_ports_when_asked_for_then_the_apis_own_are_told_with_a_pods_node(
    server, names
):
    server.make(
        apiVersion="v1",
        kind="Pod",
        metadata={
            "name": f"{APP}-0",
            "namespace": names.model,
            "labels": {"app.kubernetes.io/name": APP},
        },
        spec={"containers": [{"name": APP, "image": "none"}], "nodeName": "node"},
    )
    status = {"status": {"hostIP": "192.0.2.11"}}
    server.admin().patch(
        Pod.Status, f"{APP}-0", status, namespace=names.model, patch_type=PatchType.MERGE
    )

    found = kubernetes.expose(names, exposure.Exposure("NodePort"))

    assert found.address == "192.0.2.11"
    assert list(found.ports) == [str(port) for port in PORTS]
    assert all(30000 <= port <= 32767 for port in found.ports.values())


def test_given_what_the_api_refuses_when_asked_then_its_reason_is_told(server, names):
    bad = exposure.Exposure(annotations={"a/b/c": "1"})

    with pytest.raises(kubernetes.RefusedError, match=r"422 .*annotations") as caught:
        kubernetes.expose(names, bad)

    assert "\n" not in str(caught.value)


def test_given_no_right_when_asked_then_it_is_told_that_the_api_forbids_it(server, names):
    other = cluster.Names(APP, "default")

    with pytest.raises(kubernetes.UnseenError, match=r'403 services "wazuh-server" is forbidden'):
        kubernetes.expose(other, BALANCER)


def test_given_an_api_that_does_not_answer_when_asked_then_so_it_is_told(server, names):
    with (
        server.silent(),
        pytest.raises(kubernetes.UnseenError, match="Kubernetes does not answer"),
    ):
        kubernetes.expose(names, BALANCER)


def test_given_no_trust_when_hardened_then_it_is_told_and_nothing_is_there(server, names):
    with pytest.raises(kubernetes.RefusedError, match=r"403 .*needs juju trust") as caught:
        kubernetes.harden(names, guards(names), wanted=True)

    assert not isinstance(caught.value, kubernetes.PartlyError)
    assert kinds(server, names) == set()


def test_given_trust_when_hardened_twice_then_both_are_there_and_go_again(server, names):
    server.allow("trusted", [POLICIES, BUDGETS], names.model)

    for _ in range(2):
        kubernetes.harden(names, guards(names), wanted=True)

    assert kinds(server, names) == {"NetworkPolicy", "PodDisruptionBudget"}
    client = server.admin()
    owner = client.get(Service, APP, namespace=names.model).metadata.uid
    policy = client.get(NetworkPolicy, hardening.name(names), namespace=names.model)
    assert [one.uid for one in policy.metadata.ownerReferences] == [owner]
    for _ in range(2):
        kubernetes.harden(names, guards(names), wanted=False)
    assert kinds(server, names) == set()


def test_given_rights_for_half_when_hardened_then_that_is_told_and_can_be_taken_away(
    server, names
):
    server.allow("half", [POLICIES, {**BUDGETS, "verbs": ["get", "delete"]}], names.model)

    with pytest.raises(kubernetes.PartlyError, match="403 "):
        kubernetes.harden(names, guards(names), wanted=True)

    assert kinds(server, names) == {"NetworkPolicy"}
    kubernetes.harden(names, guards(names), wanted=False)
    assert kinds(server, names) == set()


def test_given_an_object_of_that_name_when_another_made_it_then_it_becomes_ours(server, names):
    server.allow("trusted", [POLICIES, BUDGETS], names.model)
    spec = {"podSelector": {}, "policyTypes": ["Egress"]}
    meta = {"name": hardening.name(names), "namespace": names.model}
    server.make(apiVersion="networking.k8s.io/v1", kind="NetworkPolicy", metadata=meta, spec=spec)

    kubernetes.harden(names, guards(names), wanted=True)

    found = server.admin().get(NetworkPolicy, hardening.name(names), namespace=names.model)
    assert found.spec.policyTypes == ["Ingress"]


def test_given_a_service_that_is_gone_when_asked_then_that_is_told(server, names):
    server.admin().delete(Service, APP, namespace=names.model)

    with pytest.raises(kubernetes.UnseenError, match="404 "):
        kubernetes.expose(names, BALANCER)


def test_given_the_fake_of_the_unit_tests_when_compared_then_the_real_one_answers_alike(
    server, names
):
    """What `fake_kubernetes` says of a policy for outside types, and of what is not there."""
    client = server.admin()
    patch = {"spec": {"externalTrafficPolicy": "Local"}}

    with pytest.raises(ApiError) as caught:
        client.patch(Service, APP, patch, namespace=names.model, patch_type=PatchType.MERGE)

    assert caught.value.status.code == 422
    with pytest.raises(ApiError) as caught:
        client.delete(NetworkPolicy, "none", namespace=names.model)
    assert caught.value.status.code == 404
