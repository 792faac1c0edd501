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
MINUTE = datetime.timedelta(minutes=1)
API, ENROLMENT = "/etc/wazuh-server/files/api/configuration/ssl/", "/etc/wazuh-server/files/etc/"


@pytest.fixture(scope="module")
def root():
    return authority()


@pytest.fixture
def unit(tmp_path):
    unit = leader(tmp_path)
    unit.relate(ENDPOINT, INTERFACE)
    return unit


class Clock:
    """The charm's clock."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC)

    def at(self, moment: datetime.datetime) -> None:
        self.now = moment


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("src.charm._now", lambda: made.now)
    return made


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
    "the certificate is for another key": _of_another_key,
    "the certificate is valid from": _expired,
    "the certificate ends": lambda unit: provide(
        asked(unit), authority(), life=2 * DAY, age=2 * DAY - MINUTE
    ),
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
    assert f"; the present one ends {first[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC" in (
        unit.status.message
    )
    assert served(unit) == first
    unit.offer(ENDPOINT, provide(asked(unit), root))
    assert unit.status.name == "active"


def _own(unit: Unit) -> bool:
    """Tell whether the application's own authority issued what serves, and that it holds."""
    (leaf,) = served(unit)
    own = unit.secrets["certificate-authority"]["certificate"]
    if leaf.issuer != x509.load_pem_x509_certificate(own.encode()).subject:
        return False
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(own.encode()))
    return leaf.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + DAY


@pytest.mark.parametrize("left", [-DAY, -MINUTE, 5 * MINUTE])
def test_given_a_silent_provider_when_its_certificate_ends_then_our_own_authority_serves(
    unit, root, clock, left
):
    unit.offer(ENDPOINT, provide(asked(unit), root))
    ends = served(unit)[0].not_valid_after_utc
    clock.at(ends - left)

    unit.run("update_status")

    assert served(unit)[0].not_valid_after_utc > clock.now + DAY
    assert unit.status.name == "waiting"
    assert unit.status.message == (
        "certificates: waiting for other to issue the certificate; "
        f"the last one ended {ends:%Y-%m-%d %H:%M} UTC, our own authority's serves"
    )
    said = unit.status.message
    own, request = served(unit), asked(unit)
    for event in ("update_status", "config_changed", "leader_elected"):
        unit.run(event)
        assert (served(unit), asked(unit), unit.status.message) == (own, request, said)
        assert unit.tools["secret_set"] == 0


def test_given_a_certificate_that_ages_when_it_has_not_ended_then_it_serves_on(unit, root, clock):
    unit.offer(ENDPOINT, provide(asked(unit), root))
    first = served(unit)
    clock.at(first[0].not_valid_after_utc - 20 * MINUTE)

    unit.run("update_status")

    assert served(unit) == first
    assert "to renew the certificate, which ends" in unit.status.message


def test_given_our_own_instead_when_the_provider_answers_then_its_certificate_serves(
    unit, root, clock
):
    unit.offer(ENDPOINT, provide(asked(unit), root, life=2 * DAY))
    clock.at(served(unit)[0].not_valid_after_utc)
    unit.run("update_status")
    clock.at(datetime.datetime.now(datetime.UTC))

    unit.offer(ENDPOINT, provide(asked(unit), root))

    served(unit)[0].verify_directly_issued_by(root.certificate)
    assert unit.status.name == "active"
    assert "past" not in unit.secrets["certificate-request"]


def test_given_a_certificate_that_was_revoked_when_told_then_its_key_is_never_used_again(
    unit, root
):
    told = provide(asked(unit), root)
    unit.offer(ENDPOINT, told)
    first, before = served(unit)[0], request_of(unit)
    (row,) = json.loads(told["certificates"])

    unit.offer(ENDPOINT, {"certificates": json.dumps([row | {"revoked": True}])})

    assert _own(unit)
    assert served(unit)[0].public_key() != first.public_key()
    assert request_of(unit).public_key() != before.public_key()
    assert unit.status.message == (
        "certificates: waiting for other to issue the certificate; "
        "the last one was revoked, our own authority's serves"
    )
    # The provider says it again and again; one new request is enough.
    wrote = asked(unit)
    for event in ("update_status", "config_changed"):
        unit.run(event)
        assert asked(unit) == wrote
    unit.offer(ENDPOINT, provide(asked(unit), root))
    served(unit)[0].verify_directly_issued_by(root.certificate)
    assert unit.status.name == "active"


def test_given_a_certificate_of_the_future_when_its_time_comes_then_it_is_taken(unit, root, clock):
    unit.offer(ENDPOINT, provide(asked(unit), root, age=-DAY))

    assert unit.status.name == "waiting"
    assert unit.status.message.startswith("certificates: waiting, the certificate is valid from 2")
    assert _own(unit)
    clock.at(clock.now + 2 * DAY)
    unit.run("update_status")
    served(unit)[0].verify_directly_issued_by(root.certificate)
    assert unit.status.name == "active"


def test_given_an_authority_between_that_ends_first_when_issued_then_its_end_counts(unit, root):
    between = authority("between", root, life=10 * DAY)

    unit.offer(ENDPOINT, provide(asked(unit), root, [between]))

    ends = between.certificate.not_valid_after_utc
    assert unit.status.message.endswith(f", certificate until {ends:%Y-%m-%d}")
    bad = authority("bad", root, life=-DAY)
    unit.run("config_changed")
    unit.offer(ENDPOINT, provide(asked(unit), root, [bad]))
    assert unit.status.name == "blocked"
    assert unit.status.message.startswith("certificates: the certificate is valid from")


def test_given_a_certificate_when_all_is_well_then_the_leader_says_how_long_it_holds(unit, root):
    unit.offer(ENDPOINT, provide(asked(unit), root))

    until = served(unit)[0].not_valid_after_utc
    expected = f"master of 3, epoch 1, certificate until {until:%Y-%m-%d}"
    assert unit.status.message == expected
    unit.run("update_status")
    assert unit.status.message == expected
    unit.part(ENDPOINT)
    assert unit.status.message == "master of 3, epoch 1"


def test_given_tokens_being_rotated_when_the_relation_goes_then_the_rotation_goes_on(unit, root):
    unit.offer(ENDPOINT, provide(asked(unit), root))
    unit.act("rotate-secret", secret="api-identity")
    coming = unit.secrets["api-identity"]["next-jwt-private"]

    unit.part(ENDPOINT)

    assert unit.secrets["api-identity"]["next-jwt-private"] == coming
    assert _own(unit)
    assert unit.status.name == "active"
    # Juju tells the leader of its own new revision; then the supervisor has all in force.
    unit.run("leader_elected")
    key = unit.read("/etc/wazuh-server/files/api/configuration/security/private_key.pem")
    assert key.strip() == coming
    unit.report(**{"in-force": unit.desired["generations"]})
    unit.notice("wazuh-server.local/state")
    assert unit.secrets["api-identity"]["jwt-private"] == coming
    assert "next-jwt-private" not in unit.secrets["api-identity"]


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
