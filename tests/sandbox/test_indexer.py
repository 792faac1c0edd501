"""Alerts on their way to an indexer that comes, goes and comes back: stand-ins on both sides."""

import json
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from sandbox.driver import Driver
from sandbox.indexer_stand_in.neighbour import Indexer

ALERTS = "/var/ossec/logs/alerts/alerts.json"
TURNS, MANY, LAST = 3, 100, -1
BATCH = 50
"""Lines that Filebeat sends at once: the stand-in's, as the real one's."""


@pytest.fixture
def indexer(whole: Driver) -> Iterator[Indexer]:
    made = Indexer(whole)
    yield made
    made.forget()


def alert(driver: Driver, unit: str, *numbers: int) -> None:
    """Write alerts as analysisd does."""
    lines = "".join(json.dumps({"unit": unit, "n": number}) + "\n" for number in numbers)
    script = f"umask 027; cat >> {ALERTS}; chgrp wazuh {ALERTS}"
    driver.exec(unit, ["sh", "-c", script], container="wazuh-server", text=lines)


def services(driver: Driver, unit: str) -> dict[str, str]:
    output = driver.exec(unit, ["/charm/bin/pebble", "services"], container="wazuh-server")
    rows = [line.split() for line in output.splitlines()[1:]]
    return {row[0]: f"{row[1]} {row[2]}" for row in rows}


def daemon(driver: Driver, unit: str, name: str) -> str:
    # With its time: in another container it may have the same number.
    script = f"stat -c '%n %Y' /var/ossec/var/run/{name}-*.pid"
    return driver.exec(unit, ["sh", "-c", script], container="wazuh-server").strip()


def test_given_an_indexer_when_it_goes_and_comes_back_then_each_alert_is_there_once(
    whole: Driver, indexer: Indexer
) -> None:
    units = sorted(whole.units())
    before = {unit: daemon(whole, unit, "wazuh-remoted") for unit in units}
    indexer.come()
    indexer.relate()
    whole.wait(
        "each unit's connector has sent its state",
        lambda: len({one["host"] for one in indexer.held("wazuh-states")}) == len(units),
        120,
    )
    whole.wait(
        "the status says what the indexer has to be told",
        lambda: "override_main_response_version" in str(whole.status()),
        120,
    )
    indexer.fit()

    def sent() -> Counter[tuple[str, int]]:
        found = indexer.held("wazuh-alerts")
        return Counter((one["unit"], one["n"]) for one in found if "n" in one)

    # Cut off while it takes them: what was under way may come twice, and nothing else.
    for turn in range(TURNS):
        for unit in units:
            alert(whole, unit, *range(turn * MANY, (turn + 1) * MANY))
        last = (units[-1], turn * MANY)
        whole.wait("the last unit has begun", lambda one=last: one in sent(), 60, every=0.05)
        indexer.go()
        indexer.come()
    expected = Counter((unit, number) for unit in units for number in range(TURNS * MANY))

    whole.wait("all alerts are indexed", lambda: set(sent()) == set(expected), 120)
    twice = sent() - expected
    assert sum(twice.values()) <= TURNS * len(units) * BATCH
    sys.stdout.write(
        f"{len(expected)} alerts, the indexer gone {TURNS} times while it took them: 0 lost, "
        f"{sum(twice.values())} twice (Juju emulated, Wazuh, Filebeat, OpenSearch stand-ins)\n"
    )

    indexer.go()
    for unit in units:
        alert(whole, unit, LAST)
    whole.wait(
        "the status says since when it is away",
        lambda: "the indexer takes none since" in str(whole.status()),
        120,
    )
    assert whole.wait_active(3) >= 0
    whole.juju("kill", units[-1])
    whole.wait("its pod is made anew", lambda: _is_new(whole, units[-1], before), 120)
    indexer.come()

    expected += twice + Counter((unit, LAST) for unit in units)
    whole.wait("what waited is indexed", lambda: sent() == expected, 120)
    assert {unit: daemon(whole, unit, "wazuh-remoted") for unit in units[:-1]} == {
        unit: before[unit] for unit in units[:-1]
    }
    indexer.part()
    whole.wait(
        "nobody sends any more",
        lambda: {services(whole, unit)["filebeat"] for unit in units} == {"disabled inactive"},
        120,
    )
    for unit in units[:-1]:
        assert daemon(whole, unit, "wazuh-remoted") == before[unit]
    assert sent() == expected
    assert indexer.password not in whole.log()


def _is_new(driver: Driver, unit: str, before: dict[str, str]) -> bool:
    try:
        return daemon(driver, unit, "wazuh-remoted") not in ("", before[unit])
    except AssertionError:
        return False
