"""The relation `ingress`: what Traefik is told, and what is taken from it."""

import dataclasses
import json

import pytest
import yaml
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from src.cluster import Names
from src.relations import BadDataError, ingress
from tests.unit.charm.world import leader, peer_of

ENDPOINT, INTERFACE = "ingress", "traefik_route"


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def ours(unit):
    return dict(unit.related(ENDPOINT).local_app_data)


def test_given_a_traefik_when_related_then_it_is_told_four_tcp_ports_to_pass_through(unit):
    unit.relate(ENDPOINT, INTERFACE)

    data = ours(unit)
    static, dynamic = yaml.safe_load(data["static"]), yaml.safe_load(data["config"])
    ports = {name: int(point["address"][1:]) for name, point in static["entryPoints"].items()}
    # Traefik's charm compares with this very word, and ends TLS itself for any other.
    assert data["raw"] == "True"
    assert ports == {
        "sec-wazuh-server-agents": 1514,
        "sec-wazuh-server-enrolment": 1515,
        "sec-wazuh-server-syslog": 6514,
        "sec-wazuh-server-api": 55000,
    }
    for name, router in dynamic["tcp"]["routers"].items():
        (server,) = dynamic["tcp"]["services"][router["service"]]["loadBalancer"]["servers"]
        assert router == {"entryPoints": [name], "rule": "HostSNI(`*`)", "service": name}
        assert server["address"] == f"wazuh-server.sec.svc.cluster.local:{ports[name]}"


def test_given_units_that_come_and_go_when_any_hook_runs_then_traefik_is_told_nothing_new(unit):
    unit.relate(ENDPOINT, INTERFACE)
    before = ours(unit)

    for planned in (3, 100):
        unit.configure(planned_units=planned)
        for event in ("config_changed", "leader_elected", *["update_status"] * 20):
            unit.run(event)
            assert unit.tools["relation_set"] == 0

    assert ours(unit) == before


def test_given_no_address_yet_when_related_then_the_leader_waits_for_it_and_serves(unit):
    before = unit.files()

    unit.relate(ENDPOINT, INTERFACE)

    assert unit.status.name == "waiting"
    assert unit.status.message == "ingress: waiting for other to tell its address"
    assert unit.environment
    assert {path for path, text in unit.files().items() if text != before[path]} == {
        "/etc/wazuh-server/applied.json",
    }


def test_given_an_address_when_told_then_status_and_certificate_name_it(unit):
    unit.relate(ENDPOINT, INTERFACE)

    unit.offer(ENDPOINT, {"external_host": "wazuh.example.com", "scheme": "http"})

    assert unit.status.message == "master of 3, epoch 1, at wazuh.example.com"
    certificate = x509.load_pem_x509_certificate(
        unit.secrets["api-identity"]["certificate"].encode()
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "wazuh.example.com" in names.get_values_for_type(x509.DNSName)
    unit.run("update_status")
    assert unit.status.message == "master of 3, epoch 1, at wazuh.example.com"


@pytest.mark.parametrize(
    "text",
    [
        "a</host><x>",
        "a\nb",
        "$IncludeConfig /etc/shadow",
        "-x",
        "a b",
        "x" * 300,
        "../x",
        "fe80::1%</x>",
    ],
)
def test_given_an_address_that_is_none_when_told_then_it_is_blocked_and_goes_on(unit, text):
    unit.relate(ENDPOINT, INTERFACE)
    before = unit.secrets

    unit.offer(ENDPOINT, {"external_host": text})

    assert unit.status.name == "blocked"
    assert unit.status.message == "ingress: external_host is neither a host name nor an IP address"
    assert unit.secrets == before
    unit.offer(ENDPOINT, {"external_host": "10.0.0.9"})
    assert unit.status.message == "master of 3, epoch 1, at 10.0.0.9"


def test_given_a_relation_when_removed_and_made_again_then_wazuh_is_left_alone(unit):
    environment = unit.environment
    for _ in range(3):
        unit.relate(ENDPOINT, INTERFACE)
        unit.offer(ENDPOINT, {"external_host": "wazuh.example.com"})
        unit.part(ENDPOINT)
        unit.run("update_status")
        assert unit.status.message == "master of 3, epoch 1"

    assert unit.environment == environment


def test_given_a_unit_that_does_not_lead_when_related_then_it_reads_and_writes_nothing(tmp_path):
    worker = peer_of(leader(tmp_path / "leader"), tmp_path / "worker")
    worker.run("pebble_ready")
    worker.report(role="worker")

    worker.relate(ENDPOINT, INTERFACE)

    assert worker.writes == {}
    assert worker.tools["relation_set"] == 0
    assert worker.status.name == "active"


def test_given_a_leader_with_an_ingress_when_nothing_changed_then_a_hook_asks_for_little(unit):
    unit.relate(ENDPOINT, INTERFACE)
    unit.offer(ENDPOINT, {"external_host": "wazuh.example.com"})

    unit.run("update_status")

    assert unit.writes == {}
    assert unit.tools["relation_get"] == 1


def test_given_our_side_lost_when_the_next_hook_looks_then_it_is_written_again(unit):
    unit.relate(ENDPOINT, INTERFACE)
    before = ours(unit)
    relation = dataclasses.replace(unit.related(ENDPOINT), local_app_data={"stale": "1"})
    unit.configure(relations={unit.relation, relation})

    unit.run("config_changed")

    assert ours(unit) == before


_NAMES = st.from_regex(r"\A[a-z][a-z0-9-]{0,80}[a-z0-9]\Z")


@given(_NAMES, _NAMES)
def test_given_any_names_when_told_then_entry_points_fit_a_service_and_are_their_own(model, app):
    told = ingress.wanted(Names(app, model))

    points = json.loads(told["static"])["entryPoints"]
    assert len(points) == 4
    assert all(len(name) <= 63 and name == name.lower() and name[-1] != "-" for name in points)
    assert told == ingress.wanted(Names(app, model))
    others = json.loads(ingress.wanted(Names(app, f"{model}x"))["static"])["entryPoints"]
    assert not set(points) & set(others)


@given(st.text(max_size=300))
def test_given_any_text_when_read_as_an_address_then_only_names_and_addresses_pass(text):
    try:
        found = ingress.host({"external_host": text})
    except BadDataError:
        return
    assert found is None or not set(found) - set("abcdefghijklmnopqrstuvwxyz0123456789.-:")
