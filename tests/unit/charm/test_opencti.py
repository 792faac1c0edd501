"""The relation `opencti-connector`, against OpenCTI's side as its charm and the schema have it.

There is no package of either on the index: the schema and the other side stand here as published
(canonical/charm-relation-interfaces interfaces/opencti_connector/v0/schema.py;
canonical/opencti-operator src/charm.py, `_setup_connector_integration_and_user`).
"""

import dataclasses
import json

import ops
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ops import testing
from pydantic import AnyHttpUrl, BaseModel

from src import files
from src.relations import BadDataError, lent, opencti_connector
from tests.unit.charm.test_options import _conf
from tests.unit.charm.world import ROOT, leader, peer_of, shared_secrets

ENDPOINT, INTERFACE = "opencti-connector", "opencti_connector"
TOKEN = "0b23cd61-77f1-4b0a-9c3e-1c2d3e4f5a6b"
URL = "http://opencti-endpoints.stg-opencti.svc:8080"
CONF = "/etc/wazuh-server/files/etc/ossec.conf"
PLACE = "/etc/wazuh-server/opencti.json"
HEALTHY = "master of 3, epoch 1"


class Provider(BaseModel):
    """The published schema of our side."""

    connector_charm_name: str
    connector_type: str


class Requirer(BaseModel):
    """The published schema of the other side."""

    opencti_url: AnyHttpUrl
    opencti_token: str


class OpenCti(ops.CharmBase):
    """OpenCTI's side, as its charm has it; the platform itself is left out."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on[ENDPOINT].relation_changed, self._answer)

    def _answer(self, event: ops.RelationChangedEvent) -> None:
        theirs = Provider.model_validate(dict(event.relation.data[event.app]))
        assert theirs.connector_type.replace("-", "_").upper() != "INTERNAL_EXPORT_FILE", (
            "whose users are put among the administrators"
        )
        data = event.relation.data[self.app]
        data["opencti_url"] = f"http://{self.app.name}-endpoints.{self.model.name}.svc:8080"
        secret = self.app.add_secret({"token": TOKEN})
        secret.grant(event.relation)
        data["opencti_token"] = secret.id or ""


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def lend(unit, content):
    """Let the other application grant a secret; returns its id."""
    secret = testing.Secret(content, owner=None)
    unit.configure(secrets={*unit.state.secrets, secret})
    return secret.id


def answer(unit, **changes):
    """Return what OpenCTI's charm tells."""
    secret = lend(unit, {"token": TOKEN})
    return {"opencti_url": URL, "opencti_token": secret, **changes}


@pytest.fixture
def related(unit):
    unit.relate(ENDPOINT, INTERFACE)
    unit.offer(ENDPOINT, answer(unit))
    return unit


def block(unit):
    """Return the integration of ossec.conf; None where there is none."""
    return _conf(unit).find(".//integration")


def test_given_the_published_schema_when_both_sides_are_read_then_each_has_its_place(unit):
    unit.relate(ENDPOINT, INTERFACE)
    ours = dict(unit.related(ENDPOINT).local_app_data)
    meta = {"name": "opencti", "requires": {ENDPOINT: {"interface": INTERFACE}}}
    context = testing.Context(OpenCti, meta=meta)
    relation = testing.Relation(ENDPOINT, INTERFACE, remote_app_data=ours)
    state = testing.State(
        leader=True, relations={relation}, model=testing.Model(name="stg-opencti")
    )

    after = context.run(context.on.relation_changed(relation, remote_unit=0), state)

    told = dict(after.get_relation(relation.id).local_app_data)
    Requirer.model_validate(told)
    contents = {one.id: dict(one.latest_content or {}) for one in after.secrets}
    assert set(opencti_connector.references(told)) == set(contents)
    assert opencti_connector.find(told, contents) == {"url": URL, "token": TOKEN}
    assert TOKEN not in str(told)


def test_given_what_is_declared_when_compared_then_the_role_and_the_name_are_the_connector_s():
    declared = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())

    assert declared["provides"][ENDPOINT]["interface"] == INTERFACE
    assert opencti_connector.wanted() == {
        "connector_charm_name": declared["name"],
        "connector_type": "EXTERNAL_IMPORT",
    }


def test_given_nothing_told_yet_when_related_then_the_leader_waits_and_serves(unit):
    before = unit.files()

    unit.relate(ENDPOINT, INTERFACE)

    assert unit.status.name == "waiting"
    assert unit.status.message == "opencti-connector: waiting for other to tell its address"
    assert {path for path, text in unit.files().items() if text != before[path]} == {
        "/etc/wazuh-server/applied.json"
    }


def test_given_an_opencti_when_told_then_only_the_integrator_is_to_be_started(unit):
    environment, generations = unit.environment, unit.desired["generations"]
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, answer(unit))

    assert unit.status.message == HEALTHY
    assert unit.environment == environment
    changed = {k for k, v in unit.desired["generations"].items() if generations.get(k) != v}
    assert changed == {"wazuh-integratord"}
    assert json.loads(unit.read(PLACE)) == {"url": URL, "token": TOKEN}
    found = block(unit)
    assert found is not None
    assert {one.tag: one.text for one in found} == {
        "name": "custom-opencti-lookup",
        "group": ",".join(files._LOOKED_UP),
        "alert_format": "json",
    }


def test_given_the_integration_s_name_when_looked_for_then_the_image_has_its_program(related):
    found = block(related)
    assert found is not None
    script = ROOT / "rock/wazuh/integrations" / str(found.findtext("name"))

    assert script.read_text().startswith("#!/var/ossec/framework/python/bin/python3 ")
    read = (ROOT / "rock/opencti/lookup.py").read_text()
    assert f'"{PLACE}"' in read


def test_given_the_groups_that_are_looked_up_when_the_page_is_read_then_it_names_each():
    page = (ROOT / "docs/how-to/look-up-in-opencti.md").read_text()

    assert [group for group in files._LOOKED_UP if f"`{group}`" not in page] == []


def test_given_a_token_when_all_that_is_shown_is_read_then_it_is_nowhere(related):
    shown = [
        related.databag,
        related.related(ENDPOINT).local_app_data,
        related.container.plan,
        related.status,
        related.desired,
        related.read(CONF),
        related.read("/etc/wazuh-server/applied.json"),
        [line.message for line in related.context.juju_log],
    ]

    assert TOKEN not in str(shown)
    assert related.secrets["opencti"] == {"url": URL, "token": TOKEN}
    assert [path for path, text in related.files().items() if TOKEN in text] == [PLACE]
    pushed = dict(related.pushes)[PLACE]
    assert (pushed["user"], pushed["group"], pushed["permissions"]) == ("root", "wazuh", 0o640)


def test_given_an_opencti_when_nothing_changed_then_no_hook_writes_anything(related):
    for planned in (3, 100):
        related.configure(planned_units=planned)
        for event in ("config_changed", "leader_elected", *["update_status"] * 20):
            related.run(event)
            assert related.writes == {}
            assert related.tools["relation_set"] == 0
            assert related.tools["secret_set"] == 0
    assert related.tools["secret_get"] == 1


def test_given_another_token_when_its_secret_changes_then_nothing_is_started_for_it(
    related, tmp_path
):
    environment, generations = related.environment, related.desired["generations"]
    theirs = related.related(ENDPOINT).remote_app_data
    old = next(one for one in related.state.secrets if one.id == theirs["opencti_token"])
    new = dataclasses.replace(old, latest_content={"token": "another-token"})
    related.configure(secrets={*(related.state.secrets - {old}), new})

    related.run("secret_changed", new)

    worker = peer_of(related, tmp_path / "worker")
    worker.run("pebble_ready")
    for one in (related, worker):
        assert json.loads(one.read(PLACE))["token"] == "another-token"
        assert TOKEN not in str(one.files())
    assert related.environment == environment
    assert related.desired["generations"] == generations
    assert related.secrets["opencti"]["token"] == "another-token"


def test_given_the_relation_removed_when_hooks_run_then_no_unit_keeps_the_token(related, tmp_path):
    environment, generations = related.environment, related.desired["generations"]
    worker = peer_of(related, tmp_path / "worker")
    worker.run("pebble_ready")
    assert block(worker) is not None
    related.part(ENDPOINT)
    worker.configure(secrets=shared_secrets(related))
    worker.publish(related.databag)
    worker.run("relation_changed")

    for one in (related, worker):
        assert TOKEN not in str(one.files())
        assert PLACE not in one.files()
        assert block(one) is None
        one.run("update_status")
        assert one.writes == {}
    assert related.secrets["opencti"] == {"related": "no"}
    assert related.environment == environment
    left = {name: one for name, one in generations.items() if name != "wazuh-integratord"}
    assert related.desired["generations"] == left
    assert related.status.message == HEALTHY


def test_given_a_relation_when_removed_and_made_again_then_all_is_as_before(related):
    before, generations = related.read(CONF), related.desired["generations"]
    related.part(ENDPOINT)
    related.relate(ENDPOINT, INTERFACE)

    related.offer(ENDPOINT, answer(related))

    assert related.read(CONF) == before
    assert related.desired["generations"] == generations
    assert json.loads(related.read(PLACE))["token"] == TOKEN


def test_given_a_secret_not_granted_yet_when_it_is_then_update_status_takes_it(unit):
    told = answer(unit)
    granted = unit.state.secrets
    unit.configure(secrets={one for one in granted if one.id != told["opencti_token"]})
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, told)

    assert unit.status.name == "waiting"
    assert unit.status.message == (
        "opencti-connector: waiting for other to grant the secret opencti_token"
    )
    assert PLACE not in unit.files()
    unit.run("update_status")
    assert unit.tools["relation_set"] == 0
    missing = next(one for one in granted if one.id == told["opencti_token"])
    unit.configure(secrets={*unit.state.secrets, missing})
    unit.run("update_status")
    assert unit.status.message == HEALTHY
    assert json.loads(unit.read(PLACE))["token"] == TOKEN


def test_given_a_grant_that_is_taken_back_when_hooks_run_then_the_last_good_token_goes_on(related):
    before = related.files()
    theirs = related.related(ENDPOINT).remote_app_data
    left = {one for one in related.state.secrets if one.id != theirs["opencti_token"]}
    related.configure(secrets=left)

    related.run("config_changed")
    related.run("leader_elected")

    assert related.status.message == (
        "opencti-connector: waiting for other to grant the secret opencti_token"
    )
    for path in (PLACE, CONF):
        assert related.read(path) == before[path]


_PLAIN = "opencti_url is not https, and no Service of this Kubernetes cluster"
_MORE = "opencti_url has more in it than host and port"
_HTTPS = "opencti_url is not an address of https"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://opencti.example.com", _PLAIN),
        ("http://10.1.2.3:8080", _PLAIN),
        ("http://localhost:8080", _PLAIN),
        ("http://a.b.svc.example.com:8080", _PLAIN),
        ("http://a.b.c.svc:8080", _PLAIN),
        ("ftp://opencti-endpoints.stg-opencti.svc", _HTTPS),
        ("file:///etc/passwd", _HTTPS),
        ("opencti:8080", _HTTPS),
        ("https://", _HTTPS),
        ("https://[::1", "opencti_url is not an address"),
        ("https://opencti:0", _HTTPS),
        ("https://opencti:65536", "opencti_url is not an address"),
        ("https://user:pass@opencti.example.com", _MORE),
        ("https://opencti.example.com?x=1", "opencti_url has more in it than an address"),
        ("https://opencti.example.com/#x", "opencti_url has more in it than an address"),
        ("https://opencti.example.com/a b", "opencti_url is not an address of plain characters"),
        ("https://a/\r\nX: y", "opencti_url is not an address of plain characters"),
        ("https://a\n.example.com", "opencti_url is not an address of plain characters"),
        ("https://öpencti.example.com", "opencti_url is not an address of plain characters"),
        ("https://" + "a" * 3000, "opencti_url is not an address of plain characters"),
    ],
)
def test_given_an_address_that_is_none_when_told_then_it_is_blocked_and_goes_on(
    related, url, reason
):
    before, plan = related.files(), related.container.plan

    related.offer(ENDPOINT, answer(related, opencti_url=url))

    assert related.status.name == "blocked"
    assert related.status.message == f"opencti-connector: {reason}"
    assert {path: related.read(path) for path in (PLACE, CONF)} == {
        path: before[path] for path in (PLACE, CONF)
    }
    assert related.container.plan == plan
    related.offer(ENDPOINT, answer(related, opencti_url="https://CTI.example.com:8443/a/"))
    assert related.status.message == HEALTHY
    assert json.loads(related.read(PLACE))["url"] == "https://cti.example.com:8443/a"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"key": TOKEN}, "token is missing in its secret"),
        ({"token": "short"}, "token is too short, too long or not printable"),
        ({"token": "x" * 513}, "token is too short, too long or not printable"),
        ({"token": f"{TOKEN}\r\nX-Other: y"}, "token is too short, too long or not printable"),
        ({"token": f"{TOKEN} ü"}, "token is too short, too long or not printable"),
    ],
)
def test_given_a_bad_token_when_told_then_it_is_blocked_without_a_value(related, content, reason):
    before = related.read(PLACE)

    related.offer(ENDPOINT, answer(related, opencti_token=lend(related, content)))

    assert related.status.message == f"opencti-connector: {reason}"
    assert related.read(PLACE) == before


@pytest.mark.parametrize("text", ["--format=json", TOKEN, "secret:-x", "secret:a b"])
def test_given_no_secret_s_id_when_told_then_it_is_blocked_without_the_text(related, text):
    related.offer(ENDPOINT, answer(related, opencti_token=text))

    assert related.status.message == "opencti-connector: opencti_token is not a secret's id"
    assert TOKEN not in str([line.message for line in related.context.juju_log])


@pytest.mark.parametrize(
    ("changes", "awaited"),
    [
        ({"opencti_url": ""}, "to tell its address"),
        ({"opencti_token": ""}, "to hand over opencti_token"),
        ({"opencti_token": "secret:" + "0" * 20}, "to grant the secret opencti_token"),
    ],
)
def test_given_part_of_the_data_when_told_then_it_waits(unit, changes, awaited):
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, answer(unit, **changes))

    assert unit.status.name == "waiting"
    assert unit.status.message == f"opencti-connector: waiting for other {awaited}"
    assert PLACE not in unit.files()


def test_given_an_ipv6_address_when_told_then_it_is_taken_with_its_brackets():
    theirs = {"opencti_url": "https://[2001:DB8::1]:8443", "opencti_token": "secret:t"}

    found = opencti_connector.find(theirs, {"secret:t": {"token": TOKEN}})

    assert found["url"] == "https://[2001:db8::1]:8443"


@given(
    st.dictionaries(
        st.sampled_from(["opencti_url", "opencti_token", "connector_id"]),
        st.text() | st.sampled_from([URL, "secret:t", "https://x", "http://a.b.svc"]),
    ),
    st.fixed_dictionaries(
        {}, optional={"secret:t": st.dictionaries(st.sampled_from(["token", "x"]), st.text())}
    ),
)
def test_given_any_data_when_read_then_they_are_right_or_named(theirs, contents):
    opencti_connector.references(theirs)
    try:
        found = opencti_connector.find(theirs, contents)
    except (BadDataError, lent.NotYetError) as reason:
        assert "\n" not in str(reason)
        assert len(str(reason)) < 300
    else:
        assert found["url"].startswith(("https://", "http://"))
        assert found["token"].isprintable()


@pytest.mark.parametrize("step", [6, 7, 8])
@pytest.mark.parametrize("comes", [True, False], ids=["comes", "goes"])
def test_given_a_hook_killed_in_its_writing_when_the_next_one_ends_then_no_token_is_left_behind(
    related, comes, step
):
    told = answer(related, opencti_url="https://new.example.com") if comes else None
    _tell(related, told)

    assert related.kill(step)
    _tell(related, None)
    related.run("config_changed")

    assert TOKEN not in str(related.files())
    assert block(related) is None


def _tell(unit, data):
    """Let the other side write, or leave, while this unit runs nothing."""
    known = {one for one in unit.state.relations if one.endpoint == ENDPOINT}
    told = {dataclasses.replace(one, remote_app_data=data) for one in known if data is not None}
    unit.configure(relations={*(unit.state.relations - known), *told})
