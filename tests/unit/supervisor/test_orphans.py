"""A master that is gone while Juju's leader lives: noticed by a deadline, and not too early."""

from __future__ import annotations

from dataclasses import replace

import pytest
from supervisor.machine import (
    Answer,
    Desired,
    Keys,
    Memory,
    Seen,
    State,
    Term,
    begin,
    has_to_give,
    step,
)

from tests.unit.supervisor.virtual import REAL, Cluster, deployed


def _orphaned(cluster: Cluster) -> list[str]:
    return [n for n, u in cluster.units.items() if u.state and u.state.orphaned]


def test_given_a_master_that_dies_when_it_stays_away_then_the_others_report_it():
    cluster = deployed(3)
    cluster.kill("u0")

    took = cluster.until(120, lambda: _orphaned(cluster) == ["u1", "u2"])

    assert REAL.orphan <= took <= REAL.orphan + REAL.hearing + 1


def test_given_a_master_that_is_back_in_time_when_it_serves_then_nobody_reports_it():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.run(REAL.orphan - 5)
    assert _orphaned(cluster) == []

    cluster.restart("u0")
    cluster.run(2 * REAL.orphan)

    assert _orphaned(cluster) == []
    assert cluster.settled("u0")


def test_given_a_worker_that_is_cut_off_when_time_passes_then_it_reports_nobody():
    cluster = deployed(3)
    cluster.cut = {"u1"}

    cluster.run(3 * REAL.orphan)

    assert _orphaned(cluster) == []
    cluster.cut = set()
    cluster.run(1)
    assert _orphaned(cluster) == [], "the master is heard before it is taken to be gone"


def test_given_a_master_that_only_another_unit_hears_when_time_passes_then_it_is_no_orphan():
    cluster = deployed(3)
    reaches = cluster.reaches
    cluster.reaches = lambda a, b: {a, b} != {"u0", "u1"} and reaches(a, b)  # type: ignore[method-assign]
    cluster["u1"].points_to = "nobody"
    lost = {"u1"}
    connected = cluster._connected
    cluster._connected = lambda unit: False if unit.node in lost else connected(unit)  # type: ignore[method-assign]

    cluster.run(3 * REAL.orphan)
    assert _orphaned(cluster) == []

    cluster.kill("u2")
    cluster.until(120, lambda: _orphaned(cluster) == ["u1"])


def test_given_two_workers_that_hear_each_other_when_the_master_is_gone_then_neither_vouches():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.run(REAL.hearing + 1)

    assert not any(u.state and u.state.hears_master for u in cluster.units.values())


def test_given_a_master_whose_charm_never_hears_of_it_when_time_passes_then_it_is_an_orphan():
    cluster = deployed(3)
    cluster.publish(2, "u2", ["u0", "u1"])

    cluster.run(REAL.orphan - 5)
    assert _orphaned(cluster) == []

    cluster.until(20, lambda: "u1" in _orphaned(cluster))


def test_given_a_claim_under_way_when_it_takes_long_then_the_claimant_is_no_orphan():
    cluster = deployed(3)
    cluster.run(5, enrol_every=1)
    cluster.high += 500
    cluster.kill("u0")
    cluster.publish(2, "u1", ["u1", "u2"])

    cluster.run(3 * REAL.orphan)

    assert cluster.phases()["u1"] == "refused"
    assert _orphaned(cluster) == [], "it refuses for want of keys: a person has to decide"


def test_given_a_supervisor_that_restarts_when_the_master_is_silent_then_it_waits_anew():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.run(REAL.orphan - 5)
    cluster.restart("u1")

    cluster.run(20)

    assert _orphaned(cluster) == ["u2"]


def test_given_a_new_epoch_when_the_old_master_was_long_away_then_the_new_one_gets_its_time():
    cluster = deployed(3)
    cluster.kill("u0")
    cluster.until(120, lambda: _orphaned(cluster) == ["u1", "u2"])

    cluster.publish(2, "u1", ["u1", "u2"])
    cluster.run(1)

    assert _orphaned(cluster) == []


def test_given_a_master_that_is_being_removed_when_it_says_so_then_it_is_reported_at_once():
    cluster = deployed(3)
    cluster["u0"].leaving = True

    cluster.run(2)

    assert _orphaned(cluster) == ["u1", "u2"]
    assert cluster.settled("u0"), "it serves until another one claims"


@pytest.mark.parametrize(
    ("memory", "peers", "expected"),
    [
        (Memory(Term(3, "u0"), 3, Term(3, "u0")), 2, True),
        (Memory(Term(4, "u1"), 3, Term(3, "u0")), 2, True),
        (Memory(Term(4, "u1"), 3, Term(4, "u1")), 2, False),
        (Memory(Term(3, "u1"), 0, Term(3, "u1")), 2, False),
        (Memory(Term(3, "u0"), 3, Term(3, "u0")), 0, False),
        (Memory(), 2, False),
    ],
    ids=["master", "claimed", "taken over", "worker", "alone", "never served"],
)
def test_given_a_unit_that_ends_when_it_was_the_last_master_then_it_stays_to_give_its_keys(
    memory, peers, expected
):
    state = State("u0", 0.0, memory=memory, peers=peers)

    assert has_to_give(state) is expected


def test_given_a_master_that_has_ended_for_good_when_claimed_then_it_releases_at_once():
    memory = Memory(Term(1, "u0"), 1, Term(1, "u0"), "x", synchronised=True)
    claimant = Answer("u1", Term(2, "u1"), phase="claiming", keys=Keys(2, 2))
    seen = Seen(memory, keys=Keys(3, 3), peers=1, answers=(claimant,), leaving=True)
    order = Desired(1, "master", "u0", "u0")
    state = begin("u0", 0)
    for tick in range(4):
        heard = replace(claimant, heard=tick / 2)
        seen = replace(seen, answers=(heard,), memory=state.memory if tick else memory)
        state, _ = step(state, order, seen, tick / 2)

    assert state.released == 2
    assert has_to_give(state)


def test_given_a_worker_that_was_frozen_when_it_thaws_then_it_hears_before_it_reports():
    order = Desired(1, "worker", "u1", "u0")
    memory = Memory(Term(1, "u0"), serving=Term(1, "u0"), synchronised=True)
    master = Answer("u0", Term(1, "u0"), 1, Term(1, "u0"), "serving", heard=1.0)
    seen = Seen(memory, peers=1, kubernetes=True, answers=(master,))
    state, _ = step(begin("u1", 0), order, seen, 1)

    state, _ = step(state, order, seen, 300)

    assert not state.orphaned
