"""The application's certificates: its authority, what it issues, and Wazuh's token key pair.

Knows no Juju. Imported only where something is made, because importing cryptography costs more
than a whole quiet hook may.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = datetime.timedelta(days=3650)
LEAF_LIFE = datetime.timedelta(days=730)
RENEW_BEFORE = datetime.timedelta(days=30)
_CLOCK_SKEW = datetime.timedelta(minutes=10)
_LONGEST_REQUEST = 20_000
_LONGEST_COMMON_NAME = 64

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
Key = ec.EllipticCurvePrivateKey


class BadRequestError(ValueError):
    """A signing request that is not signed; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key (PKCS8, no passphrase), both PEM."""

    certificate: str
    private_key: str


def make_authority(name: str, now: datetime.datetime) -> Pair:
    """Make a certificate authority that signs end entities only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    builder = _builder(subject, subject, key.public_key(), now, now + AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue(
    authority: Pair,
    name: str,
    *,
    hosts: Sequence[str] = (),
    usages: Sequence[x509.ObjectIdentifier],
    now: datetime.datetime,
    life: datetime.timedelta = LEAF_LIFE,
) -> Pair:
    """Make a key and a certificate for it. It never outlives the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _issue(authority, name, key.public_key(), hosts, usages, now, life)
    return Pair(certificate, _key_pem(key))


def sign(
    authority: Pair, name: str, request: str, *, now: datetime.datetime, life: datetime.timedelta
) -> str:
    """Sign a sender's request under the name given here, whatever name it asks for.

    Raises BadRequestError for what is no request, is not signed by its own key, or has a weak key.
    """
    return _issue(authority, name, _request_key(request), (name,), (CLIENT,), now, life)


def token_pair() -> tuple[str, str]:
    """Make private (PKCS8) and public key of Wazuh's API tokens: ES512 needs the curve secp521r1.

    See wazuh/framework `api/authentication.py`, generate_keypair.
    """
    key = ec.generate_private_key(ec.SECP521R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _key_pem(key), public.decode()


def renew_after(certificate: str) -> datetime.datetime:
    """Return the moment from which a certificate ought to be replaced."""
    return _expiry(certificate) - RENEW_BEFORE


def can_renew(certificate: str, authority: Pair, now: datetime.datetime) -> bool:
    """Tell whether it is time, and whether a new certificate would be valid for longer."""
    due = now >= renew_after(certificate)
    return due and _expiry(authority.certificate) > _expiry(certificate)


def _expiry(certificate: str) -> datetime.datetime:
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def _issue(
    authority: Pair,
    name: str,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
    hosts: Sequence[str],
    usages: Sequence[x509.ObjectIdentifier],
    now: datetime.datetime,
    life: datetime.timedelta,
) -> str:
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    key = serialization.load_pem_private_key(authority.private_key.encode(), password=None)
    if not isinstance(key, Key):
        raise TypeError("the authority's key is not an elliptic curve key")
    until = min(now + life, issuer.not_valid_after_utc)
    builder = _builder(_name(name), issuer.subject, public_key, now, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return _pem(builder.sign(key, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _request_key(
    text: str,
) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    if len(text) > _LONGEST_REQUEST:
        raise BadRequestError(f"longer than {_LONGEST_REQUEST} characters")
    try:
        request = x509.load_pem_x509_csr(text.encode())
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise BadRequestError("not a PEM certificate signing request") from None
    if not signed:
        raise BadRequestError("not signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise BadRequestError(
        "its key is not RSA (2048 bits or more), an elliptic curve (256) or Ed25519"
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str) -> x509.Name:
    text = common_name[:_LONGEST_COMMON_NAME]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
