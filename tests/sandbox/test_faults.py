"""Faults: three different restarts, a frozen unit, a server that dies."""

import os
import signal

from sandbox.driver import APPLICATION, Driver


def _worker(cluster: Driver) -> str:
    return next(
        unit
        for unit, value in cluster.units().items()
        if value["workload-status"]["message"].startswith("worker")
    )


def _hooks_since(cluster: Driver, number: int, unit: str) -> list[str]:
    return [record["hook"] for record in cluster.hooks(number) if record["unit"] == unit]


def _starts(cluster: Driver) -> dict[str, int]:
    return {unit: e["service-starts"]["wazuh"] for unit, e in cluster.effects().items()}


def test_given_a_workload_container_when_it_is_killed_then_pebble_ready_alone_follows(
    whole: Driver,
) -> None:
    unit, before = _worker(whole), len(whole.hooks())
    others = {u: count for u, count in _starts(whole).items() if u != unit}

    whole.juju("kill", unit, "--container", APPLICATION)
    whole.wait(
        "pebble-ready", lambda: f"{APPLICATION}-pebble-ready" in _hooks_since(whole, before, unit)
    )
    whole.wait_active(3)

    hooks = set(_hooks_since(whole, before, unit))
    assert not hooks & {"start", "stop", "upgrade-charm", "install"}
    assert {u: count for u, count in _starts(whole).items() if u != unit} == others


def test_given_a_charm_container_when_it_is_killed_then_start_follows_and_wazuh_goes_on(
    whole: Driver,
) -> None:
    unit, before, starts = _worker(whole), len(whole.hooks()), _starts(whole)

    whole.juju("kill", unit, "--container", "charm")
    whole.wait(
        "pebble-ready", lambda: f"{APPLICATION}-pebble-ready" in _hooks_since(whole, before, unit)
    )

    assert "start" in _hooks_since(whole, before, unit)
    assert _starts(whole) == starts


def test_given_a_pod_when_it_is_deleted_then_another_of_its_name_takes_its_volume(
    whole: Driver,
) -> None:
    unit, before = _worker(whole), len(whole.hooks())
    address = whole.address(unit)
    whole.exec(unit, ["sh", "-c", "echo kept > /var/ossec/queue/mark; echo lost > /opt/mark"])

    whole.juju("kill", unit)
    whole.wait("another pod", lambda: whole.address(unit) not in {"", address})
    whole.wait_active(3)

    hooks = [h for h in _hooks_since(whole, before, unit) if "pebble" not in h]
    assert hooks[:4] == ["stop", "upgrade-charm", "config-changed", "start"]
    left = whole.exec(unit, ["sh", "-c", "cat /var/ossec/queue/mark /opt/mark"], check=False)
    assert left == "kept\n"


def test_given_a_unit_when_it_is_frozen_then_it_leaves_the_service_until_it_goes_on(
    whole: Driver,
) -> None:
    unit = _worker(whole)

    whole.juju("pause", unit)
    whole.wait("it left the Service", lambda: not whole.units()[unit]["ready"])
    whole.juju("resume", unit)

    whole.wait("it is back", lambda: whole.units()[unit]["ready"])


def test_given_a_daemon_when_it_is_killed_then_the_unit_becomes_whole_again(
    whole: Driver,
) -> None:
    unit, starts = _worker(whole), _starts(whole)
    ids = ["sh", "-c", "pgrep -f '[w]azuh-analysisd' | sort"]
    before = whole.exec(unit, ids)
    assert before

    whole.juju("kill", unit, "--daemon", "wazuh-analysisd")

    whole.wait("another analysisd", lambda: whole.exec(unit, ids) not in {"", before})
    assert _starts(whole) == starts


def test_given_a_server_when_it_is_killed_then_nothing_runs_and_it_can_be_deployed_anew(
    other: Driver,
) -> None:
    other.deploy(1)
    process = other.process()
    assert process is not None

    os.kill(process, signal.SIGKILL)
    other.wait("the model is gone", lambda: other.process() is None, 30)
    other.deploy(1)

    other.wait_active(1)
