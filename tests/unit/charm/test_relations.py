"""All relations together: made, removed and made again in every order of two, and left alone."""

import itertools

import pytest
import yaml

from src import relations
from tests.unit.charm.provider import authority, provide
from tests.unit.charm.test_opencti import answer as intelligence
from tests.unit.charm.test_opensearch import answer
from tests.unit.charm.world import ROOT, leader

_DECLARED = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
INTERFACES = {
    name: about["interface"]
    for kind in ("provides", "requires")
    for name, about in _DECLARED[kind].items()
}


@pytest.fixture(scope="module")
def root():
    return authority()


def join(unit, endpoint, root):
    """Relate an endpoint and have the other side tell all it has to."""
    unit.relate(endpoint, INTERFACES[endpoint])
    if endpoint == "ingress":
        unit.offer(endpoint, {"external_host": "wazuh.example.com"})
    elif endpoint == "opensearch-client":
        unit.offer(endpoint, answer(unit, root))
    elif endpoint == "opencti-connector":
        unit.offer(endpoint, intelligence(unit))
    elif endpoint == "certificates":
        unit.offer(endpoint, provide(unit.related(endpoint).local_app_data, root))


def leave(unit, endpoint, root):
    """Remove a relation; the authority answers what is asked of it anew."""
    unit.part(endpoint)
    if any(one.endpoint == "certificates" for one in unit.state.relations):
        told = provide(unit.related("certificates").local_app_data, root)
        unit.offer("certificates", told)


def core(unit):
    """What the cluster itself runs with: anything else here would touch its agents."""
    spared = ("wazuh-clusterd", "users", "wazuh-analysisd")
    generations = unit.desired["generations"]
    plan = unit.container.plan.services["wazuh"]
    return plan, {name: generations[name] for name in spared}, unit.databag["master"]


def test_given_what_is_declared_when_compared_then_every_endpoint_is_read():
    assert set(relations.ENDPOINTS) == set(INTERFACES)


@pytest.mark.parametrize("pair", itertools.permutations(sorted(INTERFACES), 2), ids="-".join)
def test_given_two_relations_when_removed_and_made_in_any_order_then_the_cluster_is_untouched(
    tmp_path, root, pair
):
    unit = leader(tmp_path)
    before, files = core(unit), unit.files()
    first, second = pair
    for endpoint in pair:
        join(unit, endpoint, root)
    # The one that came first goes first, and comes back last.
    for endpoint in pair:
        leave(unit, endpoint, root)
        assert core(unit) == before
    join(unit, second, root)
    join(unit, first, root)
    assert core(unit) == before
    # And the other way round.
    leave(unit, first, root)
    leave(unit, second, root)
    unit.run("update_status")

    assert core(unit) == before
    assert unit.status.message == "master of 3, epoch 1"
    assert unit.writes == {}
    # A certificate is issued anew, and what is remembered of it; nothing else is left.
    changed = {path for path, text in unit.files().items() if files.get(path) != text}
    kept = ("api/configuration/ssl", "sslmanager", "rsyslog/server.pem", "applied", "desired")
    assert [path for path in changed if not any(one in path for one in kept)] == []


@pytest.mark.parametrize("planned", [3, 100])
def test_given_all_relations_when_nothing_changed_then_20_hooks_write_nothing(
    tmp_path, root, planned
):
    unit = leader(tmp_path, planned=planned)
    # The certificate last: it is asked for anew when there is another name for it.
    for endpoint in sorted(INTERFACES, key=lambda name: name == "certificates"):
        join(unit, endpoint, root)

    for _ in range(20):
        unit.run("update_status")
        assert unit.writes == {}
        for tool in ("relation_set", "secret_set", "secret_add"):
            assert unit.tools[tool] == 0
        assert unit.tools["relation_get"] == 1
    said = f"master of {planned}, epoch 1, at wazuh.example.com, certificate until 2"
    assert unit.status.message.startswith(said)


RUBBISH = {
    "schema": "99",
    "later": '{"than": ["this"]}',
    "large": "x" * 10_000_000,
    "strange": "a</host><x>\n$IncludeConfig /etc/shadow",
}


@pytest.mark.parametrize("endpoint", sorted(INTERFACES))
def test_given_data_of_a_newer_schema_when_told_then_what_is_known_counts_and_no_more(
    tmp_path, root, endpoint
):
    unit = leader(tmp_path)
    join(unit, endpoint, root)
    said, files = unit.status, unit.files()
    known = dict(unit.related(endpoint).remote_app_data)

    unit.offer(endpoint, known | RUBBISH)

    assert unit.status == said
    changed = {path for path, text in unit.files().items() if files[path] != text}
    assert changed <= {"/etc/wazuh-server/applied.json"}
    assert "IncludeConfig" not in str(unit.files())
    assert unit.tools["relation_set"] == 0
