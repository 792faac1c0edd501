"""The application's certificates: its authority, what it issues, and Wazuh's token key pair.

Knows no Juju. Imported only where something is made, because importing cryptography costs more
than a whole quiet hook may.
"""

import contextlib
import datetime
import ipaddress
from collections.abc import Iterator, Sequence
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
_LONGEST_BUNDLE = 512 * 1024
_LONGEST_COMMON_NAME = 64

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
Key = ec.EllipticCurvePrivateKey

ODD = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises at something that can be parsed and makes no sense."""


class BadRequestError(ValueError):
    """A signing request that is not signed; the text says why."""


class BadCertificateError(ValueError):
    """A certificate, or a bundle of them, that is not taken; the text says why."""


class TooEarlyError(BadCertificateError):
    """A certificate that is not valid yet: the clock of who issued it may be ahead."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key (PKCS8, no passphrase), both PEM."""

    certificate: str
    private_key: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that another authority issued for a key of ours."""

    chain: str
    """The certificate and those between it and its root, PEM, in the order servers send them."""
    renew_after: datetime.datetime
    expiry: datetime.datetime
    authority: str
    """Whom the other side has to know to check the chain, PEM."""


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


def request(name: str, hosts: Sequence[str]) -> tuple[str, str]:
    """Make a key and a signing request for these names: the request and the key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    signed = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key)


@contextlib.contextmanager
def _legible() -> Iterator[None]:
    """Raise BadCertificateError for a certificate that can be parsed and makes no sense."""
    try:
        yield
    except BadCertificateError:
        raise
    except ODD as error:
        raise BadCertificateError(
            f"a certificate makes no sense ({type(error).__name__})"
        ) from None


@_legible()
def check(parts: Sequence[str], private_key: str, now: datetime.datetime) -> Issued:
    """Check a certificate, given first, with the authorities above it, in any order.

    It is renewed when a third of its life is left. Raises BadCertificateError.
    """
    leaf, *authorities = (one for part in parts for one in _load_all(part))
    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    if leaf.public_key() != key.public_key():
        raise BadCertificateError("the certificate is for another key")
    chain = _ordered(leaf, authorities)
    begin = max(one.not_valid_before_utc for one in chain)
    end = min(one.not_valid_after_utc for one in chain)
    if not begin - _CLOCK_SKEW <= now < end:
        early = now < begin - _CLOCK_SKEW and begin < end
        raise (TooEarlyError if early else BadCertificateError)(
            f"the certificate is valid from {begin:%Y-%m-%d %H:%M} "
            f"to {end:%Y-%m-%d %H:%M} UTC only"
        )
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return Issued(
        "\n".join(_pem(one).strip() for one in chain),
        min(leaf.not_valid_after_utc - life / 3, end),
        end,
        _pem(next((one for one in authorities if _issued(one, chain[-1])), chain[-1])).strip(),
    )


@_legible()
def authorities(text: str, now: datetime.datetime) -> str:
    """Return what may sign of a chain that another charm tells, which may begin with its leaf.

    OpenSearch's charm hands its whole chain on (opensearch_tls.py). Raises BadCertificateError.
    """
    found = [one for one in _load_all(text) if _is_authority(one)]
    valid = [one for one in found if now < one.not_valid_after_utc]
    if not valid:
        raise BadCertificateError(
            _expired(found[0]) if found else "holds no certificate authority"
        )
    return _joined(valid)


@_legible()
def bundle(text: str, now: datetime.datetime) -> str:
    """Return the authorities of a PEM bundle, each once. Raises BadCertificateError."""
    if "PRIVATE KEY" in text:
        raise BadCertificateError("holds a private key; replace that key, and give certificates")
    found = _load_all(text)
    for one in found:
        if not _is_authority(one):
            raise BadCertificateError(f"{_subject(one)} is no certificate authority")
        if now >= one.not_valid_after_utc:
            raise BadCertificateError(_expired(one))
    return _joined(found)


def _expired(certificate: x509.Certificate) -> str:
    return f"{_subject(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"


def _joined(found: Sequence[x509.Certificate]) -> str:
    return "\n".join(dict.fromkeys(_pem(one).strip() for one in found))


def names(certificate: str) -> frozenset[str]:
    """Return the host names and addresses that a certificate holds for."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode()).extensions
        value = found.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = (str(one) for one in value.get_values_for_type(x509.IPAddress))
    return frozenset((*value.get_values_for_type(x509.DNSName), *addresses))


def expiry(certificate: str) -> datetime.datetime:
    """Return the moment from which a certificate, the first of a chain, no longer holds."""
    return _expiry(certificate)


def renew_after(certificate: str) -> datetime.datetime:
    """Return the moment from which a certificate ought to be replaced."""
    return _expiry(certificate) - RENEW_BEFORE


def can_renew(certificate: str, authority: Pair, now: datetime.datetime) -> bool:
    """Tell whether it is time, and whether a new certificate would be valid for longer."""
    due = now >= renew_after(certificate)
    return due and _expiry(authority.certificate) > _expiry(certificate)


def replace_authority_after(certificate: str) -> datetime.datetime:
    """Return the moment from which an authority issues nothing more.

    What it issued last then ends before it does, and clients have the whole life of a certificate
    to learn the next authority.
    """
    return _expiry(certificate) - LEAF_LIFE - RENEW_BEFORE


def has_ended(certificate: str, now: datetime.datetime) -> bool:
    """Tell whether a certificate is of no use any more."""
    return now >= _expiry(certificate)


def _expiry(certificate: str) -> datetime.datetime:
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def _load_all(text: str) -> list[x509.Certificate]:
    if len(text) > _LONGEST_BUNDLE:
        raise BadCertificateError(f"longer than {_LONGEST_BUNDLE} bytes")
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ODD:
        raise BadCertificateError("not a PEM certificate") from None


def _ordered(
    leaf: x509.Certificate, authorities: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Follow the issuers up from the leaf; the root itself is what the other side has to know."""
    chain = [leaf]
    while True:
        above = next((one for one in authorities if _issued(one, chain[-1])), None)
        if above is None:
            if chain[-1] is leaf and authorities:
                raise BadCertificateError("the chain does not lead from the certificate to its CA")
            return chain
        if above.subject == above.issuer or above in chain:
            return chain
        chain.append(above)


def _issued(above: x509.Certificate, below: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether it may sign; one of the first version has nothing to say so, and may."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1
    except ValueError:
        return False


def _subject(certificate: x509.Certificate) -> str:
    text = certificate.subject.rfc4514_string()
    return "".join(letter for letter in text if letter.isprintable())[:100] or "a certificate"


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
        alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(alternatives, critical=False)
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
    except (*ODD, InvalidSignature):
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
