"""The Service as nftables rules, and names as hosts files."""

from dataclasses import replace

from sandbox import network
from sandbox.model import ServiceView

SERVICE = ServiceView(
    app="wazuh-server",
    address="10.152.183.10",
    ports=(1514, 55000),
    endpoints=("10.1.0.2", "10.1.0.4"),
    headless={"wazuh-server-0": "10.1.0.2", "wazuh-server-1": "10.1.0.3"},
)


def test_given_ready_pods_when_rules_are_written_then_each_port_goes_to_them_in_turn() -> None:
    rules = network.ruleset([SERVICE], {})

    turns = "numgen inc mod 2 map { 0 : 10.1.0.2, 1 : 10.1.0.4 }"
    assert f"ip daddr 10.152.183.10 tcp dport 1514 dnat to {turns}" in rules
    assert f"ip daddr 10.152.183.10 tcp dport 55000 dnat to {turns}" in rules


def test_given_no_ready_pod_when_rules_are_written_then_connections_are_refused() -> None:
    rules = network.ruleset([replace(SERVICE, endpoints=())], {})

    assert "dnat" not in rules.replace("status dnat", "")
    assert "reject with tcp reset" in rules


def test_given_a_cut_when_rules_are_written_then_packets_are_dropped_both_ways() -> None:
    rules = network.ruleset([SERVICE], {"10.1.0.2": {"kubernetes", "controller"}})

    assert "ip saddr 10.1.0.2 ip daddr 10.152.183.1 drop" in rules
    assert "ip saddr 10.152.183.1 ip daddr 10.1.0.2 drop" in rules
    assert rules.count(" drop") == 4


def test_given_pods_ready_or_not_when_names_are_written_then_all_have_theirs() -> None:
    lines = network.hosts("model", [SERVICE], {"own": "10.1.0.2"}).splitlines()

    headless = "wazuh-server-endpoints.model.svc.cluster.local"
    addresses = [line.split()[0] for line in lines if f" {headless} " in line]
    assert addresses == ["10.1.0.2", "10.1.0.3"]
    assert any(line.startswith(f"10.1.0.3 wazuh-server-1.{headless} ") for line in lines)
    assert "10.1.0.2 own" in lines
