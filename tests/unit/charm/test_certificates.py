"""The relation `certificates`, against the published library's own provider code."""

import datetime
import json

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from src.relations import BadDataError, certificates
from tests.unit.charm.provider import DAY, authority, of_version_6, provide
from tests.unit.charm.world import Unit, leader, peer_of

ENDPOINT, INTERFACE = "certificates", "tls-certificates"
API, ENROLMENT = "/etc/wazuh-server/files/api/configuration/ssl/", "/etc/wazuh-server/files/etc/"


@pytest.fixture(scope="module")
def root():
    return authority()


@pytest.fixture
def unit(tmp_path):
    unit = leader(tmp_path)
    unit.relate(ENDPOINT, INTERFACE)
    return unit


def asked(unit: Unit) -> dict[str, str]:
    return dict(unit.related(ENDPOINT).local_app_data)


def request_of(unit: Unit) -> x509.CertificateSigningRequest:
    (row,) = json.loads(asked(unit)["certificate_signing_requests"])
    return x509.load_pem_x509_csr(row["certificate_signing_request"].encode())


def served(unit: Unit) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(unit.read(f"{API}server.crt").encode())


def test_given_a_provider_when_related_then_one_certificate_is_asked_for_all_units(unit):
    request = request_of(unit)

    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = set(names.get_values_for_type(x509.DNSName))
    assert request.is_signature_valid
    assert "wazuh-server.sec.svc.cluster.local" in hosts
    assert "*.wazuh-server-endpoints.sec.svc.cluster.local" in hosts
    assert "localhost" not in hosts
    assert not names.get_values_for_type(x509.IPAddress)
    assert "PRIVATE KEY" not in str(asked(unit))


def test_given_no_certificate_yet_when_related_then_our_own_goes_on(tmp_path):
    unit = leader(tmp_path)
    before, environment = unit.files(), unit.environment

    unit.relate(ENDPOINT, INTERFACE)

    assert unit.status.message == "certificates: waiting for other to issue the certificate"
    assert unit.status.name == "waiting"
    assert unit.environment == environment
    changed = {path for path, text in unit.files().items() if text != before[path]}
    assert changed == {"/etc/wazuh-server/applied.json"}


def test_given_a_certificate_when_it_comes_then_all_who_use_it_get_chain_and_key(unit, root):
    between = authority("between", root)
    services, desired = unit.container.plan.to_dict(), unit.desired

    unit.offer(ENDPOINT, provide(asked(unit), root, [between]))

    leaf, *above = served(unit)
    assert above == [between.certificate]
    assert leaf.public_key() == request_of(unit).public_key()
    chain, key = unit.read(f"{API}server.crt"), unit.read(f"{API}server.key")
    assert unit.read(f"{ENROLMENT}sslmanager.cert") == chain
    assert unit.read(f"{ENROLMENT}sslmanager.key") == key
    assert unit.read("/etc/wazuh-server/rsyslog/server.pem") == chain + key
    # The daemons that use it are restarted, and no other.
    changed = {
        name
        for name, generation in unit.desired["generations"].items()
        if generation != desired["generations"][name]
    }
    assert changed == {"wazuh-authd", "wazuh-apid"}
    # rsyslog reads it anew for each connection.
    assert unit.container.plan.to_dict() == services
    assert unit.calls["replan_services"] == 0
    assert unit.status.name == "active"


def test_given_a_certificate_when_it_comes_then_the_peer_channel_keeps_our_own(unit, root):
    before = {path: text for path, text in unit.files().items() if "/peer/" in path}

    unit.offer(ENDPOINT, provide(asked(unit), root))

    assert {path: text for path, text in unit.files().items() if "/peer/" in path} == before


def test_given_a_certificate_when_the_other_units_follow_then_they_serve_the_same(
    unit, root, tmp_path
):
    unit.offer(ENDPOINT, provide(asked(unit), root))

    worker = peer_of(unit, tmp_path / "worker")
    worker.run("pebble_ready")

    assert worker.read(f"{API}server.crt") == unit.read(f"{API}server.crt")
    assert worker.read(f"{API}server.key") == unit.read(f"{API}server.key")


def test_given_a_certificate_when_nothing_changes_then_no_hook_writes_anything(unit, root):
    unit.offer(ENDPOINT, provide(asked(unit), root))

    for event in ("update_status", "config_changed", "leader_elected", "upgrade_charm"):
        unit.run(event)
        assert unit.writes == {}
        assert unit.tools["relation_set"] == 0
        assert unit.tools["secret_set"] == 0


def test_given_a_certificate_when_the_relation_goes_then_our_own_authority_serves_again(
    unit, root
):
    unit.offer(ENDPOINT, provide(asked(unit), root))

    unit.part(ENDPOINT)

    (leaf,) = served(unit)
    own = x509.load_pem_x509_certificate(
        unit.secrets["certificate-authority"]["certificate"].encode()
    )
    leaf.verify_directly_issued_by(own)
    assert unit.status.name == "active"
    # And made again, it is the other's again.
    unit.relate(ENDPOINT, INTERFACE)
    unit.offer(ENDPOINT, provide(asked(unit), root))
    served(unit)[0].verify_directly_issued_by(root.certificate)


def test_given_a_certificate_that_ages_when_seen_then_another_is_asked_and_the_old_serves(
    unit, root
):
    unit.offer(ENDPOINT, provide(asked(unit), root, life=90 * DAY, age=70 * DAY))
    first = served(unit)
    before = asked(unit)

    unit.run("update_status")

    assert asked(unit) != before
    assert served(unit) == first
    assert unit.status.name == "waiting"
    assert "to renew the certificate, which ends 2" in unit.status.message
    unit.offer(ENDPOINT, provide(asked(unit), root))
    assert served(unit) != first
    assert unit.status.name == "active"


def test_given_a_name_that_comes_when_the_ingress_tells_it_then_it_is_asked_for(unit, root):
    unit.offer(ENDPOINT, provide(asked(unit), root))
    first = served(unit)

    unit.relate("ingress", "traefik_route")
    unit.offer("ingress", {"external_host": "wazuh.example.com"})

    names = request_of(unit).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert "wazuh.example.com" in names.value.get_values_for_type(x509.DNSName)
    assert served(unit) == first
    unit.offer(ENDPOINT, provide(asked(unit), root))
    assert served(unit) != first


def _theirs(unit: Unit, **changes: object) -> dict[str, str]:
    row = json.loads(provide(asked(unit), authority())["certificates"])[0]
    return {"certificates": json.dumps([row | changes])}


def _expired(unit: Unit) -> dict[str, str]:
    return provide(asked(unit), authority(), life=DAY, age=2 * DAY)


def _of_another_key(unit: Unit) -> dict[str, str]:
    own, _ = certificates.certificates.request("other", ["other"])
    return _theirs(unit, certificate=authority().sign(own))


def _broken_chain(unit: Unit) -> dict[str, str]:
    return _theirs(unit, chain=[authority("strange").pem], ca=authority("stranger").pem)


BAD = {
    "certificates is not as": lambda unit: {"certificates": "[{"},
    "certificates is not": lambda unit: {"certificates": '{"a": 1}'},
    "certificates.0.ca is not": lambda unit: {"certificates": '[{"certificate": "x"}]'},
    "the data are longer": lambda unit: {"certificates": "[" + " " * 10_000_000 + "]"},
    "not a PEM certificate": lambda unit: _theirs(unit, certificate="a</host><x>"),
    "not a PEM": lambda unit: _theirs(unit, certificate=of_version_6(authority().pem)),
    "the provider revoked": lambda unit: _theirs(unit, revoked=True),
    "the certificate is for another key": _of_another_key,
    "the certificate is valid from": _expired,
    "the chain does not lead": _broken_chain,
    "refused by the provider: POLICY no wildcard": lambda unit: {
        "request_errors": json.dumps(
            [
                {
                    "csr": json.loads(asked(unit)["certificate_signing_requests"])[0][
                        "certificate_signing_request"
                    ],
                    "error": {"code": 1, "name": "POLICY", "message": "no\nwildcard"},
                }
            ]
        )
    },
}


@pytest.mark.parametrize("reason", BAD)
def test_given_bad_data_when_they_come_then_it_is_blocked_and_the_last_good_serve(
    unit, root, reason
):
    unit.offer(ENDPOINT, provide(asked(unit), root))
    first = served(unit)

    unit.offer(ENDPOINT, BAD[reason](unit))

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith(f"certificates: {reason}")
    assert served(unit) == first
    unit.offer(ENDPOINT, provide(asked(unit), root))
    assert unit.status.name == "active"


def test_given_data_of_a_newer_provider_when_they_come_then_what_is_known_is_taken(unit, root):
    data = provide(asked(unit), root)
    row = json.loads(data["certificates"])[0] | {"later": {"than": "this"}}

    unit.offer(ENDPOINT, {"certificates": json.dumps([row]), "version": "2", "capabilities": "x"})

    assert served(unit)[0].issuer == root.certificate.subject


def test_given_a_hook_that_failed_when_it_asked_then_the_next_asks_the_same(tmp_path):
    unit = leader(tmp_path)
    relation = unit.relate(ENDPOINT, INTERFACE)
    wrote = asked(unit)
    # Juju 3.6 keeps the secret of a hook whose databags it throws away.
    unit.configure(relations={unit.relation, relation.__class__(**_blank(relation))})

    unit.run("config_changed")

    assert asked(unit) == wrote


def _blank(relation) -> dict:
    kept = ("endpoint", "interface", "id", "remote_app_name", "remote_units_data")
    return {name: getattr(relation, name) for name in kept}


@given(
    st.dictionaries(
        st.sampled_from(["certificates", "request_errors"]),
        st.text() | st.from_type(dict).map(json.dumps),
    )
)
def test_given_any_data_when_read_then_they_are_taken_or_refused_with_a_reason(theirs):
    now = datetime.datetime.now(datetime.UTC)
    text, key = _REQUEST
    try:
        assert certificates.find(theirs, text, key, now) is None
    except BadDataError as reason:
        assert "\n" not in str(reason)


_REQUEST = certificates.certificates.request("wazuh-server", ["wazuh-server"])
