"""Who takes up a new secret when: turns among the units, and how long each is waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import desired, parts, tree
from supervisor.machine import (
    API,
    CLUSTER,
    Answer,
    Desired,
    Keys,
    Memory,
    Run,
    Seen,
    Term,
    begin,
    step,
)
from supervisor.parts import Parts, Scene, Unit
from supervisor.times import REAL

from tests.unit.supervisor.fake_wazuh import Fake

OLD, NEW = Parts("1", "1", "1", "1"), Parts("2", "2", "2", "2")
DUE, DONE, LATE = ("due", OLD, NEW), ("done", NEW, NEW), ("late", OLD, OLD)


def _unit(node, situation):
    _, have, wanted = situation
    return Unit(node, wanted, have)


def _scene(own, others, *, master="u0", waited=5.0, peers=None):
    units = [_unit(node, situation) for node, situation in others.items()]
    count = len(units) if peers is None else peers
    return Scene(own, master, units, count, waited, REAL)


@pytest.mark.parametrize(
    ("others", "waits"),
    [
        ({"u1": DUE, "u2": DUE}, False),
        ({"u1": DUE, "u2": LATE}, True),
        ({"u1": LATE, "u2": LATE}, True),
        ({"u1": DUE, "u2": DONE}, False),
    ],
)
def test_given_a_master_when_the_key_changes_then_it_waits_until_all_hold_it(others, waits):
    own = _unit("u0", DUE)
    assert parts.cluster_waits(_scene(own, others)) == waits
    assert not parts.cluster_waits(_scene(own, others, waited=REAL.patience))


def test_given_a_peer_that_does_not_answer_when_the_key_changes_then_the_master_is_patient_only():
    own = _unit("u0", DUE)
    assert parts.cluster_waits(_scene(own, {"u1": DUE}, peers=2))
    assert not parts.cluster_waits(_scene(own, {"u1": DUE}, peers=2, waited=REAL.patience))


def test_given_a_worker_when_the_key_changes_then_it_follows_the_masters_new_daemon():
    own = _unit("u1", DUE)
    long = 10 * REAL.patience
    for waited in (0.0, 5.0, long):
        assert parts.cluster_waits(_scene(own, {"u0": DUE}, waited=waited))
        assert not parts.cluster_waits(_scene(own, {"u0": DONE}, waited=waited))
    starting = ("starting", replace(NEW, cluster=""), NEW)
    assert parts.cluster_waits(_scene(own, {"u0": starting}))
    assert parts.cluster_stops(_scene(own, {"u0": starting})), "nobody to talk to any more"
    assert not parts.cluster_stops(_scene(own, {"u0": DUE}))
    assert not parts.cluster_stops(_scene(own, {"u0": ("down", Parts(), OLD)}))
    assert parts.cluster_waits(_scene(own, {}, peers=1))
    assert not parts.cluster_waits(_scene(own, {}, peers=1, waited=REAL.patience))


def test_given_a_sole_unit_when_anything_changes_then_it_waits_for_nobody():
    own = _unit("u0", DUE)
    assert not parts.cluster_waits(_scene(own, {}, waited=0))
    assert not parts.api_waits(_scene(own, {}, waited=0))


def test_given_all_are_due_when_the_api_changes_then_workers_go_by_name_and_the_master_last():
    units = {"u0": DUE, "u1": DUE, "u2": DUE}
    order = []
    while any(situation is DUE for situation in units.values()):
        turns = [
            node
            for node in units
            if units[node] is DUE
            and not parts.api_waits(
                _scene(_unit(node, DUE), {n: s for n, s in units.items() if n != node})
            )
        ]
        assert len(turns) == 1
        units[turns[0]] = DONE
        order += turns
    assert order == ["u1", "u2", "u0"]


def test_given_an_api_that_is_away_when_it_is_another_units_turn_then_that_one_waits():
    starting = ("starting", replace(NEW, api=""), NEW)
    own = _unit("u1", DUE)
    assert parts.api_waits(_scene(own, {"u0": DUE, "u2": starting}))
    assert not parts.api_waits(
        _scene(own, {"u0": DUE, "u2": starting}, waited=3 * REAL.patience)
    ), "one whose API never comes back holds nobody up for ever"


def test_given_units_of_an_older_image_when_the_api_changes_then_they_hold_nobody_up():
    older = ("older", Parts(), Parts())
    assert not parts.api_waits(_scene(_unit("u1", DUE), {"u0": older, "u2": older}))


def test_given_an_order_that_just_came_when_the_api_changes_then_the_others_are_heard_first():
    own = _unit("u1", DUE)
    assert parts.api_waits(_scene(own, {"u0": LATE}, waited=REAL.settle / 2))


SITUATIONS = st.sampled_from(
    [
        DUE,
        DONE,
        LATE,
        ("starting", replace(NEW, api="", cluster=""), NEW),
        ("old", Parts(), Parts()),
    ]
)


@given(st.lists(SITUATIONS, max_size=6), st.integers(0, 8), st.booleans())
def test_given_any_situation_when_enough_time_is_over_then_only_a_known_old_master_is_waited_for(
    situations, peers, is_master
):
    others = {f"u{n + 1}": situation for n, situation in enumerate(situations)}
    master = "own" if is_master else "u1"
    scene = _scene(_unit("own", DUE), others, master=master, waited=1e6, peers=peers)
    assert not parts.api_waits(scene)
    old = bool(situations) and situations[0] in (DUE, LATE)
    assert parts.cluster_waits(scene) == (old and not is_master and peers > 0)


def test_given_a_daemon_that_starts_again_when_heard_then_what_was_known_stays():
    assert parts.known(OLD, Parts(users="2")) == replace(OLD, users="2")


@pytest.mark.parametrize("value", ["a b", "\n", "x" * 101, "ä"])
def test_given_what_is_no_digest_when_read_then_peers_are_not_sent_it(value):
    assert parts.of({"users": value, "wazuh-apid": "ab"}) == Parts(api="ab")


def _serving(node, state=None, **changes):
    """Step a master of two units once; gives state and the order to the processes."""
    order = Desired(1, "master", node, node, parts=NEW)
    memory = Memory(Term(1, node), 1, Term(1, node), "1-x-1", synchronised=True)
    seen = Seen(
        memory,
        Keys(1, 1),
        running=frozenset({API, CLUSTER}),
        role="master",
        complete=True,
        peers=1,
        kubernetes=True,
        api=True,
        parts=OLD,
    )
    state = state or begin(node, 0)
    peer = Answer("u1", Term(1, node), wanted=changes.pop("wanted", NEW), heard=50)
    state, actions = step(state, order, replace(seen, answers=(peer,), **changes), 50)
    return state, next(action for action in actions if isinstance(action, Run))


def test_given_a_master_that_serves_when_its_peer_lags_then_the_machine_holds_both():
    state, run = _serving("u0")
    state, run = _serving("u0", state, wanted=OLD)
    assert run.hold == {API, CLUSTER}
    assert state.parts == OLD


def test_given_a_tree_that_is_not_started_yet_when_ordered_then_nothing_is_held():
    state, _ = _serving("u0", role=None)
    _, run = _serving("u0", state, role=None, wanted=OLD)
    assert run.hold == frozenset()


def test_given_a_held_key_when_installed_then_the_key_in_force_stays(fake: Fake):
    fake.order("worker", epoch=2)
    order = desired.read(fake.places.orders)
    rendered = order.files["etc/ossec.conf"].content
    old = b"<key>\\g<0>old</key>"
    kept = tree.contents(Run("worker", "u1"), order, old)["etc/ossec.conf"]
    assert tree._KEY.search(rendered) is None or old in kept
    assert tree._NODE.findall(kept) == tree._NODE.findall(rendered)


def test_given_a_held_daemon_when_its_master_moves_then_it_is_restarted_with_the_old_part(
    fake: Fake,
):
    assert tree._held("digest u0", "newer u1") == "digest u1"
    assert tree._held("digest", "newer") == "digest"
