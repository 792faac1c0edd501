"""Units that freeze or are cut off, in the middle of every part of a move, and come back.

A planned move takes about thirty seconds on the virtual cluster: the fault begins at each of its
moments, lasts shorter and longer than the fence, and ends.
"""

from __future__ import annotations

import pytest

from tests.unit.supervisor.virtual import REAL, SYNCHRONISED_EVERY, Cluster, deployed

BEGINS = [0.5 * number for number in range(0, 60, 10)]
LASTS = (8.0, REAL.fence + 6, REAL.orphan + 30)
UNITS = ("u0", "u1", "u2")


def _move(node: str, begins: float, break_, mend, lasts: float) -> Cluster:
    """Move the role from u0 to u1 under enrolments, with one unit's fault on the way."""
    cluster = deployed(3)
    cluster.run(10, enrol_every=1)
    cluster.publish(2, "u1")
    cluster.run(begins, enrol_every=1)
    break_(cluster, node)
    cluster.run(lasts, enrol_every=1)
    mend(cluster, node)
    _settle(cluster)
    return cluster


def _settle(cluster: Cluster) -> None:
    cluster.until(300, lambda: cluster.settled("u1"), enrol_every=1)


def _whole(cluster: Cluster, node: str, lasts: float) -> None:
    """Nobody enrols beside another, no id is given twice, and no agent is lost.

    A new master that for so long reaches nobody who has the last keys goes on without; the unit
    that has them puts them back when it returns, which this cluster does not play.
    """
    assert cluster.overlaps == []
    assert cluster.twice == []
    lost = set(cluster.enrolled) - set(cluster["u1"].keys)
    unheard = node != "u2" and lasts >= REAL.takeover
    assert len(lost) <= (SYNCHRONISED_EVERY + 1 if unheard else 0)


@pytest.mark.parametrize("lasts", LASTS)
@pytest.mark.parametrize("node", UNITS)
def test_given_a_unit_cut_off_from_all_when_it_is_back_in_any_part_of_a_move_then_all_is_whole(
    node, lasts
):
    for begins in BEGINS:
        cluster = _move(node, begins, lambda c, n: c.cut.add(n), lambda c, n: c.cut.clear(), lasts)
        _whole(cluster, node, lasts)


@pytest.mark.parametrize("lasts", LASTS)
@pytest.mark.parametrize("node", UNITS)
def test_given_a_unit_cut_off_from_its_peers_alone_when_it_is_back_then_all_is_whole(node, lasts):
    for begins in BEGINS:
        _whole(
            _move(
                node,
                begins,
                lambda c, n: c.secluded.add(n),
                lambda c, n: c.secluded.clear(),
                lasts,
            ),
            node,
            lasts,
        )


@pytest.mark.parametrize("lasts", LASTS)
@pytest.mark.parametrize("node", UNITS)
def test_given_a_unit_cut_off_from_its_controller_when_it_is_back_then_all_is_whole(node, lasts):
    """Such a unit's charm says what it said before; its peers tell it the rest."""
    for begins in (0.0, 4.0):
        cluster = deployed(3)
        cluster.run(10, enrol_every=1)
        cluster.publish(2, "u1", [n for n in UNITS if n != node])
        cluster.run(begins + lasts, enrol_every=1)
        cluster.publish(2, "u1", [node])
        _settle(cluster)
        _whole(cluster, "u2", lasts)


@pytest.mark.parametrize("lasts", LASTS)
@pytest.mark.parametrize("node", UNITS)
def test_given_a_frozen_unit_when_it_thaws_in_any_part_of_a_move_then_no_id_is_given_twice(
    node, lasts
):
    """A thawed master acts at its first step; what it enrols before may be left out."""
    for begins in BEGINS:
        cluster = _move(
            node, begins, lambda c, n: c.frozen.add(n), lambda c, n: c.frozen.clear(), lasts
        )
        lost = set(cluster.enrolled) - set(cluster["u1"].keys)
        assert cluster.twice == []
        assert len(lost) <= (SYNCHRONISED_EVERY + 4 if node == "u0" else 0)


@pytest.mark.parametrize("node", UNITS)
def test_given_a_restart_in_any_part_of_a_move_when_it_is_back_then_all_is_whole(node):
    for begins in BEGINS:
        _whole(_move(node, begins, lambda c, n: c.restart(n), lambda c, n: None, 1.0), node, 1.0)


def test_given_a_hook_paused_past_its_lease_when_its_epoch_is_never_committed_then_nothing_moves():
    """Its supervisor was told nothing of it: an epoch is acted on in a later hook."""
    cluster = deployed(3)
    cluster.publish(2, "u1", ["u1", "u2"])
    cluster.until(90, lambda: cluster.masters() == ["u1"])
    cluster.publish(1, "u0", ["u0"])  # the old leader's charm repeats what it knows
    cluster.run(60, enrol_every=1)
    assert cluster.masters() == ["u1"]
    assert cluster.overlaps == []
