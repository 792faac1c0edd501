"""No secret's value anywhere but in secrets and in the files that the workload needs."""

import json
from collections.abc import Iterator

from sandbox.driver import Driver
from tests.integration.conftest import Demo

#: Keys of secrets' contents that are no secret: certificates and public keys.
_PUBLIC = {"authority", "ca", "certificate", "jwt-public"}
_DECOY = "planted-7f3a9c51e2"


def _values(driver: Driver) -> dict[str, str]:
    """What must not be found, by where it comes from; of a private key a line of its middle."""
    found = {}
    for secret in driver.secrets():
        for key, value in secret["content"].items():
            if key not in _PUBLIC:
                lines = value.strip().splitlines()
                found[f"{secret['label']}/{key}"] = lines[len(lines) // 2]
    return found


def _leaks(text: str, values: dict[str, str]) -> list[str]:
    return [name for name, value in values.items() if value in text]


def _places(driver: Driver) -> Iterator[tuple[str, str]]:
    """Everything an operator, another charm or a process listing may see."""
    yield "status", json.dumps(driver.status())
    yield "status as a table", driver.juju("status")
    yield "debug-log", driver.log()
    yield "list of secrets", driver.juju("secrets")
    yield "arguments of all programs", (driver.home / "arguments").read_text(errors="replace")
    for unit in driver.units():
        yield f"databags of {unit}", json.dumps(driver.show_unit(unit))
        plan = driver.exec(unit, ["/charm/bin/pebble", "plan"])
        yield f"plan of {unit}", plan
        yield (
            f"log of Pebble in {unit}",
            driver.exec(unit, ["/charm/bin/pebble", "logs", "-n", "all"]),
        )
        report = driver.exec(unit, ["cat", "/run/wazuh-server/state.json"])
        yield f"the supervisor's report in {unit}", report


def test_given_a_planted_value_when_it_is_an_argument_then_it_is_caught(demo: Demo) -> None:
    driver, arguments = demo.driver, demo.driver.home / "arguments"

    driver.exec(next(iter(driver.units())), ["true", _DECOY])

    driver.wait(
        "the planted value in the record",
        lambda: bool(_leaks(arguments.read_text(errors="replace"), {"decoy": _DECOY})),
        30,
    )


def test_given_the_demo_when_it_has_run_then_its_secrets_are_many(demo: Demo) -> None:
    values = _values(demo.driver)

    assert {name.partition("/")[0] for name in values} >= {
        "agent-password",
        "api-identity",
        "api-users",
        "certificate-authority",
        "cluster-key",
        "enrolment-password",
        "peer-identity",
        "sender-firewall-1",
    }
    assert all(len(value) >= 16 for value in values.values())


def test_given_the_demo_when_it_has_run_then_no_secret_is_seen_anywhere(demo: Demo) -> None:
    values = _values(demo.driver)

    found = {place: _leaks(text, values) for place, text in _places(demo.driver)}

    assert len(found) > 10
    assert {place: leaks for place, leaks in found.items() if leaks} == {}


def test_given_the_files_of_a_unit_when_owners_are_listed_then_secrets_are_not_for_everybody(
    demo: Demo,
) -> None:
    unit = next(iter(demo.driver.units()))

    listing = demo.driver.exec(
        unit,
        [
            "find",
            "/etc/wazuh-server",
            "/var/ossec/etc/authd.pass",
            "/var/ossec/etc/sslmanager.key",
            "/var/ossec/etc/ossec.conf",
            "/var/ossec/api/configuration/ssl/server.key",
            "/var/ossec/api/configuration/security/private_key.pem",
            "-type",
            "f",
            "-perm",
            "/o+rwx",
        ],
    )

    assert listing == ""
