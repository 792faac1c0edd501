"""A new application: any unit may be the first leader, in any order, and nobody errors."""

import itertools
import json

import ops
import pytest

from tests.unit.charm.world import CONTAINER, PEERS, Unit, leader, peer_of, shared_secrets


@pytest.mark.parametrize("number", [0, 1, 2])
def test_given_a_new_application_when_any_unit_leads_then_it_is_master_at_once(tmp_path, number):
    unit = Unit(tmp_path, number=number)

    unit.run("pebble_ready")

    assert unit.databag["master"] == f"wazuh-server/{number}"
    assert unit.databag["epoch"] == "1"
    assert unit.desired["role"] == "master"
    assert unit.desired["node"] == unit.desired["master"] == f"wazuh-server-{number}"


def test_given_no_decision_yet_when_a_worker_starts_then_it_waits(tmp_path):
    unit = Unit(tmp_path, number=1, leader=False)

    for event in ("install", "config_changed", "start", "pebble_ready", "update_status"):
        unit.run(event)

    assert not unit.configured
    assert unit.status == ops.WaitingStatus("waiting for the leader to name a master")
    assert not unit.writes


def test_given_a_decision_but_no_key_when_a_worker_starts_then_it_waits(tmp_path):
    lead = leader(tmp_path / "leader")
    unit = Unit(tmp_path / "worker", number=1, leader=False, databag=lead.databag)

    unit.run("pebble_ready")

    assert not unit.configured
    assert unit.status == ops.WaitingStatus(
        "waiting for the leader to make the secret cluster-key"
    )


@pytest.mark.parametrize("missing", ["api-users", "peer-identity", "enrolment-password"])
def test_given_one_secret_is_missing_when_a_worker_starts_then_it_waits(tmp_path, missing):
    lead = leader(tmp_path / "leader")
    secrets = {secret for secret in shared_secrets(lead) if secret.label != missing}
    unit = Unit(tmp_path / "w", number=1, leader=False, databag=lead.databag, secrets=secrets)

    unit.run("pebble_ready")

    assert not unit.configured
    assert missing in unit.status.message
    assert isinstance(unit.status, ops.WaitingStatus)


def test_given_a_worker_that_waited_when_the_key_is_there_then_it_is_configured(tmp_path):
    worker = Unit(tmp_path / "worker", number=1, leader=False)
    worker.run("pebble_ready")
    lead = leader(tmp_path / "leader")
    worker.configure(secrets=shared_secrets(lead))
    worker.publish(lead.databag)

    worker.run("relation_changed")

    assert worker.desired["role"] == "worker"
    assert worker.desired["master"] == "wazuh-server-0"
    assert "wazuh-server-0.wazuh-server-endpoints.sec.svc.cluster.local" in worker.read(
        "/etc/wazuh-server/files/etc/ossec.conf"
    )


@pytest.mark.parametrize(
    "order",
    list(itertools.permutations(["pebble_ready", "start", "config_changed", "leader_elected"])),
)
def test_given_any_order_of_first_events_when_all_ran_then_the_leader_is_master(tmp_path, order):
    unit = Unit(tmp_path, reachable=False)
    unit.run("install")

    for event in order:
        if event == "pebble_ready":
            unit.connect(True)
        unit.run(event)

    assert unit.desired["role"] == "master"
    assert unit.databag["epoch"] == "1"


def test_given_no_peer_relation_yet_when_installed_then_nothing_is_made(tmp_path):
    unit = Unit(tmp_path, reachable=False)
    unit.configure(relations=set())

    unit.run("install")

    assert not unit.secrets
    assert unit.status == ops.WaitingStatus(f"waiting for the peer relation {PEERS}")


def test_given_no_container_yet_when_the_leader_runs_then_the_decision_is_there_for_others(
    tmp_path,
):
    unit = Unit(tmp_path, reachable=False)

    unit.run("relation_created")

    assert unit.databag["master"] == "wazuh-server/0"
    assert set(unit.secrets) >= {"cluster-key", "api-users", "certificate-authority"}
    assert unit.status == ops.WaitingStatus(f"waiting for Pebble in the container {CONTAINER}")


@pytest.mark.parametrize("event", ["install", "upgrade_charm"])
def test_given_a_unit_when_installed_or_upgraded_then_its_ports_are_on_the_service(
    tmp_path, event
):
    unit = Unit(tmp_path, reachable=False)

    after = unit.run(event)

    assert {(port.protocol, port.port) for port in after.opened_ports} == {
        ("tcp", 1514),
        ("tcp", 1515),
        ("tcp", 6514),
        ("tcp", 55000),
    }


def test_given_a_first_hook_that_fails_when_it_is_run_again_then_one_of_each_secret_is_made(
    tmp_path,
):
    unit = Unit(tmp_path)
    unit.run("pebble_ready", commit=False)
    assert not unit.databag
    assert not unit.secrets

    unit.run("pebble_ready")

    key = unit.secrets["cluster-key"]["key"]
    assert f"<key>{key}</key>" in unit.read("/etc/wazuh-server/files/etc/ossec.conf")
    assert unit.secrets["api-users"]["wazuh"] in unit.read("/etc/wazuh-server/users.json")


def test_given_secrets_committed_without_the_databag_when_run_again_then_they_are_used(tmp_path):
    # Juju 3.6 commits secrets one by one before the databags.
    unit = Unit(tmp_path)
    after = unit.run("pebble_ready", commit=False)
    unit.configure(secrets=after.secrets)
    made = unit.secrets

    unit.run("pebble_ready")

    assert unit.secrets == made
    assert unit.databag["epoch"] == "1"


def test_given_the_supervisor_has_news_when_it_tells_then_the_workload_version_is_set(tmp_path):
    unit = leader(tmp_path)

    after = unit.notice("wazuh-server.local/state")

    assert after.workload_version == "v4.14.7"


def test_given_a_worker_when_it_is_configured_then_it_has_what_the_master_has(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")

    worker.run("pebble_ready")

    different = {path for path, content in worker.files().items() if content != lead.files()[path]}
    assert different == {
        "/etc/wazuh-server/applied.json",
        "/etc/wazuh-server/desired.json",
        "/etc/wazuh-server/files/etc/ossec.conf",
    }
    generations = worker.desired["generations"]
    assert generations == lead.desired["generations"]


def test_given_desired_json_when_read_then_it_lists_each_installed_file_with_its_digest(tmp_path):
    unit = leader(tmp_path)

    files = json.loads(unit.read("/etc/wazuh-server/desired.json"))["files"]

    pushed = {
        path.removeprefix("/etc/wazuh-server/files/")
        for path in unit.files()
        if path.startswith("/etc/wazuh-server/files/")
    }
    assert set(files) == pushed
