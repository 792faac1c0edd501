"""Killed at every step: CI's share; `python -m sandbox.inprocess.kills` kills at all points."""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

from sandbox.inprocess import kills
from sandbox.inprocess.forks import Forks
from sandbox.inprocess.invariants import BrokenError
from sandbox.inprocess.scenarios import SCENARIOS

SHARE = 401
"""Of every so many points one is a kill here, in each scenario another one."""
HOOK = "wazuh-server/2 wazuh-peers-relation-changed: "
PROMOTE = next(one for one in SCENARIOS if one.name == "promote")


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=lambda one: SCENARIOS[one].name)
def test_given_a_scenario_when_killed_at_some_of_its_steps_then_every_invariant_holds(
    charm, number
):
    mode = kills.MODES[number % 2]

    result = kills.run(charm, SCENARIOS[number], mode, wanted=kills.every(SHARE, 37 * number))

    assert result.points
    assert [str(one) for one in result.broken()] == []
    assert result.passed == len(result.points)


@pytest.fixture(scope="module")
def whole(charm):
    """Kill at each step of the new master's first hook, and play all of these to their end."""
    taken = []

    def wanted(point):
        here = point.kind == "process" and point.where.startswith(HOOK)
        if here and f"{HOOK}exit" not in taken:
            taken.append(point.where)
            return True
        return False

    return kills.run(charm, PROMOTE, "4", wanted=wanted, forks=Forks(share=False))


def test_given_kills_that_leave_the_same_when_played_then_they_end_the_same(whole):
    courses = defaultdict(set)
    for mark, end in zip(whole.marks, whole.ends, strict=True):
        courses[mark].add(end.course)

    assert whole.played == len(whole.points) > whole.distinct, "some leave the same"
    assert {len(found) for found in courses.values()} == {1}


def test_given_an_effect_that_survives_when_killed_before_and_after_it_then_they_differ(whole):
    before_and_after = [
        (whole.marks[number], whole.marks[number + 1])
        for number, point in enumerate(whole.points[:-1])
        if point.where.endswith("pebble push")
    ]

    assert before_and_after
    assert all(before != after for before, after in before_and_after)


def test_given_a_point_when_played_again_alone_then_it_goes_as_it_did_in_its_fork(charm, whole):
    points, end = kills.replay(charm, PROMOTE, "4", whole.points[-1])

    assert points.died is not None
    assert points.died.where == whole.points[-1].where
    assert end == whole.ends[-1]


def test_given_kills_that_lose_what_was_promised_when_played_then_each_is_named(
    charm, monkeypatch
):
    monkeypatch.setattr(kills.Run, "_may_lose", lambda _: False)
    monkeypatch.setattr(kills.Watch, "end", lambda watch: watch.losses.update(["not copied yet"]))

    with pytest.raises(BrokenError, match="I1 broken: 1 not copied yet"):
        kills.run(charm, PROMOTE, "4", wanted=lambda point: point == kills.Point("process", 3))


def _fork_all(forks, courses):
    """Have a fork for each course: marks, then what came of it (None: it dies)."""
    for *marks, end in courses:
        child = forks.fork()
        if child is not None:
            for mark in marks:
                child.goes_on(mark)
            if end is not None:
                child.ends(end)
            os._exit(1)
    forks.finish()


def test_given_forks_when_they_become_equal_then_one_goes_on_for_all_of_them():
    forks = Forks(places=1)

    _fork_all(forks, [("a", "b", "first"), ("c", "b", "never"), ("c", "never"), ("d", "last")])

    assert [forks.end_of(number) for number in range(4)] == ["first", "first", "first", "last"]
    assert forks.marks == ["a", "c", "c", "d"]
    assert len(forks.ends) == 2


def test_given_a_fork_that_dies_when_asked_for_then_there_is_no_end_of_it():
    forks = Forks()

    _fork_all(forks, [("a", None), ("b", "fine")])

    assert [forks.end_of(number) for number in range(2)] == [None, "fine"]


def test_given_a_fork_that_ends_its_parents_folder_when_it_has_ended_then_that_is_still_there(
    tmp_path, monkeypatch
):
    # As ops does with a secret's content while the parent's `secret-add` has yet to read it.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    forks, folder = Forks(), tempfile.TemporaryDirectory()
    child = forks.fork()
    if child is not None:
        tempfile.mkdtemp()
        folder.cleanup()
        child.ends("ended")
    forks.finish()

    assert forks.end_of(0) == "ended"
    assert list(tmp_path.iterdir()) == [Path(folder.name)]
    folder.cleanup()
    assert list(tmp_path.iterdir()) == []
