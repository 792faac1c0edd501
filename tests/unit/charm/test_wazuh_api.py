"""The relation `wazuh-api`: what a dashboard is handed."""

import json
from urllib.parse import urlsplit

import pytest

from tests.unit.charm.world import leader

ENDPOINT, INTERFACE = "wazuh-api", "wazuh_api_client"


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def shared(unit):
    return next(one for one in unit.state.secrets if one.label == "api-client")


def test_given_a_dashboard_when_related_then_it_is_handed_address_and_a_secret_of_its_own(unit):
    before = unit.files()

    unit.relate(ENDPOINT, INTERFACE)

    relation = unit.related(ENDPOINT)
    data, secret = dict(relation.local_app_data), shared(unit)
    assert set(data) == {"endpoint", "user_credentials_secret"}
    url = urlsplit(data["endpoint"])
    assert (url.scheme, url.hostname, url.port) == (
        "https",
        "wazuh-server.sec.svc.cluster.local",
        55000,
    )
    assert secret.id.endswith(data["user_credentials_secret"].removeprefix("secret:"))
    assert secret.remote_grants[relation.id] == {"other"}
    content = dict(secret.latest_content or {})
    users = json.loads(unit.read("/etc/wazuh-server/users.json"))
    assert content == {"user": "wazuh-dashboard", "password": users["wazuh-dashboard"]["password"]}
    assert content["password"] not in str(data)
    # Wazuh's role `readonly`.
    assert users["wazuh-dashboard"]["roles"] == [2]
    assert {path for path, text in unit.files().items() if text != before[path]} == {
        "/etc/wazuh-server/applied.json"
    }


def test_given_several_dashboards_when_related_then_each_is_granted_the_secret(unit):
    first = unit.relate(ENDPOINT, INTERFACE)
    unit.relate(ENDPOINT, INTERFACE)

    assert set(shared(unit).remote_grants) == {
        one.id for one in unit.state.relations if one.endpoint == ENDPOINT
    }
    assert first.id in shared(unit).remote_grants


def test_given_a_dashboard_when_nothing_changes_then_nothing_is_written(unit):
    unit.relate(ENDPOINT, INTERFACE)

    for event in ("update_status", "config_changed", "leader_elected", "upgrade_charm"):
        unit.run(event)
        assert unit.writes == {}
        assert unit.tools["relation_set"] == 0
        assert unit.tools["secret_set"] == 0
    assert unit.status.name == "active"


def test_given_a_dashboard_when_it_goes_and_comes_back_then_it_is_handed_the_same(unit):
    unit.relate(ENDPOINT, INTERFACE)
    before = dict(unit.related(ENDPOINT).local_app_data)
    unit.part(ENDPOINT)
    assert unit.status.name == "active"

    unit.relate(ENDPOINT, INTERFACE)

    assert dict(unit.related(ENDPOINT).local_app_data) == before
