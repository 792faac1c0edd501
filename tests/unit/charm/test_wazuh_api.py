"""The relation `wazuh-api`: what a dashboard is handed.

The other side is in no package on the index: what the deployed requirers read stands here as
modelled from their library (canonical/wazuh-server-operator wazuh_api v0, WazuhApiRequires).
"""

import json
from typing import Annotated
from urllib.parse import urlsplit

import ops
import pytest
from ops import testing
from pydantic import AnyHttpUrl, BaseModel, StringConstraints

from tests.unit.charm.world import leader

ENDPOINT, INTERFACE = "wazuh-api", "wazuh_api_client"


class Credentials(BaseModel):
    """What a requirer makes of both databag and secret; it takes nothing that does not fit."""

    endpoint: AnyHttpUrl
    user: Annotated[str, StringConstraints(min_length=1)]
    password: Annotated[str, StringConstraints(min_length=1)]
    user_credentials_secret: str


class Dashboard(ops.CharmBase):
    """The deployed requirer: reads on relation-changed, by the id alone, without refreshing."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on[ENDPOINT].relation_changed, self._read)

    def _read(self, event: ops.RelationChangedEvent) -> None:
        data = event.relation.data[event.app]
        content = self.model.get_secret(id=data["user_credentials_secret"]).get_content()
        told = {key: data[key] for key in ("endpoint", "user_credentials_secret")}
        login = {key: content[key] for key in ("user", "password")}
        found = Credentials.model_validate({**told, **login})
        self.unit.status = ops.ActiveStatus(f"{found.user}@{found.endpoint}")


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
    assert data["user_credentials_secret"].endswith(secret.id.removeprefix("secret:"))
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


def test_given_the_deployed_requirer_when_it_reads_then_it_has_all_it_needs(unit):
    unit.relate(ENDPOINT, INTERFACE)
    told = dict(unit.related(ENDPOINT).local_app_data)
    meta = {"name": "dashboard", "requires": {ENDPOINT: {"interface": INTERFACE}}}
    context = testing.Context(Dashboard, meta=meta)
    relation = testing.Relation(
        ENDPOINT, INTERFACE, remote_app_data=told, remote_units_data={0: {}}
    )
    content = dict(shared(unit).latest_content or {})
    granted = testing.Secret(content, id=told["user_credentials_secret"], owner=None)
    state = testing.State(relations={relation}, secrets={granted})

    after = context.run(context.on.relation_changed(relation, remote_unit=0), state)

    assert after.unit_status == testing.ActiveStatus(
        "wazuh-dashboard@https://wazuh-server.sec.svc.cluster.local:55000/"
    )


def test_given_a_requirer_in_another_model_when_told_then_the_id_names_this_one(unit):
    unit.relate(ENDPOINT, INTERFACE)

    told = unit.related(ENDPOINT).local_app_data["user_credentials_secret"]

    identity = shared(unit).id.removeprefix("secret:").rpartition("/")[2]
    assert told == f"secret://{unit.state.model.uuid}/{identity}"
    for event in ("update_status", "leader_elected"):
        unit.run(event)
        assert unit.related(ENDPOINT).local_app_data["user_credentials_secret"] == told


def test_given_an_id_without_the_model_when_upgraded_then_it_is_told_anew_once(unit):
    unit.relate(ENDPOINT, INTERFACE)
    relation = unit.related(ENDPOINT)
    told = relation.local_app_data["user_credentials_secret"]
    relation.local_app_data["user_credentials_secret"] = f"secret:{told.rpartition('/')[2]}"

    unit.run("upgrade_charm")

    assert unit.related(ENDPOINT).local_app_data["user_credentials_secret"] == told
    unit.run("upgrade_charm")
    assert unit.tools["relation_set"] == 0


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


@pytest.mark.parametrize(
    "theirs",
    [{"endpoint": "[{"}, {"user_credentials_secret": "secret:x"}, {"x": "y" * 10_000_000}],
)
def test_given_whatever_a_dashboard_says_when_told_then_ours_stays(unit, theirs):
    unit.relate(ENDPOINT, INTERFACE)
    before = dict(unit.related(ENDPOINT).local_app_data)

    unit.offer(ENDPOINT, theirs)

    assert unit.status.name == "active"
    assert dict(unit.related(ENDPOINT).local_app_data) == before
