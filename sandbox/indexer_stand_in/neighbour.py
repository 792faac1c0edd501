"""An indexer beside the cluster: the stand-in on the clients' host, and the relation's data."""

import datetime
import ipaddress
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.driver import Driver
from sandbox.indexer_stand_in.opensearch import VERSION, Index, documents
from sandbox.network import FIRST_CLIENT

ENDPOINT, INTERFACE = "opensearch-client", "opensearch_client"
NAME = "opensearch"
_PORT = 9200
_USER, _TLS = "indexer-user", "indexer-tls"


def certify(address: str) -> tuple[str, str]:
    """Make a certificate that is its own authority's; return it and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OpenSearch stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@dataclass
class Indexer:
    """A stand-in that comes and goes; what it was given stays."""

    driver: Driver
    password: str = field(default_factory=lambda: f"$${{x}}{token_hex(8)}", repr=False)
    """With what Filebeat would take for a variable."""
    certificate: str = ""
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.certificate, key = certify(FIRST_CLIENT)
        folder = self._folder
        folder.mkdir(exist_ok=True)
        (folder / "crt.pem").write_text(self.certificate)
        (folder / "key.pem").write_text(key)
        settings = {
            "certificate": str(folder / "crt.pem"),
            "key": str(folder / "key.pem"),
            "username": "wazuh",
            "password": self.password,
            "store": str(folder / "documents"),
            "port": _PORT,
            "host": FIRST_CLIENT,
        }
        (folder / "settings.json").write_text(json.dumps(settings))

    @property
    def _folder(self) -> Path:
        return self.driver.scratch / "indexer"

    def come(self) -> None:
        """Listen."""
        module = "sandbox.indexer_stand_in.opensearch"
        settings = str(self._folder / "settings.json")
        self._process = self.driver.start_client([sys.executable, "-m", module, settings])

    def go(self) -> None:
        """Be away."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def fit(self) -> None:
        """Set what Filebeat 7.10 needs, which Wazuh's own indexer has and OpenSearch has not."""
        Index(self._folder / "documents").override(True)

    def relate(self) -> None:
        """Relate the application, and tell it all."""
        self.driver.neighbour(NAME, ENDPOINT, INTERFACE)
        self.driver.juju("integrate", *self._ends)
        user = {"username": "wazuh", "password": self.password}
        told = {
            "endpoints": f"{FIRST_CLIENT}:{_PORT}",
            "secret-user": self.driver.lend(_USER, user),
            "secret-tls": self.driver.lend(_TLS, {"tls-ca": self.certificate}),
            "version": VERSION,
        }
        self.driver.tell(NAME, told)

    def part(self) -> None:
        """Remove the relation."""
        self.driver.juju("remove-relation", *self._ends)

    def forget(self) -> None:
        """Leave nothing of it in the model."""
        self.go()
        self.driver.juju("remove-application", NAME, check=False)
        for name in (_USER, _TLS):
            self.driver.juju("remove-secret", name, check=False)

    @property
    def _ends(self) -> tuple[str, str]:
        return f"wazuh-server:{ENDPOINT}", f"{NAME}:{ENDPOINT}"

    def held(self, kind: str) -> list[dict[str, Any]]:
        """Return the documents of the indices whose names begin so."""
        found = documents(self._folder / "documents")
        return [one["_source"] for one in found if one["_index"].startswith(kind)]
