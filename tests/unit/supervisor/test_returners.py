"""Agents that only a returning unit knows: put back, left alone, or reported."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import keys, machine, returners, users
from supervisor.places import Places

_KEY = "ab" * 32


def _line(number: int, name: str, key: str = _KEY) -> str:
    return f"{number:03d} {name} any {key}\n"


class Master:
    """A master's client.keys as this unit has it, and its API."""

    def __init__(self, places: Places, text: str) -> None:
        self.places = places
        self.refuses: set[int] = set()
        self.calls = 0
        places.client_keys.write_text(text)

    @property
    def text(self) -> str:
        return self.places.client_keys.read_text()

    def insert(self, line: keys.Line) -> None:
        self.calls += 1
        if line.id in self.refuses:
            raise users.RefusedError("the API answered 400 to POST /agents/insert")
        self.places.client_keys.write_text(f"{self.text}{line.text}\n")

    def remove(self, line: keys.Line) -> None:
        self.calls += 1
        if line.id in self.refuses:
            raise users.RefusedError(f"the API did not remove agent {line.id:03d}")
        marked = line.text.replace(" ", " !", 1)
        self.places.client_keys.write_text(self.text.replace(line.text, marked))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Give a unit's places, with a volume."""
    made = Places(home=tmp_path / "ossec")
    for folder in (made.own, made.home / "etc"):
        folder.mkdir(parents=True)
    return made


def _keep(places: Places, epoch: int, text: str) -> None:
    (places.own / f"client.keys.{epoch}").write_text(text)


def _settle(found: returners.Returners, master: Master) -> None:
    for step in range(20):
        try:
            found.look(master, 100.0 * step, sure=True)
        except users.UsersError:
            continue


def test_given_agents_only_this_unit_knows_when_back_then_they_are_put_back_as_they_were(
    places: Places,
):
    _keep(places, 1, _line(1, "web") + _line(2, "late") + _line(3, "later"))
    master = Master(places, _line(1, "web") + f"1002 !reserved any {'0' * 64}\n")
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert _line(2, "late") in master.text
    assert _line(3, "later") in master.text
    assert master.calls == 2
    assert found.conflicts() == []
    again = returners.Returners(returners.Volume(places))
    _settle(again, master)
    assert master.calls == 2, "settled for good, in another process too"


def test_given_a_master_that_takes_agents_all_the_time_when_back_then_nobody_waits_for_its_rest(
    places: Places,
):
    # What is here is some seconds older than what the master has, for as long as they come.
    _keep(places, 1, _line(1, "web") + _line(2, "late"))
    master = Master(places, _line(1, "web") + _line(2, "late"))
    found = returners.Returners(returners.Volume(places))
    found.look(master, 0.0, sure=False)
    assert found.due(), "the master's first copy may not have come yet"
    places.client_keys.write_text(_line(1, "web") + _line(7, "new"))
    found.look(master, 100.0, sure=False)
    assert _line(2, "late") in master.text
    found.look(master, 200.0, sure=False)
    assert (master.calls, found.due()) == (1, ["client.keys.1"])
    found.look(master, 300.0, sure=True)
    assert not found.due()


def test_given_an_agent_removed_meanwhile_when_back_then_it_is_not_revived(places: Places):
    _keep(places, 1, _line(1, "web") + _line(2, "old"))
    master = Master(places, _line(1, "!web") + _line(2, "!old"))
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert master.calls == 0
    assert found.conflicts() == []


def test_given_an_id_and_a_name_given_again_when_back_then_both_are_reported(
    places: Places, caplog: pytest.LogCaptureFixture
):
    _keep(places, 1, _line(2, "late") + _line(3, "twin", "cd" * 32))
    master = Master(places, _line(2, "other") + _line(9, "twin"))
    before = master.text
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert master.text == before, "nobody's agents are overwritten"
    assert found.conflicts() == [
        "id 002 of late now belongs to other",
        "the name of 003 twin now has id 009",
    ]
    assert returners.Returners(returners.Volume(places)).conflicts() == found.conflicts()
    assert "cd" * 32 not in caplog.text


def test_given_an_agent_that_the_api_refuses_when_tried_often_then_it_is_reported(
    places: Places,
):
    _keep(places, 1, _line(2, "late") + _line(3, "odd"))
    master = Master(places, "")
    master.refuses = {3}
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert master.text == _line(2, "late")
    assert found.conflicts() == ["003 odd could not be put back: the API refuses"]
    assert master.calls <= 7


def test_given_the_look_comes_again_soon_when_keys_have_not_arrived_then_nothing_is_asked_twice(
    places: Places,
):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, "")
    found = returners.Returners(returners.Volume(places))
    for now in (100.0, 101.0, 110.0):
        found.look(master, now, sure=True)
        places.client_keys.write_text("")
    assert master.calls == 1


def test_given_a_removal_only_this_unit_knows_when_back_then_the_agent_is_removed(places: Places):
    _keep(places, 1, _line(1, "web") + _line(2, "!old") + _line(3, "!odd"))
    master = Master(places, _line(1, "web") + _line(2, "old") + _line(3, "odd"))
    master.refuses = {3}
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert master.text == _line(1, "web") + _line(2, "!old") + _line(3, "odd")
    assert found.conflicts() == ["003 odd could not be removed: the API refuses"]
    assert not found.due()


def test_given_a_removed_agent_that_enrolled_anew_when_back_then_it_stays(places: Places):
    _keep(places, 1, _line(2, "!old") + f"1002 !reserved any {'0' * 64}\n")
    master = Master(places, _line(2, "old", "cd" * 32) + f"1002 reserved any {'0' * 64}\n")
    before = master.text
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert (master.calls, master.text) == (0, before)


@pytest.mark.parametrize("epochs", [(1, 2), (2, 1)])
def test_given_an_agent_that_one_master_had_and_the_next_removed_when_back_then_it_is_not_revived(
    places: Places, epochs: tuple[int, int]
):
    earlier, later = epochs
    _keep(places, earlier, _line(2, "old"))
    _keep(places, later, _line(2, "!old"))
    master = Master(places, _line(1, "web"))
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert (master.calls, master.text) == (0, _line(1, "web"))


_NAMES = st.sampled_from(["a", "b", "!a", "!b", "c"])
_FILE = st.dictionaries(st.integers(1, 6), _NAMES, max_size=6).map(
    lambda content: "".join(_line(number, name) for number, name in content.items())
)


@given(_FILE, _FILE)
def test_given_any_two_files_when_compared_then_each_agent_is_there_put_back_or_told(
    kept: str, current: str
):
    found = returners.plan(kept, current)
    there = {line.id: line for line in keys.parse(current)}
    active = {line.name for line in there.values() if not line.removed}
    left = returners.gone(kept)
    assert {line.agent for line in found.removed} == left & {
        line.agent for line in there.values() if not line.removed
    }
    for line in found.missing:
        assert line.id not in there
        assert line.name not in active
    agents = [line for line in keys.parse(kept) if not line.removed]
    settled = [line for line in agents if line.id in there and there[line.id].name == line.name]
    assert len(found.missing) + len(found.conflicts) + len(settled) == len(agents)


def test_given_an_agent_put_back_on_purpose_when_a_unit_returns_then_it_is_not_removed(
    places: Places,
):
    _keep(places, 1, _line(2, "old") + _line(2, "!old"))
    master = Master(places, _line(2, "old") + _line(2, "!old"))
    before = master.text
    found = returners.Returners(returners.Volume(places))
    _settle(found, master)
    assert (master.calls, master.text, found.conflicts()) == (0, before, [])


def test_given_an_api_that_is_away_for_long_when_back_then_nobody_was_given_up(places: Places):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, "")
    found = returners.Returners(returners.Volume(places))
    for step in range(20):
        with pytest.raises(users.UsersError):
            found.look(Away(), 100.0 * step, sure=True)
    found.look(master, 5000.0, sure=True)
    assert master.text == _line(2, "late")


def test_given_one_that_is_refused_when_others_are_due_then_they_do_not_wait_for_it(
    places: Places,
):
    _keep(places, 1, _line(2, "!odd") + _line(3, "late") + _line(4, "later"))
    master = Master(places, _line(2, "odd"))
    master.refuses = {2}
    found = returners.Returners(returners.Volume(places))
    found.look(master, 0.0, sure=True)
    assert master.text == _line(2, "odd") + _line(3, "late") + _line(4, "later")


@pytest.mark.parametrize("fault", [ValueError, http.client.IncompleteRead, ConnectionResetError])
def test_given_an_api_that_breaks_off_when_asked_then_the_keeper_goes_on(
    places: Places, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
):
    monkeypatch.setattr(returners, "LOOK", 0.0)
    monkeypatch.setattr(returners, "is_open", lambda _: True)
    monkeypatch.setattr(returners, "has_masters_keys", lambda *_: True)
    stop, calls = threading.Event(), []

    def master() -> Master:
        calls.append(1)
        if len(calls) == 3:
            stop.set()
        raise fault(b"")

    found = returners.Returners(returners.Volume(places))
    found.keep(master, lambda: machine.begin("a", 0.0), list, stop)
    assert len(calls) == 3


class Away:
    """An API that does not answer."""

    def insert(self, line: keys.Line) -> None:
        raise users.UsersError("the API answered 500 to POST /agents/insert")

    def remove(self, line: keys.Line) -> None:
        raise users.UsersError("the API answered 500 to DELETE /agents")
