"""Certificates that come, turn bad and go, on the running cluster: nobody notices."""

import json
import ssl
import sys
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sandbox.driver import APPLICATION, Driver
from tests.unit.charm.provider import DAY, Authority, authority, provide

ENDPOINT, INTERFACE, NAME = "certificates", "tls-certificates", "authority"
PROBE = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))))"


@pytest.fixture
def related(whole: Driver) -> Iterator[Driver]:
    yield whole
    whole.juju("remove-application", NAME, check=False)


def remoted(driver: Driver) -> dict[str, str]:
    """Return what tells each unit's process on 1514 from another one."""
    script = "stat -c '%n %Y' /var/ossec/var/run/wazuh-remoted-*.pid"
    command = ["sh", "-c", script]
    return {
        unit: driver.exec(unit, command, container=APPLICATION).strip() for unit in driver.units()
    }


def issued(driver: Driver, unit: str, root: Authority, port: int) -> bool:
    """Tell whether a unit shows a certificate of this authority."""
    process = driver.start_client([sys.executable, "-c", PROBE, driver.address(unit), str(port)])
    output, _ = process.communicate(timeout=60)
    if "BEGIN" not in output:
        return False
    try:
        found = x509.load_der_x509_certificate(ssl.PEM_cert_to_DER_cert(output.strip()))
        found.verify_directly_issued_by(root.certificate)
    except (ValueError, InvalidSignature):
        return False
    return True


def ours(driver: Driver) -> Authority:
    """Return the application's own authority; its key is of no interest here."""
    text = driver.secret("certificate-authority")["certificate"]
    return Authority(x509.load_pem_x509_certificate(text.encode()), authority().key)


def served_by(driver: Driver, root: Authority) -> None:
    """Wait until enrolment and API of a unit that is no master too show this authority's."""
    for unit, port in ((min(driver.units()), 1515), (max(driver.units()), 55000)):
        driver.wait(
            f"{unit} serves it on {port}",
            lambda unit=unit, port=port: issued(driver, unit, root, port),
            180,
            every=1,
        )


def said(driver: Driver, sentence: str) -> None:
    driver.wait(f"the status says {sentence}", lambda: sentence in str(driver.status()), 120)


def test_given_certificates_when_renewed_bad_revoked_and_gone_then_something_good_serves(
    related: Driver,
) -> None:
    before, first, second = remoted(related), authority(), authority("second")
    ends = f"{APPLICATION}:{ENDPOINT}", f"{NAME}:{ENDPOINT}"
    related.neighbour(NAME, ENDPOINT, INTERFACE)
    related.juju("integrate", *ends)
    related.wait("a request", lambda: bool(related.told(NAME)), 120)
    told = provide(related.told(NAME), first)
    related.tell(NAME, told)
    served_by(related, first)

    # Of another key, ended, and rubbish: what is good goes on.
    (row,) = json.loads(told["certificates"])
    strange = json.dumps([row | {"certificate": second.pem}])
    for bad, sentence in (
        ({"certificates": strange}, "the certificate is for another key"),
        (provide(related.told(NAME), first, life=DAY, age=2 * DAY), "is valid from"),
        ({"certificates": "[{"}, "certificates is not as tls-certificates v1 has it"),
    ):
        related.tell(NAME, bad)
        said(related, sentence)
        served_by(related, first)

    # Another authority takes over.
    related.tell(NAME, provide(related.told(NAME), second))
    served_by(related, second)

    # It takes the certificate back: ours serves, and another key is certified.
    asked = related.told(NAME)
    (row,) = json.loads(provide(asked, second)["certificates"])
    related.tell(NAME, {"certificates": json.dumps([row | {"revoked": True}])})
    related.wait("another request", lambda: related.told(NAME) not in ({}, asked), 120)
    served_by(related, ours(related))
    related.tell(NAME, provide(related.told(NAME), second))
    served_by(related, second)

    # Removed and made again.
    related.juju("remove-relation", *ends)
    served_by(related, ours(related))
    related.juju("integrate", *ends)
    related.wait("a request", lambda: bool(related.told(NAME)), 120)
    related.tell(NAME, provide(related.told(NAME), first))
    served_by(related, first)
    related.juju("remove-relation", *ends)
    served_by(related, ours(related))
    assert remoted(related) == before, "a session on 1514 was cut"
    related.wait_active(3)
