"""The application's secrets: made once, found by label, renewed in time, read by all."""

import datetime
import re

import ops
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from scenario import mocking

from src import certificates, secrets
from tests.unit.charm.world import Unit, leader, peer_of, shared_secrets

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return leader(tmp_path_factory.mktemp("made")).secrets


def test_given_a_new_application_when_deployed_then_each_secret_has_its_keys(made):
    assert {label: set(content) for label, content in made.items()} == {
        "cluster-key": {"key", "digest-key"},
        "api-users": {"wazuh", "wazuh-wui", "wazuh-charm", "wazuh-dashboard"},
        "certificate-authority": {"certificate", "private-key"},
        "api-identity": {"jwt-private", "jwt-public", "certificate", "private-key"},
        "peer-identity": {"certificate", "private-key"},
        "enrolment-password": {"password", "generated"},
    }


def test_given_juju_when_secrets_are_made_then_it_takes_their_keys(made):
    for content in made.values():
        ops.Secret._validate_content(content)


def test_given_wazuh_when_the_cluster_key_is_made_then_it_is_32_letters_and_digits(made):
    assert re.fullmatch(r"[A-Za-z0-9]{32}", made["cluster-key"]["key"])


@pytest.mark.parametrize("user", ["wazuh", "wazuh-wui", "wazuh-charm", "wazuh-dashboard"])
def test_given_wazuhs_rules_when_api_passwords_are_made_then_they_keep_them(made, user):
    password = made["api-users"][user]

    assert 8 <= len(password) <= 64
    for kind in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]"):
        assert re.search(kind, password)


def test_given_all_secrets_when_compared_then_no_password_is_used_twice(made):
    passwords = [*made["api-users"].values(), made["enrolment-password"]["password"]]

    assert len(set(passwords)) == len(passwords)
    assert made["cluster-key"]["key"] != made["cluster-key"]["digest-key"]


def test_given_the_token_pair_when_read_then_it_is_pkcs8_of_secp521r1(made):
    identity = made["api-identity"]
    key = serialization.load_pem_private_key(identity["jwt-private"].encode(), None)
    public = serialization.load_pem_public_key(identity["jwt-public"].encode())

    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp521r1"
    assert key.public_key() == public
    assert identity["jwt-private"].startswith("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("label", ["api-identity", "peer-identity"])
def test_given_an_identity_when_checked_then_the_authority_issued_it_for_its_key(made, label):
    authority = _certificate(made["certificate-authority"])
    certificate = _certificate(made[label])
    key = serialization.load_pem_private_key(made[label]["private-key"].encode(), None)

    certificate.verify_directly_issued_by(authority)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificate.public_key() == key.public_key()


def test_given_the_api_certificate_when_clients_call_then_every_name_is_in_it(made):
    names = _certificate(made["api-identity"]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )

    assert set(names.value.get_values_for_type(x509.DNSName)) == {
        "wazuh-server",
        "wazuh-server.sec",
        "wazuh-server.sec.svc",
        "wazuh-server.sec.svc.cluster.local",
        "*.wazuh-server-endpoints",
        "*.wazuh-server-endpoints.sec",
        "*.wazuh-server-endpoints.sec.svc",
        "*.wazuh-server-endpoints.sec.svc.cluster.local",
        "localhost",
    }


def test_given_the_peer_certificate_when_used_then_it_serves_both_sides_and_one_name(made):
    extensions = _certificate(made["peer-identity"]).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names.get_values_for_type(x509.DNSName) == ["peer.wazuh-server.internal"]
    assert set(usages) == {certificates.SERVER, certificates.CLIENT}


def test_given_a_worker_when_it_runs_then_it_makes_no_secret(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    before = worker.secrets

    worker.run("pebble_ready")

    assert worker.secrets == before


def test_given_a_secret_of_an_older_charm_when_it_lacks_a_user_then_only_that_is_added(tmp_path):
    unit = leader(tmp_path)
    users = {name: value for name, value in unit.secrets["api-users"].items() if name != "wazuh"}
    unit.configure(
        secrets={
            secret if secret.label != "api-users" else _with(secret, users)
            for secret in unit.state.secrets
        }
    )
    unit.publish({key: value for key, value in unit.databag.items() if key != "secrets"})

    unit.run("upgrade_charm")

    after = unit.secrets["api-users"]
    assert {name: after[name] for name in users} == users
    assert after["wazuh"]


def test_given_certificates_near_their_end_when_the_leader_runs_then_they_are_renewed(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    before, digest = unit.secrets, unit.databag["secrets"]
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=701)
    monkeypatch.setattr("src.charm._now", lambda: later)

    unit.run("update_status")

    after = unit.secrets
    for label in ("api-identity", "peer-identity"):
        assert after[label]["certificate"] != before[label]["certificate"]
        assert _certificate(after[label]).not_valid_after_utc > later
    assert after["certificate-authority"] == before["certificate-authority"]
    assert after["api-identity"]["jwt-private"] == before["api-identity"]["jwt-private"]
    assert unit.databag["secrets"] != digest
    assert after["api-identity"]["certificate"] in unit.read(
        "/etc/wazuh-server/rsyslog/server.pem"
    )


def test_given_renewed_certificates_when_pushed_then_only_their_daemons_are_restarted(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    before, environment = unit.desired["generations"], dict(unit.environment)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=701)
    monkeypatch.setattr("src.charm._now", lambda: later)
    syslog = unit.container.plan.services["rsyslog"].environment

    unit.run("update_status")

    after = unit.desired["generations"]
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"wazuh-apid", "wazuh-authd"}
    assert unit.environment == environment
    # rsyslog reads its certificate anew for each connection.
    assert unit.container.plan.services["rsyslog"].environment == syslog


def test_given_a_renewal_whose_databag_was_lost_when_run_again_then_all_units_are_told(
    tmp_path, monkeypatch
):
    # Juju 3.6 commits the secret before the databag: a crash in between leaves one without the
    # other.
    unit = leader(tmp_path)
    before = unit.databag
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=701)
    monkeypatch.setattr("src.charm._now", lambda: later)
    after = unit.run("update_status", commit=False)
    unit.configure(secrets=after.secrets)

    unit.run("update_status")

    assert unit.databag["secrets"] != before["secrets"]
    worker = peer_of(unit, tmp_path / "worker")
    worker.run("pebble_ready")
    assert worker.read("/etc/wazuh-server/peer/peer.crt") == unit.read(
        "/etc/wazuh-server/peer/peer.crt"
    )


def test_given_a_worker_when_the_leader_renews_then_it_takes_the_newest(tmp_path, monkeypatch):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    worker.run("pebble_ready")
    old = {secret.label: secret for secret in worker.state.secrets}
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=701)
    monkeypatch.setattr("src.charm._now", lambda: later)
    lead.run("update_status")
    worker.configure(secrets={_following(old[s.label], s) for s in shared_secrets(lead)})
    worker.publish(lead.databag)

    worker.run("relation_changed")

    assert worker.read("/etc/wazuh-server/peer/peer.crt") == lead.read(
        "/etc/wazuh-server/peer/peer.crt"
    )


def test_given_the_authority_ends_first_when_renewed_then_nothing_outlives_it():
    authority = certificates.make_authority("wazuh-server", NOW)
    late = NOW + certificates.AUTHORITY_LIFE - datetime.timedelta(days=10)

    leaf = certificates.issue(authority, "x", usages=(certificates.SERVER,), now=late)

    end = x509.load_pem_x509_certificate(leaf.certificate.encode()).not_valid_after_utc
    assert end == NOW + certificates.AUTHORITY_LIFE
    assert not certificates.can_renew(leaf.certificate, authority, late)


def test_given_an_authority_near_its_end_when_the_leader_runs_then_both_are_trusted(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    before = unit.secrets
    start = datetime.datetime.now(datetime.UTC)
    for days in (701, 1402, 2103, 2804, 3505):
        later = start + datetime.timedelta(days=days)
        monkeypatch.setattr("src.charm._now", lambda later=later: later)
        unit.run("update_status")

    after = unit.secrets["certificate-authority"]
    assert after["previous"] == before["certificate-authority"]["certificate"]
    assert after["certificate"] != after["previous"]
    trusted = x509.load_pem_x509_certificates(unit.read("/etc/wazuh-server/peer/ca.crt").encode())
    assert len(trusted) == 2
    store = verification.Store(trusted)
    verifier = verification.PolicyBuilder().store(store).time(later)
    for label, host in (
        ("peer-identity", "peer.wazuh-server.internal"),
        ("api-identity", "localhost"),
    ):
        leaf = _certificate(unit.secrets[label])
        assert verifier.build_server_verifier(x509.DNSName(host)).verify(leaf, [])

    monkeypatch.setattr("src.charm._now", lambda: start + certificates.AUTHORITY_LIFE)
    unit.run("update_status")
    unit.run("leader_elected")
    assert "previous" not in unit.secrets["certificate-authority"]


def test_given_an_authority_just_replaced_when_compared_then_certificates_in_use_stay(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    start = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr("src.charm._now", lambda: start + datetime.timedelta(days=2900))
    unit.run("update_status")
    before, generations = unit.secrets, unit.desired["generations"]
    assert "previous" in before["certificate-authority"]
    monkeypatch.setattr("src.charm._now", lambda: start + datetime.timedelta(days=2901))
    unit.run("leader_elected")
    assert unit.secrets["api-identity"] == before["api-identity"]
    assert unit.desired["generations"] == generations


def test_given_secret_values_when_shown_then_they_are_not_in_the_text(made):
    vault = secrets.open_vault(made)

    for label in ("cluster-key", "api-users", "enrolment-password"):
        for value in made[label].values():
            assert value not in repr(vault)


@pytest.mark.parametrize("tool", ["secret_add", "relation_set"])
def test_given_juju_takes_no_write_when_the_leader_runs_then_it_waits_and_tries_again(
    tmp_path, monkeypatch, tool
):
    unit = Unit(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(mocking._MockModelBackend, tool, _refused)
        unit.run("pebble_ready")
        assert unit.status == ops.WaitingStatus(
            "waiting for Juju to take what this unit wrote as leader"
        )
        assert not unit.configured

    unit.run("update_status")

    assert unit.configured
    assert unit.databag["epoch"] == "1"


def test_given_a_revision_nobody_follows_when_juju_says_so_then_it_is_removed(tmp_path):
    unit = leader(tmp_path)
    secret = next(s for s in unit.state.secrets if s.label == "cluster-key")

    unit.context.run(unit.context.on.secret_remove(secret, revision=77), unit.state)

    assert unit.context.removed_secret_revisions == [77]


def test_given_a_leader_no_longer_when_a_revision_is_to_be_removed_then_the_hook_does_not_fail(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    secret = next(s for s in unit.state.secrets if s.label == "cluster-key")
    monkeypatch.setattr(mocking._MockModelBackend, "secret_remove", _refused)

    unit.context.run(unit.context.on.secret_remove(secret, revision=77), unit.state)

    assert unit.context.removed_secret_revisions == []


def test_given_the_applications_own_secret_when_it_changed_then_only_its_label_is_named(
    tmp_path, monkeypatch
):
    # Juju refuses that on a unit that does not lead, and the hook would fail ("lease not held").
    worker = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")
    worker.run("pebble_ready")
    named = []
    monkeypatch.setattr(mocking._MockModelBackend, "secret_get", _noting(named))

    worker.run("secret_changed", worker.state.get_secret(label="api-identity"))

    assert named
    assert not [pair for pair in named if all(pair)]


def _certificate(content):
    return x509.load_pem_x509_certificate(content["certificate"].encode())


def _with(secret, content):
    from ops import testing

    return testing.Secret(content, label=secret.label, owner=secret.owner)


def _following(old, new):
    """Return a secret of which this unit still follows the old content."""
    from ops import testing

    return testing.Secret(
        old.tracked_content, latest_content=new.tracked_content, label=old.label, owner=None
    )


def _refused(*_args, **_options):
    raise ops.ModelError("ERROR lease not held")


def _noting(named):
    original = mocking._MockModelBackend.secret_get

    def secret_get(self, **options):
        named.append((options.get("id"), options.get("label")))
        return original(self, **options)

    return secret_get
