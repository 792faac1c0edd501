"""Agents that were deleted for good, as every unit comes to know of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import deletions, keys
from supervisor.deletions import Record

_KEY = "ab" * 32


def _line(number: int, name: str, key: str = _KEY) -> str:
    return f"{number:03d} {name} any {key}\n"


def _agent(number: int, name: str, key: str = _KEY) -> keys.Line:
    return keys.parse(_line(number, name, key))[0]


_BEFORE = _line(1, "web") + _line(2, "db") + _line(3, "!old")


@pytest.mark.parametrize(
    ("after", "gone"),
    [
        (_line(1, "web") + _line(3, "!old"), True),
        (_line(1, "web") + _line(2, "!db") + _line(3, "!old"), False),  # removed, and that stays
        (_line(1, "web") + "002 db 10.0.0.2 " + _KEY + "\n", False),  # authd wrote it otherwise
        (_line(1, "web") + _line(7, "db", "cd" * 32), True),  # enrolled anew since
        ("", False),  # the file is lost
        (_BEFORE + _line(4, "new"), False),
    ],
)
def test_given_a_masters_keys_when_they_change_then_only_who_leaves_no_line_is_deleted(
    after, gone
):
    found = Record().follow(_BEFORE, after)
    assert found.gone(_agent(2, "db")) is gone
    assert not found.gone(_agent(1, "web"))
    assert not found.gone(_agent(3, "old"))


def test_given_the_only_agent_when_deleted_then_it_is_known():
    assert Record().follow(_line(1, "web"), "").gone(_agent(1, "web"))


def test_given_a_deleted_agent_when_put_back_on_purpose_then_it_is_there_again_for_everybody():
    elsewhere = Record().follow(_BEFORE, _line(1, "web"))
    there = elsewhere.follow(_line(1, "web"), _BEFORE)
    assert not there.gone(_agent(2, "db"))
    assert not elsewhere.unite(there).gone(_agent(2, "db"))
    again = there.follow(_BEFORE, _line(1, "web"))
    assert again.unite(elsewhere).gone(_agent(2, "db"))


def test_given_keys_of_an_older_copy_when_merged_then_the_deleted_ones_stay_away():
    found = Record().delete([_agent(2, "db")])
    assert found.without(_BEFORE) == _line(1, "web") + _line(3, "!old")
    assert found.covers(_line(2, "db") + _line(3, "!old"))
    assert not found.covers(_BEFORE)
    assert not found.covers("")
    other = _line(2, "db", "cd" * 32)
    assert found.without(other) == other, "another agent may have the id and the name"


_COUNTS = st.dictionaries(st.sampled_from([f"{n:032x}" for n in range(4)]), st.integers(0, 5))
_RECORDS = _COUNTS.map(lambda counts: Record().unite(Record(counts)))


@given(_RECORDS, _RECORDS, _RECORDS)
def test_given_any_records_when_united_in_any_order_then_all_units_know_the_same(a, b, c):
    assert a.unite(b).unite(c) == c.unite(b.unite(a)) == a.unite(a).unite(c).unite(b)
    assert deletions.load(deletions.dump(a)) == a


def test_given_too_many_when_united_then_both_sides_forget_the_same(monkeypatch):
    monkeypatch.setattr(deletions, "LIMIT", 3)
    a = Record().delete([_agent(n, "a") for n in range(1, 4)])
    b = Record().delete([_agent(n, "b") for n in range(1, 4)])
    assert a.unite(b) == b.unite(a)
    assert len(a.unite(b).counts) == 3


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 2, "counts": {}}', '{"schema": 1, "counts": []}',
     '{"schema": 1, "counts": {"x": 1}}', '{"schema": 1, "counts": {"' + "0" * 32 + '": -1}}'],
)  # fmt: skip
def test_given_what_is_no_record_when_offered_then_it_is_refused_and_nothing_is_lost(
    tmp_path: Path, text: str
):
    keeper = deletions.Keeper(tmp_path / "deleted.json")
    keeper.delete([_agent(2, "db")])
    with pytest.raises(deletions.RecordError):
        keeper.offer(text)
    assert deletions.Keeper(tmp_path / "deleted.json").record().gone(_agent(2, "db"))


def test_given_a_damaged_file_when_read_then_the_others_tell_it_again(tmp_path: Path):
    path = tmp_path / "deleted.json"
    path.write_text("{")
    keeper = deletions.Keeper(path)
    assert keeper.record() == Record()
    keeper.offer(deletions.dump(Record().delete([_agent(2, "db")])))
    assert deletions.Keeper(path).record().gone(_agent(2, "db"))


def test_given_a_unit_that_becomes_master_when_its_keys_change_then_only_what_it_wrote_counts(
    tmp_path: Path,
):
    keeper = deletions.Keeper(tmp_path / "deleted.json")
    keeper.watch("", _BEFORE)
    keeper.watch("", _line(2, "db"))  # a worker's copy
    assert keeper.record() == Record()
    keeper.serve("1-a")
    keeper.watch("1-a", _line(9, "new"))
    assert keeper.record().gone(_agent(2, "db"))
    assert not keeper.record().gone(_agent(1, "web"))
    keeper.serve("")
    keeper.watch("2-a", _line(1, "web"))
    assert not keeper.record().gone(_agent(9, "new")), "another takeover, after a merge"
