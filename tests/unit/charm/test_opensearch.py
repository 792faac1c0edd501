"""The relation `opensearch-client`, against the published library's own provider code."""

import dataclasses
import datetime
import json

import ops
import pytest
from dpcharmlibs.interfaces import (
    RequirerCommonModel,
    ResourceProviderEventHandler,
    ResourceProviderModel,
)
from hypothesis import given
from hypothesis import strategies as st
from ops import testing

from src import certificates
from src.relations import BadDataError, opensearch
from tests.unit.charm.provider import authority, of_version_6
from tests.unit.charm.world import leader, peer_of, shared_secrets

ENDPOINT, INTERFACE = "opensearch-client", "opensearch_client"
PASSWORD = "pa$$w${HOME}rd<&"
NOW = datetime.datetime.now(datetime.UTC)
CONF = "/etc/wazuh-server/files/etc/ossec.conf"
FILEBEAT = "/etc/wazuh-server/filebeat/filebeat.yml"


@pytest.fixture(scope="module")
def root():
    return authority("indexer")


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def provide(asked, root):
    """Let the real library read what was asked, answer it; return its databag and secrets."""

    class Provider(ops.CharmBase):
        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            self.side = ResourceProviderEventHandler(self, "client", RequirerCommonModel)
            framework.observe(self.side.on.resource_requested, self._answer)

        def _answer(self, event) -> None:
            assert event.request.resource == "wazuh-alerts"
            assert event.request.extra_user_roles == "admin"
            response = ResourceProviderModel(
                salt=event.request.salt,
                request_id=event.request.request_id,
                resource=event.request.resource,
                username="opensearch-client_7",
                password=PASSWORD,
                endpoints="10.1.0.9:9200,10.1.0.10:9200",
                tls=True,
                tls_ca=root.pem,
                version="2.19.4",
            )
            self.side.set_response(event.relation.id, response)

    meta = {"name": "opensearch", "provides": {"client": {"interface": INTERFACE}}}
    context = testing.Context(Provider, meta=meta)
    relation = testing.Relation("client", INTERFACE, remote_app_data=dict(asked))
    state = testing.State(leader=True, relations={relation})
    after = context.run(context.on.relation_changed(relation, remote_unit=0), state)
    return dict(after.get_relation(relation.id).local_app_data), after.secrets


def lend(unit, content):
    """Let the other application grant a secret; returns its id."""
    secret = testing.Secret(content, owner=None)
    unit.configure(secrets={*unit.state.secrets, secret})
    return secret.id


def answer(unit, root, **changes):
    """Return what an indexer tells, as the real library writes it."""
    return {
        "endpoints": "10.1.0.9:9200,10.1.0.10:9200",
        "secret-user": lend(unit, {"username": "opensearch-client_7", "password": PASSWORD}),
        "secret-tls": lend(unit, {"tls": "True", "tls-ca": root.pem}),
        "version": "2.19.4",
        "data": "{}",
        **{key.replace("_", "-"): value for key, value in changes.items()},
    }


@pytest.fixture
def indexed(unit, root):
    unit.relate(ENDPOINT, INTERFACE)
    unit.offer(ENDPOINT, answer(unit, root))
    return unit


def test_given_the_published_provider_when_asked_then_its_answer_is_understood(unit, root):
    unit.relate(ENDPOINT, INTERFACE)
    asked = dict(unit.related(ENDPOINT).local_app_data)

    told, secrets = provide(asked, root)

    lent = {one.id: dict(one.latest_content or {}) for one in secrets}
    assert set(opensearch.references(told)) <= set(lent)
    assert opensearch.find(told, lent, NOW) == {
        "hosts": "https://10.1.0.10:9200 https://10.1.0.9:9200",
        "username": "opensearch-client_7",
        "password": PASSWORD,
        "authority": root.pem.strip(),
    }
    assert PASSWORD not in str(told)


def test_given_nothing_told_yet_when_related_then_the_leader_waits_and_serves(unit):
    before = unit.files()

    unit.relate(ENDPOINT, INTERFACE)

    assert unit.status.name == "waiting"
    assert unit.status.message == "opensearch-client: waiting for other to tell its addresses"
    assert {path for path, text in unit.files().items() if text != before[path]} == {
        "/etc/wazuh-server/applied.json"
    }


def test_given_an_indexer_when_told_then_both_senders_are_configured_and_wazuh_goes_on(unit, root):
    environment, generations = unit.environment, unit.desired["generations"]
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, answer(unit, root))

    assert unit.status.message == "master of 3, epoch 1"
    assert unit.environment == environment
    changed = {k for k, v in unit.desired["generations"].items() if generations.get(k) != v}
    assert changed == {"wazuh-modulesd", "indexer"}
    assert "<host>https://10.1.0.10:9200</host>" in unit.read(CONF)
    assert "<ca>/var/ossec/etc/indexer-ca.pem</ca>" in unit.read(CONF)
    conf = json.loads(unit.read(FILEBEAT))
    output = conf["output.elasticsearch"]
    assert output["hosts"] == ["https://10.1.0.10:9200", "https://10.1.0.9:9200"]
    assert output["ssl.verification_mode"] == "full"
    # Filebeat expands ${…}; of two $ it makes one.
    assert output["password"] == "pa$$$$w$${HOME}rd<&"
    assert unit.read("/etc/wazuh-server/filebeat/ca.crt").strip() == root.pem.strip()
    assert json.loads(unit.read("/etc/wazuh-server/indexer.json"))["password"] == PASSWORD
    service = unit.container.plan.services["filebeat"]
    assert (service.user, service.group, service.startup) == ("filebeat", "wazuh", "enabled")


def test_given_an_indexer_when_all_that_is_shown_is_read_then_its_password_is_nowhere(indexed):
    shown = [
        indexed.databag,
        indexed.related(ENDPOINT).local_app_data,
        indexed.container.plan,
        indexed.status,
        [line.message for line in indexed.context.juju_log],
    ]

    assert PASSWORD not in str(shown)
    assert PASSWORD in indexed.secrets["indexer"]["password"]
    modes = dict(indexed.pushes)
    assert modes[FILEBEAT]["permissions"] == 0o400
    assert modes[FILEBEAT]["user"] == "filebeat"
    assert modes["/etc/wazuh-server/indexer.json"]["permissions"] == 0o600


def test_given_an_indexer_when_nothing_changed_then_no_hook_writes_anything(indexed):
    for planned in (3, 100):
        indexed.configure(planned_units=planned)
        for event in ("config_changed", "leader_elected", *["update_status"] * 20):
            indexed.run(event)
            assert indexed.writes == {}
            assert indexed.tools["relation_set"] == 0
            assert indexed.tools["secret_set"] == 0
    assert indexed.tools["secret_get"] == 1


def test_given_an_indexer_waited_for_when_a_branch_is_looked_at_then_only_fetching_starts(unit):
    unit.configure(config={"custom-config-repository": "git+https://git.example.com/rules@main"})
    unit.run("config_changed")
    unit.relate(ENDPOINT, INTERFACE)
    unit.run("update_status")
    unit.stop("repository")

    unit.run("update_status")

    assert unit.writes == {"start_services": 1}


def test_given_addresses_in_another_order_when_told_then_nothing_is_restarted(indexed, root):
    plan, generations = indexed.container.plan, indexed.desired["generations"]
    theirs = dict(indexed.related(ENDPOINT).remote_app_data)

    indexed.offer(ENDPOINT, theirs | {"endpoints": "10.1.0.10:9200, 10.1.0.9:9200,"})

    assert indexed.container.plan == plan
    assert indexed.desired["generations"] == generations


def test_given_another_password_when_its_secret_changes_then_only_the_senders_follow(indexed):
    environment = indexed.environment
    theirs = indexed.related(ENDPOINT).remote_app_data
    old = next(one for one in indexed.state.secrets if one.id == theirs["secret-user"])
    content = {"username": "opensearch-client_7", "password": "another"}
    new = dataclasses.replace(old, latest_content=content)
    indexed.configure(secrets={*(indexed.state.secrets - {old}), new})

    indexed.run("secret_changed", new)

    assert json.loads(indexed.read(FILEBEAT))["output.elasticsearch"]["password"] == "another"
    assert indexed.secrets["indexer"]["password"] == "another"
    assert indexed.environment == environment


def test_given_a_worker_when_the_leader_publishes_then_it_sends_too(indexed, tmp_path):
    worker = peer_of(indexed, tmp_path / "worker")

    worker.run("pebble_ready")

    assert json.loads(worker.read(FILEBEAT)) == json.loads(indexed.read(FILEBEAT))


def test_given_the_relation_removed_when_hooks_run_then_nothing_is_sent_or_kept(indexed, tmp_path):
    environment = indexed.environment
    worker = peer_of(indexed, tmp_path / "worker")
    worker.run("pebble_ready")
    indexed.part(ENDPOINT)
    worker.configure(secrets=shared_secrets(indexed))
    worker.publish(indexed.databag)
    worker.run("relation_changed")

    for one in (indexed, worker):
        service = one.container.plan.services["filebeat"]
        assert (service.startup, service.command) == ("disabled", "/bin/sleep 2")
        assert PASSWORD not in str(one.files())
        assert "<indexer>" not in one.read(CONF)
        one.run("update_status")
        assert one.writes == {}
    assert indexed.secrets["indexer"] == {"related": "no"}
    assert indexed.environment == environment
    assert indexed.status.message == "master of 3, epoch 1"


def test_given_a_relation_when_removed_and_made_again_then_all_is_as_before(indexed, root):
    before, plan = indexed.read(FILEBEAT), indexed.container.plan
    indexed.part(ENDPOINT)
    indexed.relate(ENDPOINT, INTERFACE)

    indexed.offer(ENDPOINT, answer(indexed, root))

    assert indexed.read(FILEBEAT) == before
    assert indexed.container.plan == plan


def test_given_a_secret_not_granted_yet_when_it_is_then_update_status_takes_it(unit, root):
    told = answer(unit, root)
    granted = unit.state.secrets
    unit.configure(secrets={one for one in granted if one.id != told["secret-tls"]})
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, told)

    assert unit.status.name == "waiting"
    assert unit.status.message == (
        "opensearch-client: waiting for other to grant the secret secret-tls"
    )
    unit.run("update_status")
    assert unit.tools["relation_set"] == 0
    missing = next(one for one in granted if one.id == told["secret-tls"])
    unit.configure(secrets={*unit.state.secrets, missing})
    unit.run("update_status")
    assert unit.status.name == "active"
    assert "filebeat" in unit.container.plan.services


_NOT_HOST = "endpoints is not host:port, with brackets around an IPv6 address"


@pytest.mark.parametrize(
    ("endpoints", "reason"),
    [
        ("a</host><x>:9200", _NOT_HOST),
        ("a\nb:9200", _NOT_HOST),
        ("a:9200\n", _NOT_HOST),
        ("a:0", _NOT_HOST),
        ("a:65536", _NOT_HOST),
        ("a:-1", _NOT_HOST),
        ("fe80::1:9200", _NOT_HOST),
        ("[fe80::1%x]:9200", _NOT_HOST),
        ("[10.1.0.9]:9200", _NOT_HOST),
        ("a", _NOT_HOST),
        ("a:9200 b:9200", _NOT_HOST),
        ("http://a:9200", _NOT_HOST),
        ('["a:9200"]', _NOT_HOST),
        ("user@a:9200", _NOT_HOST),
        ("$IncludeConfig /x:9200", _NOT_HOST),
        ("a:9200," * 1_500_000, "endpoints is longer than 65536 characters"),
        (",".join(f"h{n}:9200" for n in range(101)), "endpoints has more than 100 addresses"),
    ],
)
def test_given_addresses_that_are_none_when_told_then_it_is_blocked_and_goes_on(
    indexed, root, endpoints, reason
):
    before, plan = indexed.read(FILEBEAT), indexed.container.plan

    indexed.offer(ENDPOINT, answer(indexed, root, endpoints=endpoints))

    assert indexed.status.name == "blocked"
    assert indexed.status.message == f"opensearch-client: {reason}"
    assert indexed.read(FILEBEAT) == before
    assert indexed.container.plan == plan
    indexed.offer(ENDPOINT, answer(indexed, root, endpoints="[FE80::1]:9200,a:9200,a:9200,,"))
    assert indexed.status.message == "master of 3, epoch 1"
    assert "<host>https://[fe80::1]:9200</host>" in indexed.read(CONF)


USER = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"username": "u"}, "password is missing in its secret"),
        ({"password": "p"}, "username is missing in its secret"),
        (USER | {"password": "a\nb"}, "password is empty, too long or not printable"),
        (USER | {"password": "p" * 513}, "password is empty, too long or not printable"),
        (USER | {"username": "a:b"}, "username has a colon"),
        (USER | {"username": "a\0b"}, "username is empty, too long or not printable"),
    ],
)
def test_given_a_bad_user_when_told_then_it_is_blocked_without_a_value(
    indexed, root, user, reason
):
    before = indexed.read(FILEBEAT)

    indexed.offer(ENDPOINT, answer(indexed, root, secret_user=lend(indexed, user)))

    assert indexed.status.message == f"opensearch-client: {reason}"
    assert indexed.read(FILEBEAT) == before


def test_given_a_chain_that_begins_with_its_leaf_when_told_then_its_authorities_are_trusted(
    unit, root
):
    # OpenSearch's charm hands on what its own provider told: the certificate and those above it.
    leaf = root.sign(certificates.request("indexer", ["10.1.0.9"])[0])
    unit.relate(ENDPOINT, INTERFACE)
    unit.offer(
        ENDPOINT, answer(unit, root, secret_tls=lend(unit, {"tls-ca": f"{root.pem}\n{leaf}"}))
    )
    assert unit.status.name == "active"
    assert unit.read("/etc/wazuh-server/files/etc/indexer-ca.pem").strip() == root.pem.strip()


def test_given_other_bad_data_when_told_then_each_is_named(indexed, root):
    old = authority("old", life=datetime.timedelta(days=-1))
    ca = {"secret_tls": lend(indexed, {"tls-ca": "rubbish"})}
    leaf = {
        "secret_tls": lend(indexed, {"tls-ca": root.sign(certificates.request("i", ["i"])[0])})
    }
    odd = {"secret_tls": lend(indexed, {"tls-ca": of_version_6(root.pem)})}
    expired = {"secret_tls": lend(indexed, {"tls-ca": old.pem})}
    long = {"secret_tls": lend(indexed, {"tls-ca": "x" * 300_000})}
    for changes, reason in (
        ({"secret_user": "--format=json"}, "secret-user is not a secret's id"),
        ({"secret_tls": "secret:-x"}, "secret-tls is not a secret's id"),
        ({"password": "open"}, "password is in the databag, where everybody reads it"),
        (ca, "tls-ca: "),
        (leaf, "tls-ca: holds no certificate authority"),
        (odd, "tls-ca: "),
        (expired, "tls-ca: CN=old expired on "),
        (long, "tls-ca is longer than 262144 characters"),
    ):
        indexed.offer(ENDPOINT, answer(indexed, root, **changes))
        assert indexed.status.name == "blocked"
        assert indexed.status.message.startswith(f"opensearch-client: {reason}")


@pytest.mark.parametrize(
    ("changes", "awaited"),
    [
        ({"endpoints": ""}, "to tell its addresses"),
        ({"endpoints": ",,"}, "to tell its addresses"),
        ({"secret_user": ""}, "to hand over secret-user"),
        ({"secret_tls": ""}, "to hand over secret-tls"),
        ({"secret_user": "secret:" + "0" * 20}, "to grant the secret secret-user"),
        # A newer schema, in which all of it has another place.
        ({"version": "v1", "requests": "[{}]", "endpoints": ""}, "to tell its addresses"),
    ],
)
def test_given_part_of_the_data_when_told_then_it_waits(unit, root, changes, awaited):
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, answer(unit, root, **changes))

    assert unit.status.name == "waiting"
    assert unit.status.message == f"opensearch-client: waiting for other {awaited}"
    assert "filebeat" not in unit.container.plan.services


@given(
    st.dictionaries(
        st.sampled_from(["endpoints", "secret-user", "secret-tls", "version", "username"]),
        st.one_of(st.text(), st.sampled_from(["secret:u", "secret:t", "a:9200", "[]", "{}"])),
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "secret:u": st.dictionaries(st.sampled_from(["username", "password"]), st.text()),
            "secret:t": st.dictionaries(st.sampled_from(["tls-ca", "tls"]), st.text()),
        },
    ),
)
def test_given_any_data_when_read_then_they_are_right_or_named(theirs, lent):
    opensearch.references(theirs)
    try:
        opensearch.find(theirs, lent, NOW)
    except (BadDataError, opensearch.NotYetError) as reason:
        assert "\n" not in str(reason)
        assert len(str(reason)) < 300


@given(st.text(max_size=60))
def test_given_any_address_when_read_then_only_plain_ones_pass(text):
    try:
        hosts = opensearch._hosts(text)
    except ValueError:
        return
    plain = set("https://abcdefghijklmnopqrstuvwxyz0123456789.-:[]")
    assert all(set(host) <= plain for host in hosts)


def test_given_an_indexer_that_is_away_when_reported_then_the_unit_is_active_and_says_so(indexed):
    away = {"since": "2026-11-23T13:05:59+00:00", "reason": "it cannot be reached"}
    indexed.report(indexer=away)

    indexed.run("update_status")

    assert indexed.status.name == "active"
    assert indexed.status.message == (
        "master of 3, epoch 1; alerts wait on disk, the indexer takes none since "
        "2026-11-23 13:05 UTC (it cannot be reached)"
    )
    indexed.report(indexer=["rubbish"])
    indexed.run("update_status")
    assert indexed.status.message == "master of 3, epoch 1"
    indexed.report(indexer=away)
    indexed.part(ENDPOINT)
    indexed.run("update_status")
    assert indexed.status.message == "master of 3, epoch 1"


def told_without_a_hook(unit, data):
    """Let the other side write, or leave, while this unit runs nothing."""
    known = {one for one in unit.state.relations if one.endpoint == ENDPOINT}
    told = {dataclasses.replace(one, remote_app_data=data) for one in known if data is not None}
    unit.configure(relations={*(unit.state.relations - known), *told})


@pytest.mark.parametrize("step", [6, 7, 8, 9, 11])
@pytest.mark.parametrize("comes", [True, False], ids=["comes", "goes"])
def test_given_a_hook_killed_in_its_writing_when_the_next_one_ends_then_no_file_is_left_behind(
    indexed, root, comes, step
):
    data = answer(indexed, root, endpoints="10.9.9.9:9200") if comes else None
    told_without_a_hook(indexed, data)

    assert indexed.kill(step)
    told_without_a_hook(indexed, None)
    indexed.run("config_changed")

    assert PASSWORD not in str(indexed.files())
    assert not [path for path in indexed.files() if "filebeat" in path or "indexer" in path]
    assert indexed.container.plan.services["filebeat"].startup == "disabled"
