"""The option `logs-ca-cert`: whose certificates syslog senders come with."""

import pytest

from tests.unit.charm.provider import authority
from tests.unit.charm.world import leader

CA = "/etc/wazuh-server/rsyslog/ca.crt"
SERVICE = "rsyslog"


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def set_option(unit, text):
    unit.configure(config={"logs-ca-cert": text})
    unit.run("config_changed")


def test_given_authorities_when_set_then_the_receiver_trusts_them_and_is_restarted_alone(unit):
    one, two = authority("one"), authority("two")
    before, environment = unit.desired, unit.environment
    syslog = unit.container.plan.services[SERVICE].environment

    set_option(unit, f"{one.pem}\n{two.pem}{one.pem}")

    assert unit.read(CA) == one.pem + two.pem
    assert unit.container.plan.services[SERVICE].environment != syslog
    assert unit.environment == environment
    assert unit.desired["generations"] == before["generations"]
    assert unit.status.name == "active"


def test_given_authorities_when_the_option_is_reset_then_our_own_is_trusted_again(unit):
    own = unit.read(CA)
    set_option(unit, authority("one").pem)

    set_option(unit, "")

    assert unit.read(CA) == own


def test_given_authorities_when_a_bad_value_comes_then_it_is_blocked_and_they_stay(unit):
    one = authority("one")
    set_option(unit, one.pem)

    set_option(unit, "hello")

    assert unit.status.name == "blocked"
    assert unit.status.message == "logs-ca-cert: not a PEM certificate"
    assert unit.read(CA) == one.pem
    unit.run("update_status")
    assert unit.status.message == "logs-ca-cert: not a PEM certificate"
    assert unit.writes == {}


def test_given_a_private_key_when_pasted_then_it_is_shown_nowhere(unit):
    one = authority("one")
    pasted = "-----BEGIN PRIVATE KEY-----\nPastedByMistake\n-----END PRIVATE KEY-----"

    set_option(unit, f"{one.pem}{pasted}")

    assert unit.status.message == (
        "logs-ca-cert: holds a private key; replace that key, and give certificates"
    )
    assert not [path for path, text in unit.files().items() if "PastedByMistake" in text]
    assert "PastedByMistake" not in str(unit.container.plan.to_dict())


def test_given_a_bad_value_at_the_first_deployment_when_configured_then_our_own_is_trusted(
    tmp_path,
):
    unit = leader(tmp_path, config={"logs-ca-cert": "hello"})

    assert "BEGIN CERTIFICATE" in unit.read(CA)
    assert unit.status.name == "blocked"
