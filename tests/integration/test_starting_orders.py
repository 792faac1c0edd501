"""Any order of starting ends with one master and two workers (all six in tests/unit/inprocess)."""

import pytest

from sandbox.demo.cluster import Cluster
from sandbox.driver import Driver


@pytest.mark.parametrize("order", ["2,0,1", "1,2,0"])
def test_given_three_units_when_they_start_in_an_order_then_the_first_is_master(
    fresh: Driver, order: str
) -> None:
    fresh.deploy(3, "--start-order", order)
    cluster = Cluster(fresh)

    cluster.wait("three units active", lambda: cluster.is_whole(3), 240)

    assert cluster.master() == f"wazuh-server/{order[0]}"
    assert [hook for hook in fresh.hooks() if hook["code"]] == []


def test_given_three_units_at_once_when_a_worker_is_there_before_the_key_then_it_waits(
    fresh: Driver,
) -> None:
    fresh.deploy(3)
    cluster = Cluster(fresh)

    cluster.wait("three units active", lambda: cluster.is_whole(3), 240)

    hooks, leader = fresh.hooks(), cluster.master()
    key = next(n for n, hook in enumerate(hooks) if hook["tools"].get("secret-add"))
    assert hooks[key]["unit"] == leader
    assert {hook["unit"] for hook in hooks[:key]} - {leader}
    assert [hook for hook in hooks if hook["code"]] == []
