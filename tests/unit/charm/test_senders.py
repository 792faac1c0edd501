"""The action `issue-sender-certificate`."""

import base64
import datetime
import re

import ops
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from ops import testing

from src import certificates
from tests.unit.charm.world import Unit, leader, peer_of


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def _request(key=None, name="whatever"):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def _issued(unit, pem):
    certificate = x509.load_pem_x509_certificate(pem.encode())
    authority = unit.secrets["certificate-authority"]["certificate"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    return certificate


def test_given_a_name_when_issued_then_key_and_certificate_are_in_a_secret_that_is_named(unit):
    result = unit.act(name="web-1")

    secret = unit.secrets["sender-web-1"]
    ops.Secret._validate_content(secret)
    assert set(secret) == {"certificate", "private-key", "authority"}
    certificate = _issued(unit, secret["certificate"])
    key = serialization.load_pem_private_key(secret["private-key"].encode(), None)
    assert certificate.public_key() == key.public_key()
    assert result["name"] == "web-1"
    assert re.fullmatch(r"secret:[a-z0-9]+", result["secret"])
    assert result["command"] == f"juju show-secret --reveal {result['secret']}"


def test_given_a_name_when_issued_then_the_key_is_nowhere_in_the_result(unit):
    result = unit.act(name="web-1")

    assert "PRIVATE" not in str(result)
    assert "PRIVATE" not in "".join(str(line) for line in unit.context.juju_log)
    assert not unit.context.action_logs


def test_given_a_certificate_when_used_then_it_is_a_clients_alone_and_ends_in_time(unit):
    unit.act(name="web-1", days=10)

    certificate = _issued(unit, unit.secrets["sender-web-1"]["certificate"])
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert list(usages) == [certificates.CLIENT]
    assert datetime.timedelta(days=9) < left <= datetime.timedelta(days=10)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basic.ca


def test_given_the_same_name_when_issued_again_then_the_secret_has_a_new_content(unit):
    first = unit.act(name="web-1")
    before = unit.secrets["sender-web-1"]

    second = unit.act(name="web-1")

    assert second["secret"] == first["secret"]
    assert unit.secrets["sender-web-1"]["certificate"] != before["certificate"]


def test_given_a_signing_request_when_signed_then_the_name_is_the_parameters(unit):
    key = ec.generate_private_key(ec.SECP256R1())

    result = unit.act(name="web-1", **{"signing-request": _request(key, name="admin")})

    certificate = _issued(unit, result["certificate"])
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=web-1"
    assert result["ca"] == unit.secrets["certificate-authority"]["certificate"]
    assert "sender-web-1" not in unit.secrets


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_given_a_strong_key_when_its_request_comes_then_it_is_signed(unit, key):
    result = unit.act(name="web-1", **{"signing-request": _request(key)})

    _issued(unit, result["certificate"])


def test_given_an_ed25519_key_when_its_request_comes_then_it_is_signed(unit):
    request = _request(ed25519.Ed25519PrivateKey.generate())

    _issued(unit, unit.act(name="web-1", **{"signing-request": request})["certificate"])


WEAK = _request(ec.generate_private_key(ec.SECP224R1()))
BAD_REQUESTS = {
    "text": ("hello", "not a PEM certificate signing request"),
    "empty block": (
        "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
        "not a PEM certificate signing request",
    ),
    "private key": (
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        "not a PEM certificate signing request",
    ),
    "huge": ("x" * 20_001, "longer than 20000 characters"),
    "weak curve": (
        WEAK,
        "its key is not RSA (2048 bits or more), an elliptic curve (256) or Ed25519",
    ),
    "dsa": (
        _request(dsa.generate_private_key(2048)),
        "its key is not RSA (2048 bits or more), an elliptic curve (256) or Ed25519",
    ),
    "surrogate": ("\ud800", "not a PEM certificate signing request"),
}


@pytest.mark.parametrize(("request_", "reason"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_given_a_bad_request_when_asked_then_the_action_says_why(unit, request_, reason):
    with pytest.raises(testing.ActionFailed) as failure:
        unit.act(name="web-1", **{"signing-request": request_})

    assert failure.value.message == f"signing-request: {reason}"


def test_given_a_request_with_another_keys_signature_when_asked_then_it_is_refused(unit):
    good = _request()
    request = x509.load_pem_x509_csr(good.encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    position = bytes(der).find(b"whatever")
    der[position : position + 8] = b"whatsoev"
    body = base64.encodebytes(bytes(der)).decode()
    forged = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"

    with pytest.raises(testing.ActionFailed) as failure:
        unit.act(name="web-1", **{"signing-request": forged})

    assert failure.value.message == "signing-request: not signed by its own key"


def test_given_the_units_own_name_when_asked_for_then_no_sender_gets_it(unit):
    with pytest.raises(testing.ActionFailed, match="name: the application's units know"):
        unit.act(name="Peer.wazuh-server.internal")


@pytest.mark.parametrize(
    "name", ["", "../x", "a b", "a/b", "-a", "a.", "a..b", "ä", "a\nb", "x" * 64, "a_b", "*"]
)
def test_given_a_bad_name_when_asked_then_the_action_says_why(unit, name):
    before = unit.secrets

    with pytest.raises(testing.ActionFailed) as failure:
        unit.act(name=name)

    assert failure.value.message == "name: letters, digits, dots and dashes only, 63 at most"
    assert unit.secrets == before


@pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
def test_given_bad_days_when_asked_then_the_action_says_why(unit, days):
    with pytest.raises(testing.ActionFailed) as failure:
        unit.act(name="web-1", days=days)

    assert failure.value.message == "days: a number from 1 to 3650"


def test_given_a_worker_when_asked_then_it_says_who_can(tmp_path):
    worker = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")

    with pytest.raises(testing.ActionFailed) as failure:
        worker.act(name="web-1")

    assert "wazuh-server/leader" in failure.value.message


def test_given_no_authority_yet_when_asked_then_it_says_to_try_again(tmp_path):
    with pytest.raises(testing.ActionFailed) as failure:
        Unit(tmp_path).act(name="web-1")

    assert "cannot be read yet" in failure.value.message


def test_given_a_serving_unit_when_an_action_runs_then_the_container_is_not_touched(unit):
    unit.act(name="web-1")

    assert unit.writes == {}
    assert unit.status.name == "active"
