"""Each endpoint related to a neighbour, what people see of it, and parted again.

The same on the sandbox, where a stand-in plays each neighbour, and on a controller, where the
neighbour's own charm is deployed or taken from an offer.
"""

import hashlib
import json
from collections.abc import Callable

import pytest

from sandbox.cluster import PROJECT
from src import files
from tests.integration.drivers import UNITS, Deployment, endpoints, wait, whole
from tests.integration.inside import LISTENS, LOG_IN, enrol, known_everywhere, python

_PORTS = [str(port) for port in files.PORTS]
# Says whether a server's certificate is one of an authority's, for a name; the words are public.
_VERIFIED = """
import socket, ssl, sys
context = ssl.create_default_context(cadata=sys.argv[3])
try:
    with socket.create_connection((sys.argv[1], 55000), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=sys.argv[2]):
            print("verified")
except ssl.SSLCertVerificationError as error:
    print(error.verify_message)
"""
# A digest of what a secret has to hold: no password is printed.
_PASSWORD = """
import hashlib, json
users = json.load(open("/etc/wazuh-server/users.json"))
print(hashlib.sha256(users["wazuh-dashboard"]["password"].encode()).hexdigest())
"""


def _leader(deployment: Deployment) -> str:
    (found,) = [unit.message for unit in deployment.units() if unit.leader]
    return found


def _everywhere(deployment: Deployment, program: list[str], has: Callable[[str], bool]) -> bool:
    return all(has(deployment.execute(unit.name, program)) for unit in deployment.units())


def _verified(deployment: Deployment, authority: str) -> bool:
    """Say whether each unit and the Service show a certificate of this authority."""
    name, unit = "wazuh-server", deployment.units()[0].name
    hosts = [name, *(unit.address for unit in deployment.units())]
    said = [python(deployment, unit, _VERIFIED, host, name, authority) for host in hosts]
    return set(said) == {"verified"}


def _certificates(deployment: Deployment) -> bool:
    listed = json.loads(deployment.heard("certificates").get("certificates", "[]"))
    own = deployment.secret("certificate-authority")["certificate"]
    assert all(one["ca"].strip() != own.strip() for one in listed)
    return bool(listed) and _verified(deployment, listed[-1]["ca"])


def _own_certificates(deployment: Deployment) -> bool:
    return _verified(deployment, deployment.secret("certificate-authority")["certificate"])


def _ingress(deployment: Deployment) -> bool:
    """Everything a client does is done at the address that the status shows."""
    address = deployment.heard("ingress").get("external_host", "")
    if not address or f", at {address}" not in _leader(deployment):
        return False
    unit = deployment.units()[0].name
    assert python(deployment, unit, LISTENS, address, *_PORTS) == "all listen"
    assert python(deployment, unit, LOG_IN, address, "wazuh") == "200"
    enrol(deployment, "through-the-ingress", address)
    known_everywhere(deployment, "through-the-ingress")
    return True


def _no_ingress(deployment: Deployment) -> bool:
    return ", at " not in _leader(deployment)


def _filebeat(*, active: bool) -> Callable[[Deployment], bool]:
    def holds(deployment: Deployment) -> bool:
        services = ["/charm/bin/pebble", "services", "filebeat"]
        return _everywhere(deployment, services, lambda shown: (" active " in shown) == active)

    return holds


def _integrators(count: int) -> Callable[[Deployment], bool]:
    def holds(deployment: Deployment) -> bool:
        listing = ["ps", "-eo", "args="]
        return _everywhere(
            deployment, listing, lambda shown: shown.count("bin/wazuh-integratord") == count
        )

    return holds


def _dashboard(deployment: Deployment) -> bool:
    """The address that a dashboard is told answers to the user whose password it is lent."""
    told, unit = deployment.told("wazuh-api"), deployment.units()[0].name
    if not told:
        return False
    host = told["endpoint"].removeprefix("https://").removesuffix(":55000")
    assert told["user_credentials_secret"].startswith("secret:")
    assert python(deployment, unit, LOG_IN, host, "wazuh-dashboard") == "200"
    lent = deployment.secret("api-client")
    assert lent["user"] == "wazuh-dashboard"
    digest = hashlib.sha256(lent["password"].encode()).hexdigest()
    return python(deployment, unit, _PASSWORD) == digest


def _no_dashboard(deployment: Deployment) -> bool:
    return not deployment.told("wazuh-api")


_SEEN: dict[str, tuple[Callable[[Deployment], bool], Callable[[Deployment], bool]]] = {
    "certificates": (_certificates, _own_certificates),
    "ingress": (_ingress, _no_ingress),
    "opencti-connector": (_integrators(1), _integrators(0)),
    "opensearch-client": (_filebeat(active=True), _filebeat(active=False)),
    "wazuh-api": (_dashboard, _no_dashboard),
}


def _find(application: Deployment, what: str, endpoint: str, number: int) -> None:
    seen = _SEEN[endpoint][number]
    wait(application, f"{endpoint} {what}", lambda: seen(application))
    whole(application, UNITS)


@pytest.fixture(scope="module")
def related(deployed: Deployment) -> set[str]:
    """All endpoints for which there is a neighbour, related at the same time."""
    whole(deployed, UNITS)
    for _, gone in _SEEN.values():
        assert gone(deployed)
    return {endpoint for endpoint in _SEEN if deployed.integrate(endpoint)}


@pytest.fixture(scope="module")
def parted(deployed: Deployment, related: set[str]) -> set[str]:
    """The same ones, parted."""
    for endpoint in related:
        deployed.remove_relation(endpoint)
    return related


def _skip_without(found: set[str], endpoint: str) -> None:
    if endpoint not in found:
        pytest.skip(f"name an offer: --neighbour {endpoint}=OFFER")


def test_given_the_endpoints_when_listed_then_each_is_looked_at() -> None:
    assert sorted(_SEEN) == endpoints(PROJECT)


@pytest.mark.parametrize("endpoint", _SEEN)
def test_given_a_neighbour_when_related_then_people_see_it_and_the_cluster_is_whole(
    deployed: Deployment, related: set[str], endpoint: str
) -> None:
    _skip_without(related, endpoint)

    _find(deployed, "is in use", endpoint, 0)

    assert deployed.told(endpoint), "the neighbour is told nothing"


@pytest.mark.parametrize("endpoint", _SEEN)
def test_given_a_neighbour_when_parted_then_people_see_it_and_the_cluster_is_whole(
    deployed: Deployment, parted: set[str], endpoint: str
) -> None:
    _skip_without(parted, endpoint)

    _find(deployed, "is in use no more", endpoint, 1)
