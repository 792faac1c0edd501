"""A provider of certificates made of the real library's code, with an authority of its own."""

import datetime
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ops
from charmlibs.interfaces.tls_certificates import (
    Certificate,
    ProviderCertificate,
    TLSCertificatesProvidesV4,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ops import testing

DAY = datetime.timedelta(days=1)
META = {"name": "provider", "provides": {"certificates": {"interface": "tls-certificates"}}}


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority, root or intermediate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, request: str, *, life: datetime.timedelta = 90 * DAY, age=0 * DAY) -> str:
        """Issue a certificate for what a request asks."""
        asked = x509.load_pem_x509_csr(request.encode())
        now = datetime.datetime.now(datetime.UTC)
        builder = _builder(asked.subject, self.certificate.subject, asked.public_key())
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        signed = (
            builder.not_valid_before(now - age - DAY / 24)
            .not_valid_after(now - age + life)
            .sign(self.key, hashes.SHA256())
        )
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def authority(name: str = "root", above: Authority | None = None, *, life=3650 * DAY) -> Authority:
    """Make a root, or an authority below another one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = above.certificate.subject if above else subject
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        _builder(subject, issuer, key.public_key())
        .not_valid_before(now - 2 * DAY - abs(min(life, 0 * DAY)))
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(above.key if above else key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _builder(subject, issuer, public_key) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
    )


def provide(
    asked: Mapping[str, str],
    root: Authority,
    between: Sequence[Authority] = (),
    **options: datetime.timedelta,
) -> dict[str, str]:
    """Let the real library read what was asked, answer it, and write its side of the relation."""
    issuer = between[-1] if between else root

    class Provider(ops.CharmBase):
        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            self.certificates = TLSCertificatesProvidesV4(self, "certificates")
            framework.observe(self.on["certificates"].relation_changed, self._answer)

        def _answer(self, event: ops.RelationChangedEvent) -> None:
            for request in self.certificates.get_certificate_requests():
                csr = request.certificate_signing_request
                signed = issuer.sign(str(csr), **options)
                chain = [signed, *(one.pem for one in reversed(between)), root.pem]
                self.certificates.set_relation_certificate(
                    ProviderCertificate(
                        relation_id=event.relation.id,
                        certificate=Certificate.from_string(signed),
                        certificate_signing_request=csr,
                        ca=Certificate.from_string(root.pem),
                        chain=[Certificate.from_string(one) for one in chain],
                    )
                )

    context = testing.Context(Provider, meta=META)
    relation = testing.Relation(
        "certificates", "tls-certificates", remote_app_data=dict(asked), remote_units_data={0: {}}
    )
    state = testing.State(leader=True, relations={relation})
    after = context.run(context.on.relation_changed(relation, remote_unit=0), state)
    return dict(after.get_relation(relation.id).local_app_data)


def of_version_6(pem: str) -> str:
    """Return a certificate of a version that there is not: it can be parsed and makes no sense."""
    der = ssl.PEM_cert_to_DER_cert(pem)
    changed = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020105"), 1)
    assert changed != der
    return ssl.DER_cert_to_PEM_cert(changed)
