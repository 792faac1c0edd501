"""Agents that only a returning unit knows: put back, left alone, or reported."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import deletions, keys, machine, returners, users
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


def _returners(places: Places, clock: list[float] | None = None) -> returners.Returners:
    deleted = deletions.Keeper(places.own / "deleted.json")
    shelf = returners.Volume(places)
    return returners.Returners(shelf, deleted, lambda: clock[0] if clock else 1000.0)


def _deleted(places: Places) -> deletions.Keeper:
    return deletions.Keeper(places.own / "deleted.json")


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
    found = _returners(places)
    _settle(found, master)
    assert _line(2, "late") in master.text
    assert _line(3, "later") in master.text
    assert master.calls == 2
    assert found.conflicts() == []
    again = _returners(places)
    _settle(again, master)
    assert master.calls == 2, "settled for good, in another process too"


def test_given_a_master_that_takes_agents_all_the_time_when_back_then_nobody_waits_for_its_rest(
    places: Places,
):
    # What is here is some seconds older than what the master has, for as long as they come.
    _keep(places, 1, _line(1, "web") + _line(2, "late"))
    master = Master(places, _line(1, "web") + _line(2, "late"))
    found = _returners(places)
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
    found = _returners(places)
    _settle(found, master)
    assert master.calls == 0
    assert found.conflicts() == []


def test_given_an_id_and_a_name_given_again_when_back_then_both_are_reported(
    places: Places, caplog: pytest.LogCaptureFixture
):
    _keep(places, 1, _line(2, "late") + _line(3, "twin", "cd" * 32))
    master = Master(places, _line(2, "other") + _line(9, "twin"))
    before = master.text
    found = _returners(places)
    _settle(found, master)
    assert master.text == before, "nobody's agents are overwritten"
    late, twin = found.conflicts()
    assert late == "002 late: its id belongs to other now: enrol it anew"
    assert twin.startswith("003 twin: its name belongs to 009 twin now: unless both are one agent")
    assert _returners(places).conflicts() == found.conflicts()
    assert "cd" * 32 not in caplog.text


def test_given_an_agent_that_the_api_refuses_when_tried_often_then_it_is_reported(
    places: Places,
):
    _keep(places, 1, _line(2, "late") + _line(3, "odd"))
    master = Master(places, "")
    master.refuses = {3}
    found = _returners(places)
    _settle(found, master)
    assert master.text == _line(2, "late")
    assert found.conflicts() == ["003 odd: the API refuses to put it back: enrol it anew"]
    assert master.calls <= 7


def test_given_the_look_comes_again_soon_when_keys_have_not_arrived_then_nothing_is_asked_twice(
    places: Places,
):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, "")
    found = _returners(places)
    for now in (100.0, 101.0, 110.0):
        found.look(master, now, sure=True)
        places.client_keys.write_text("")
    assert master.calls == 1


def test_given_a_removal_only_this_unit_knows_when_back_then_the_agent_is_removed(places: Places):
    _keep(places, 1, _line(1, "web") + _line(2, "!old") + _line(3, "!odd"))
    master = Master(places, _line(1, "web") + _line(2, "old") + _line(3, "odd"))
    master.refuses = {3}
    found = _returners(places)
    _settle(found, master)
    assert master.text == _line(1, "web") + _line(2, "!old") + _line(3, "odd")
    assert found.conflicts() == [
        "003 odd: it was removed on a lost master, and the API refuses to: remove it"
    ]
    assert not found.due()


def test_given_a_removed_agent_that_enrolled_anew_when_back_then_it_stays(places: Places):
    _keep(places, 1, _line(2, "!old") + f"1002 !reserved any {'0' * 64}\n")
    master = Master(places, _line(2, "old", "cd" * 32) + f"1002 reserved any {'0' * 64}\n")
    before = master.text
    found = _returners(places)
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
    found = _returners(places)
    _settle(found, master)
    assert (master.calls, master.text) == (0, _line(1, "web"))
    assert _deleted(places).record().gone(keys.parse(_line(2, "old"))[0])
    assert not found.due()


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
    found = _returners(places)
    _settle(found, master)
    assert (master.calls, master.text, found.conflicts()) == (0, before, [])


def test_given_an_api_that_is_away_for_long_when_back_then_nobody_was_given_up(places: Places):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, "")
    found = _returners(places)
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
    found = _returners(places)
    found.look(master, 0.0, sure=True)
    assert master.text == _line(2, "odd") + _line(3, "late") + _line(4, "later")


@pytest.mark.parametrize("fault", [ValueError, http.client.IncompleteRead, ConnectionResetError])
def test_given_an_api_that_breaks_off_when_asked_then_the_keeper_goes_on(
    places: Places, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
):
    monkeypatch.setattr(returners, "LOOK", 0.0)
    monkeypatch.setattr(returners, "is_open", lambda _: True)
    monkeypatch.setattr(returners, "has_masters_keys", lambda *_: True)
    monkeypatch.setattr(returners, "has_masters_deletions", lambda *_: True)
    stop, calls = threading.Event(), []

    def master() -> Master:
        calls.append(1)
        if len(calls) == 3:
            stop.set()
        raise fault(b"")

    found = _returners(places)
    found.keep(master, lambda: machine.begin("a", 0.0), list, stop)
    assert len(calls) == 3


class Away:
    """An API that does not answer."""

    def insert(self, line: keys.Line) -> None:
        raise users.UsersError("the API answered 500 to POST /agents/insert")

    def remove(self, line: keys.Line) -> None:
        raise users.UsersError("the API answered 500 to DELETE /agents")


def _purge(places: Places, *lines: str) -> None:
    _deleted(places).delete(keys.parse("".join(lines)))


def test_given_an_agent_deleted_for_good_meanwhile_when_back_then_it_is_not_revived(
    places: Places,
):
    _keep(places, 2, _line(1, "web") + _line(2, "old") + _line(3, "late"))
    _purge(places, _line(2, "old"))
    master = Master(places, _line(1, "web"))
    found = _returners(places)
    _settle(found, master)
    assert master.text == _line(1, "web") + _line(3, "late")
    assert found.conflicts() == []


def test_given_one_put_back_and_then_deleted_for_good_when_looked_again_then_it_stays_deleted(
    places: Places,
):
    _keep(places, 2, _line(2, "old"))
    master = Master(places, "")
    found = _returners(places)
    found.look(master, 0.0, sure=False)
    assert master.text == _line(2, "old")
    found = _returners(places)
    _purge(places, _line(2, "old"))
    places.client_keys.write_text("")
    _settle(found, master)
    assert (master.calls, master.text) == (1, "")


def test_given_a_removal_of_somebody_unknown_when_another_returns_with_it_then_it_stays_away(
    places: Places,
):
    _keep(places, 1, _line(2, "!old"))
    master = Master(places, _line(1, "web"))
    found = _returners(places)
    _settle(found, master)
    for epoch in (2, 3, 4):
        _keep(places, epoch, _line(1, "web"))
    _settle(found, master)
    assert "client.keys.1" not in returners.Volume(places).names()
    _keep(places, 5, _line(2, "old"))
    _settle(found, master)
    assert (master.calls, master.text) == (0, _line(1, "web"))


def test_given_many_settled_files_when_looked_then_the_newest_stay_and_no_unsettled_one_goes(
    places: Places,
):
    for epoch in (2, 3, 9, 10, 11):
        _keep(places, epoch, _line(1, "web"))
    _keep(places, 1, _line(5, "odd"))
    master = Master(places, _line(1, "web"))
    found = _returners(places)
    master.refuses = {5}
    found.look(master, 0.0, sure=True)
    names = returners.Volume(places).names()
    assert names == [f"client.keys.{epoch}" for epoch in (1, 9, 10, 11)]
    _settle(found, master)
    assert returners.Volume(places).names() == names[1:]
    assert _returners(places).due() == []


def test_given_an_id_given_again_when_the_agent_enrols_anew_then_it_is_reported_no_more(
    places: Places,
):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, _line(2, "other"))
    found = _returners(places)
    _settle(found, master)
    assert len(found.conflicts()) == 1
    places.client_keys.write_text(_line(2, "other") + _line(7, "late", "cd" * 32))
    found.look(master, 9000.0, sure=False)
    assert found.conflicts() == []
    assert master.calls == 0


@pytest.mark.parametrize("there", [_line(2, "other"), _line(9, "late", "cd" * 32)])
def test_given_who_stood_in_the_way_is_gone_when_looked_then_the_agent_comes_back(
    places: Places, there: str
):
    _keep(places, 1, _line(2, "late"))
    master = Master(places, there)
    found = _returners(places)
    _settle(found, master)
    assert len(found.conflicts()) == 1
    places.client_keys.write_text("")
    found.look(master, 9000.0, sure=False)
    assert len(found.conflicts()) == 1, (
        "a copy that is not the master's tells nothing of who is gone"
    )
    found.look(master, 9100.0, sure=True)
    assert master.text == _line(2, "late")
    assert found.conflicts() == []


def test_given_a_conflict_that_nobody_solves_when_a_week_is_over_then_it_is_said_no_more(
    places: Places,
):
    clock = [1000.0]
    _keep(places, 1, _line(2, "late"))
    master = Master(places, _line(2, "other"))
    found = _returners(places, clock)
    _settle(found, master)
    clock[0] += returners.REPORTED
    found.look(master, 9000.0, sure=True)
    assert len(found.conflicts()) == 1
    clock[0] += 1
    found.look(master, 9100.0, sure=True)
    assert (found.conflicts(), found.due()) == ([], [])


@pytest.mark.parametrize("record", ["{", "[]", '{"schema": 1, "done": []}', "\x00\x00"])
def test_given_a_damaged_record_when_back_then_nothing_is_done_again_but_told(
    places: Places, record: str
):
    _keep(places, 1, _line(2, "late") + _line(3, "!odd"))
    (places.own / "returned.json").write_text(record)
    master = Master(places, _line(3, "odd"))
    found = _returners(places)
    _settle(found, master)
    assert master.calls == 0
    assert len(found.conflicts()) == 2
    assert all("lost" in one for one in found.conflicts())
    _keep(places, 5, _line(8, "new"))
    _settle(found, master)
    assert _line(8, "new") in master.text, "what was kept since is no longer in doubt"


def test_given_an_agent_that_another_copy_has_as_removed_when_back_then_it_is_told(places: Places):
    _keep(places, 1, _line(2, "old"))
    _keep(places, 2, _line(2, "!old"))
    master = Master(places, _line(1, "web"))
    found = _returners(places)
    found.look(master, 0.0, sure=True)
    assert found.conflicts() == [
        "002 old: another copy of the keys has it as removed: enrol it anew if it is wanted"
    ]


def test_given_a_merge_that_leaves_one_out_when_reported_then_it_stays_until_it_enrols_anew(
    places: Places,
):
    found = _returners(places)
    found.report([keys.Conflict(5, "winner", "loser")])
    assert _returners(places).conflicts() == [
        "005 loser: its id belongs to winner now: enrol it anew"
    ]
    master = Master(places, _line(5, "winner") + _line(6, "loser", "cd" * 32))
    found.look(master, 0.0, sure=True)
    assert found.conflicts() == []


def test_given_thousands_when_back_then_they_are_for_the_master_to_take_in_at_once(places: Places):
    text = "".join(_line(n, f"agent-{n}") for n in range(1, 5001))
    _keep(places, 1, text)
    master = Master(places, _line(9000, "web"))
    found = _returners(places)
    for step in range(3):
        found.look(master, 100.0 * step, sure=True)
    assert master.calls == 0
    assert found.many()
    merged = returners.fold(master.text, [found.todo()], deletions.Record())
    assert len(keys.parse(merged)) == 5001
    assert returners.fold(merged, [found.todo()], deletions.Record()) == merged
    places.client_keys.write_text(merged)
    found.look(master, 2000.0, sure=True)
    assert (master.calls, found.due(), found.many(), found.todo()) == (0, [], "", "")


def test_given_a_master_that_takes_nothing_in_when_waited_long_then_the_api_is_told(
    places: Places, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(returners, "BULK", 60)
    _keep(places, 1, "".join(_line(n, f"agent-{n}") for n in range(1, 62)))
    master = Master(places, "")
    found = _returners(places)
    found.look(master, 0.0, sure=True)
    assert master.calls == 0
    for step in range(4):
        found.look(master, 1000.0 + 100 * step, sure=True)
    assert len(keys.parse(master.text)) == 61


def test_given_removals_among_thousands_when_taken_in_then_they_are_removed_and_nobody_is_hurt():
    text = _line(1, "web") + _line(2, "old") + _line(3, "other", "cd" * 32)
    kept = _line(2, "!old") + _line(3, "mine") + _line(4, "new") + _line(5, "purged")
    deleted = deletions.Record().delete(keys.parse(_line(5, "purged")))
    merged = returners.fold(text, [kept], deleted)
    assert merged == (
        _line(1, "web") + _line(2, "!old") + _line(3, "other", "cd" * 32) + _line(4, "new")
    )
