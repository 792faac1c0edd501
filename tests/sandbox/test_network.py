"""The network: the Service, names, addresses of clients, partitions."""

import json
import sys

from sandbox.driver import APPLICATION, Driver

_TRY = """
import json, socket, sys
answers = {}
for name in sys.argv[1:]:
    host, port = name.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 3) as connection:
            answers[name] = connection.getpeername()[0]
    except OSError as error:
        answers[name] = type(error).__name__
print(json.dumps(answers))
"""


def _from_client(cluster: Driver, *targets: str) -> dict[str, str]:
    process = cluster.start_client([sys.executable, "-c", _TRY, *targets])
    output, _ = process.communicate(timeout=60)
    return json.loads(output)


def _from_unit(cluster: Driver, unit: str, *targets: str) -> dict[str, str]:
    python = "/var/ossec/framework/python/bin/python3"
    return json.loads(cluster.exec(unit, [python, "-c", _TRY, *targets]))


def _host(unit: str) -> str:
    return f"{unit.replace('/', '-')}.{APPLICATION}-endpoints.tests.svc.cluster.local"


def test_given_the_service_when_clients_connect_then_its_ports_are_open_and_no_others(
    cluster: Driver,
) -> None:
    answers = _from_client(cluster, *(f"{APPLICATION}:{port}" for port in (1514, 1515, 55000)))
    closed = _from_client(cluster, f"{APPLICATION}:1516")

    assert len(set(answers.values())) == 1
    assert next(iter(answers.values())).startswith("10.152.183.")
    assert closed == {f"{APPLICATION}:1516": "ConnectionRefusedError"}


def test_given_a_unit_when_it_connects_to_the_service_then_it_may_reach_itself(
    cluster: Driver,
) -> None:
    unit = next(iter(cluster.units()))

    # The Service takes units in turn: three connections meet all of three units.
    for _ in range(3):
        (answer,) = _from_unit(cluster, unit, f"{APPLICATION}:1515").values()
        assert answer.startswith("10.152.183.")


def test_given_pods_when_names_are_looked_up_then_present_ones_resolve_and_absent_ones_do_not(
    cluster: Driver,
) -> None:
    present = {unit: f"{_host(unit)}:1515" for unit in cluster.units()}
    absent = f"{_host(f'{APPLICATION}/9')}:1515"

    answers = _from_unit(cluster, f"{APPLICATION}/0", *present.values(), absent)

    assert {u: answers[name] for u, name in present.items()} == {
        unit: cluster.address(unit) for unit in present
    }
    assert answers[absent] == "gaierror"


def test_given_a_unit_cut_off_from_its_peers_when_it_is_healed_then_they_meet_again(
    whole: Driver,
) -> None:
    unit, peer = list(whole.units())[:2]
    target = f"{_host(peer)}:8514"
    assert _from_unit(whole, unit, target)[target] == whole.address(peer)

    whole.juju("partition", unit, "--from", "peers")
    whole.wait(
        "packets are dropped", lambda: _from_unit(whole, unit, target)[target] == "TimeoutError"
    )
    whole.juju("heal", unit)

    whole.wait(
        "they meet again", lambda: _from_unit(whole, unit, target)[target] == whole.address(peer)
    )


def test_given_kubernetes_when_a_pod_asks_whether_it_is_there_then_it_is(cluster: Driver) -> None:
    answers = _from_unit(cluster, f"{APPLICATION}/0", "kubernetes.default.svc:443")

    assert answers == {"kubernetes.default.svc:443": "10.152.183.1"}
