"""What is pushed, to whom it belongs, and what makes which daemon restart."""

import dataclasses
import json

import pytest
import yaml

from src import cluster, files, secrets
from tests.unit.charm.world import ROOT, Unit, leader, peer_of

TABLE = {
    "files/etc/ossec.conf": ("root", "wazuh", 0o640),
    "files/etc/local_internal_options.conf": ("root", "wazuh", 0o640),
    "files/etc/authd.pass": ("root", "wazuh", 0o640),
    "files/etc/sslmanager.cert": ("root", "wazuh", 0o640),
    "files/etc/sslmanager.key": ("root", "wazuh", 0o640),
    "files/api/configuration/api.yaml": ("root", "wazuh", 0o640),
    "files/api/configuration/ssl/server.crt": ("wazuh", "wazuh", 0o400),
    "files/api/configuration/ssl/server.key": ("wazuh", "wazuh", 0o400),
    "files/api/configuration/security/private_key.pem": ("wazuh", "wazuh", 0o640),
    "files/api/configuration/security/public_key.pem": ("wazuh", "wazuh", 0o640),
    "users.json": ("root", "root", 0o600),
    "peer/ca.crt": ("root", "root", 0o600),
    "peer/peer.crt": ("root", "root", 0o600),
    "peer/peer.key": ("root", "root", 0o600),
    "rsyslog/rsyslog.conf": ("root", "root", 0o600),
    "rsyslog/ca.crt": ("root", "root", 0o600),
    "rsyslog/server.pem": ("root", "root", 0o600),
    "repository.json": ("root", "wazuh-git", 0o640),
    "desired.json": ("root", "root", 0o600),
    "master-state.json": ("root", "root", 0o600),
    "applied.json": ("root", "root", 0o600),
}


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    return secrets.open_vault(leader(tmp_path_factory.mktemp("vault")).secrets)


SPEC = files.Spec(
    unit="wazuh-server/1",
    names=cluster.Names("wazuh-server", "sec"),
    decision=cluster.Decision(4, "wazuh-server/2", 17),
)


def test_given_a_first_configuration_when_pushed_then_owners_and_modes_are_the_tables(tmp_path):
    unit = Unit(tmp_path, config={"custom-config-repository": "git+https://git.example.org/rules"})

    unit.run("pebble_ready")

    seen = {
        path.removeprefix("/etc/wazuh-server/"): (
            options["user"],
            options["group"],
            options["permissions"],
        )
        for path, options in unit.pushes
    }
    assert seen == TABLE


def test_given_a_first_configuration_when_pushed_then_desired_comes_after_all_it_lists(tmp_path):
    unit = Unit(tmp_path)

    unit.run("pebble_ready")

    order = [path for path, _ in unit.pushes]
    last = ("desired.json", "applied.json", "master-state.json")
    assert order[-3:] == [f"/etc/wazuh-server/{name}" for name in last]


def test_given_other_users_when_they_read_what_is_theirs_then_only_two_folders_let_them_pass():
    assert files.DIRECTORIES == {
        "/etc/wazuh-server": 0o711,
        "/etc/wazuh-server/filebeat": 0o711,
        "/etc/wazuh-server/files": 0o700,
        "/etc/wazuh-server/peer": 0o700,
        "/etc/wazuh-server/rsyslog": 0o700,
        "/run/wazuh-server": 0o755,
    }


def test_given_a_worker_when_rendered_then_desired_is_what_the_supervisor_reads(vault):
    rendered = files.render(dataclasses.replace(SPEC, wake=5), vault)

    desired = json.loads(rendered.files[-1].content)
    assert {key: desired[key] for key in desired if key not in ("files", "generations")} == {
        "schema": 1,
        "inputs": rendered.inputs,
        "epoch": 4,
        "role": "worker",
        "node": "wazuh-server-1",
        "master": "wazuh-server-2",
        "endpoints": "wazuh-server-endpoints.sec.svc.cluster.local",
        "enrolment": True,
        "high-water": 17,
        "regardless": False,
        "wake": 5,
        "ruleset": None,
    }
    assert set(desired["generations"]) == {
        "wazuh-clusterd",
        "wazuh-authd",
        "wazuh-apid",
        "wazuh-modulesd",
        "wazuh-analysisd",
        "wazuh-csyslogd",
        "wazuh-maild",
        "wazuh-monitord",
        "users",
    }
    entry = desired["files"]["api/configuration/ssl/server.key"]
    assert (entry["owner"], entry["group"], entry["mode"]) == ("wazuh", "wazuh", "0400")


def test_given_the_supervisors_reader_when_it_reads_a_rendered_order_then_it_is_whole(
    vault, tmp_path
):
    from supervisor import desired

    for file in files.render(SPEC, vault).files:
        path = tmp_path / file.path.removeprefix(files.ROOT + "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)

    order = desired.read(tmp_path)

    assert order.desired.role == "worker"
    assert order.address("wazuh-server-2") == SPEC.names.address("wazuh-server/2")


def test_given_users_when_rendered_then_the_charms_own_is_an_administrator(vault):
    rendered = {file.path: file.content for file in files.render(SPEC, vault).files}

    users = json.loads(rendered["/etc/wazuh-server/users.json"])

    assert set(users) == {"wazuh", "wazuh-wui", "wazuh-charm", "wazuh-dashboard"}
    assert users["wazuh-dashboard"]["roles"] == [2]
    assert users["wazuh-charm"]["roles"] == [1]
    assert all(set(user) <= {"password", "roles"} for user in users.values())


def test_given_api_yaml_when_read_then_it_has_keys_wazuh_knows(vault):
    rendered = {file.path: file.content for file in files.render(SPEC, vault).files}

    api = yaml.safe_load(rendered["/etc/wazuh-server/files/api/configuration/api.yaml"])

    assert api == {
        "port": 55000,
        "drop_privileges": True,
        "https": {"enabled": True, "key": "server.key", "cert": "server.crt", "use_ca": False},
    }


CHANGES = {
    "cluster_key": ({"cluster_key": "k" * 32}, {"wazuh-clusterd"}, set()),
    "enrolment": ({"enrolment": "another"}, {"wazuh-authd"}, set()),
    "api": (
        {"api": secrets.Identity("certificate", "key")},
        {"wazuh-apid", "wazuh-authd"},
        set(),
    ),
    "tokens": ({"token_private": "key"}, {"wazuh-apid"}, set()),
    "users": ({"users": (("wazuh", "p"),)}, {"users"}, set()),
    "authority": ({"authority": "certificate"}, set(), {"rsyslog"}),
    "peer": ({"peer": secrets.Identity("certificate", "key")}, set(), set()),
}


@pytest.mark.parametrize(("change", "generations", "services"), CHANGES.values(), ids=CHANGES)
def test_given_one_secret_changes_when_rendered_then_only_its_own_is_restarted(
    vault, change, generations, services
):
    before = files.render(SPEC, vault)
    after = files.render(SPEC, dataclasses.replace(vault, **change))

    assert _different(_generations(before), _generations(after)) == generations
    assert _different(before.layer["services"], after.layer["services"]) == services


def test_given_another_master_when_rendered_then_only_its_address_differs(vault):
    # The supervisor restarts the cluster daemon for it, once: it may have heard from a peer.
    decision = cluster.Decision(5, "wazuh-server/0")

    before = files.render(SPEC, vault)
    after = files.render(dataclasses.replace(SPEC, decision=decision), vault)

    assert _different(_generations(before), _generations(after)) == set()
    assert _different(before.layer["services"], after.layer["services"]) == set()
    names = {file.path for file in after.files if file not in before.files}
    assert names == {f"{files.ROOT}/files/etc/ossec.conf", files.DESIRED}


def test_given_another_role_when_rendered_then_all_of_wazuh_is_restarted(vault):
    decision = cluster.Decision(5, "wazuh-server/1")

    before = files.render(SPEC, vault)
    after = files.render(dataclasses.replace(SPEC, decision=decision), vault)

    assert _different(before.layer["services"], after.layer["services"]) == {"wazuh"}


def test_given_the_layer_when_read_then_it_has_a_ready_check_and_no_other(vault):
    checks = files.render(SPEC, vault).layer["checks"]

    assert set(checks) == {"ready"}
    assert checks["ready"]["level"] == "ready"


def test_given_the_image_when_compared_then_its_check_is_the_charms(vault):
    baked = yaml.safe_load((ROOT / "rock/layers/001-wazuh-server.yaml").read_text())

    assert baked["checks"]["ready"] == files.render(SPEC, vault).layer["checks"]["ready"]


def test_given_any_two_inputs_when_they_differ_then_so_do_their_digests():
    variants = [
        SPEC,
        dataclasses.replace(SPEC, unit="wazuh-server/3"),
        dataclasses.replace(SPEC, decision=cluster.Decision(5, "wazuh-server/2", 17)),
        dataclasses.replace(SPEC, decision=cluster.Decision(4, "wazuh-server/2", 18)),
        dataclasses.replace(SPEC, options=("git+https://x/y", "")),
        dataclasses.replace(SPEC, request="r"),
        dataclasses.replace(SPEC, serve={"commit": None}),
        dataclasses.replace(SPEC, serve={"commit": "c"}),
        dataclasses.replace(SPEC, wake=1),
        dataclasses.replace(SPEC, names=cluster.Names("wazuh-server", "other")),
    ]
    seen = {spec.inputs("key", "secrets") for spec in variants}

    assert len(seen) == len(variants)
    assert SPEC.inputs("another", "secrets") != SPEC.inputs("key", "secrets")
    assert SPEC.inputs("key", "others") != SPEC.inputs("key", "secrets")


def test_given_a_file_when_shown_then_its_content_is_not(vault):
    rendered = files.render(SPEC, vault)

    assert vault.cluster_key not in repr(rendered)
    assert vault.enrolment not in repr(rendered)


def test_given_two_units_when_rendered_then_the_digest_of_their_services_is_no_plain_one(
    tmp_path,
):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    worker.run("pebble_ready")

    other = leader(tmp_path / "other")

    assert lead.environment["WAZUH_CONFIGURATION"] != other.environment["WAZUH_CONFIGURATION"]
    assert lead.environment["WAZUH_CONFIGURATION"] != worker.environment["WAZUH_CONFIGURATION"]


def _generations(rendered):
    return json.loads(rendered.files[-1].content)["generations"]


def _different(before, after):
    return {name for name in before | after if before.get(name) != after.get(name)}
