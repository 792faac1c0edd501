"""A mistyped repository: the cluster serves on, and one sentence says what is wrong."""

from sandbox.demo.cluster import Cluster
from sandbox.driver import Driver

_WRONG = "git+hhtp://git.example.com/rules.git"
_SENTENCE = 'custom-config-repository: unknown scheme "git+hhtp"'


def _is_said(cluster: Cluster) -> bool:
    units = cluster.units().values()
    said = [
        unit["workload-status"]
        for unit in units
        if unit["workload-status"]["current"] == "blocked"
    ]
    return bool(said) and all(status["message"].startswith(_SENTENCE) for status in said)


def test_given_a_cluster_when_the_scheme_is_mistyped_then_it_serves_on_and_says_so(
    cluster: Cluster,
) -> None:
    option = "custom-config-repository"
    good = cluster.driver.juju("config", "wazuh-server", option).strip()
    before = {unit: cluster.starts(unit) for unit in cluster.units()}

    cluster.driver.config(custom_config_repository=_WRONG)
    cluster.wait("the sentence", lambda: _is_said(cluster), 60)

    assert {unit: cluster.starts(unit) for unit in cluster.units()} == before
    assert all(unit["ready"] for unit in cluster.units().values())
    assert _enrols(cluster, "while-mistyped")

    cluster.driver.config(custom_config_repository=good or None)
    cluster.wait("no complaint", lambda: cluster.is_whole(3), 120)


def test_given_a_first_deployment_when_the_scheme_is_mistyped_then_it_serves_and_says_so(
    fresh: Driver,
) -> None:
    fresh.deploy(1, "--config", f"custom-config-repository={_WRONG}")
    cluster = Cluster(fresh)

    cluster.wait("the sentence", lambda: _is_said(cluster), 120)
    cluster.wait("readiness", lambda: all(u["ready"] for u in cluster.units().values()), 120)

    # The Service hears of a ready unit a moment after its status says so.
    cluster.wait("an enrolment through the Service", lambda: _enrols(cluster, "on-day-one"), 60)


def _enrols(cluster: Cluster, name: str) -> bool:
    password = cluster.secret("enrolment-password")["password"]
    return bool(
        cluster.ask("agents", host="wazuh-server", names=[name], password=password)[0]["id"]
    )
