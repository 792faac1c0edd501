"""client.keys: what is read, what a merge keeps, what a gap does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import keys

_KEY = "ab" * 32


def _file(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_given_a_file_of_all_kinds_of_lines_when_read_then_only_wazuhs_own_count():
    text = _file(
        "# a comment",
        " indented",
        f"001 web any {_KEY}",
        f"002 !gone 10.0.0.1 {_KEY}",
        f"003 #older any {_KEY}",
        "004 no-key any",
        f"x05 letters any {_KEY}",
        "",
        f"1063 !reserved any {_KEY}",
    )
    lines = keys.parse(text)
    assert [(line.id, line.name, line.removed) for line in lines] == [
        (1, "web", False),
        (2, "gone", True),
        (3, "older", True),
        (1063, "reserved", True),
    ]
    summary = keys.summary(text)
    assert (summary.agents, summary.highest) == (1, 1063)


def test_given_two_copies_when_merged_then_every_agent_of_either_is_there():
    one = _file(f"001 web any {_KEY}", f"003 db any {_KEY}")
    other = _file(f"001 web any {_KEY}", f"002 mail any {_KEY}")
    merged = keys.merge([one, other])
    assert [line.name for line in keys.parse(merged.text)] == ["web", "mail", "db"]
    assert merged.conflicts == ()


def test_given_a_removed_agent_when_an_older_copy_still_has_it_then_it_stays_removed():
    newer, older = _file(f"001 !web any {_KEY}"), _file(f"001 web any {_KEY}")
    for order in ([newer, older], [older, newer]):
        merged = keys.merge(order)
        assert merged.text == newer
        assert merged.conflicts == ()


def test_given_one_id_of_two_agents_when_merged_then_the_first_wins_and_it_is_reported():
    one, other = _file(f"007 web any {_KEY}"), _file(f"007 db any {_KEY}")
    merged = keys.merge([one, other])
    assert merged.text == one
    assert merged.conflicts == (keys.Conflict(7, "web", "db"),)
    (line,) = keys.describe(merged.conflicts)
    assert "web" in line and "db" in line
    assert _KEY not in line


def test_given_a_gap_where_an_agent_is_meanwhile_when_merged_then_the_agent_is_kept():
    gap, agent = keys.reserve("", 1063), _file(f"1063 db any {_KEY}")
    for order in ([gap, agent], [agent, gap]):
        assert keys.merge(order).text == agent
        assert keys.merge(order).conflicts == ()


def test_given_keys_when_an_id_is_reserved_then_no_agent_shows_and_ids_go_on_above():
    text = keys.reserve(f"001 web any {_KEY}", 1001)
    assert text == _file(f"001 web any {_KEY}", f"1001 !reserved any {'0' * 64}")
    assert (keys.summary(text).agents, keys.summary(text).highest) == (1, 1001)
    assert keys.reserve("", 7) == f"007 !reserved any {'0' * 64}\n"


def test_given_a_file_with_its_own_mode_when_stored_then_the_mode_is_kept(tmp_path: Path):
    path = tmp_path / "client.keys"
    path.write_text("old")
    path.chmod(0o604)
    keys.store(path, "new\n")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert list(tmp_path.iterdir()) == [path]


def test_given_no_file_when_stored_then_it_is_made_as_wazuh_wants_it(tmp_path: Path):
    path = tmp_path / "client.keys"
    assert keys.load(path) == ""
    keys.store(path, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_given_a_volume_that_is_full_when_stored_then_the_old_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "client.keys"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keys.store(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_given_a_removed_id_when_another_agent_has_it_then_that_is_reported():
    gone, agent = _file(f"007 !web any {_KEY}"), _file(f"007 db any {_KEY}")
    for order in ([gone, agent], [agent, gone]):
        assert keys.merge(order).text == gone
        assert keys.merge(order).conflicts == (keys.Conflict(7, "web", "db"),)


_NAMES = st.sampled_from(["web", "db", "mail", "reserved"])
_IDS = st.integers(1, 12)
_AGENTS = st.tuples(_IDS, _NAMES, st.booleans()).map(
    lambda t: f"{t[0]:03d} {'!' if t[2] else ''}{t[1]} any {_KEY}"
)
_LINES = _AGENTS | _IDS.map(lambda number: keys.reserve("", number).strip())
#: One file has an id once.
_FILES = st.lists(_LINES, unique_by=lambda line: line.split()[0], max_size=12).map(
    lambda lines: _file(*lines)
)


def _active(text: str) -> set[tuple[int, str]]:
    return {(line.id, line.name) for line in keys.parse(text) if not line.removed}


def _removed(text: str) -> set[tuple[int, str]]:
    return {(line.id, line.name) for line in keys.parse(text) if line.removed and not line.gap}


@given(st.lists(_FILES, max_size=4))
def test_given_any_copies_when_merged_then_each_id_is_there_once_and_none_is_lost(copies):
    merged = keys.merge(copies)
    ids = [line.id for line in keys.parse(merged.text)]
    assert ids == sorted({line.id for copy in copies for line in keys.parse(copy)})


@given(st.lists(_FILES, max_size=4))
def test_given_any_copies_when_merged_then_an_agent_in_use_is_lost_only_as_reported(copies):
    merged = keys.merge(copies)
    removed = set().union(*map(_removed, copies)) if copies else set()
    wanted = {agent for copy in copies for agent in _active(copy)} - removed
    lost = wanted - _active(merged.text)
    assert lost == {(c.id, c.lost) for c in merged.conflicts}
    assert not {number for number, _ in removed} & {
        number for number, _ in _active(merged.text)
    }, "a removal wins"


@given(_FILES, _FILES)
def test_given_two_copies_when_merged_in_either_order_then_only_conflicts_differ(one, other):
    ab, ba = keys.merge([one, other]), keys.merge([other, one])
    contested = {c.id for c in ab.conflicts}
    assert contested == {c.id for c in ba.conflicts}
    strip = [
        [line for line in keys.parse(text) if line.id not in contested]
        for text in (ab.text, ba.text)
    ]
    assert strip[0] == strip[1]


@given(_FILES)
def test_given_a_merged_file_when_merged_again_then_nothing_changes(one):
    once = keys.merge([one]).text
    assert keys.merge([once, once]).text == once
    assert keys.merge([once]).conflicts == ()


@given(_FILES, _FILES, _FILES)
def test_given_three_copies_when_merged_step_by_step_then_it_is_the_same(one, two, three):
    at_once = keys.merge([one, two, three])
    in_steps = keys.merge([keys.merge([one, two]).text, three])
    if not at_once.conflicts:
        assert _active(at_once.text) == _active(in_steps.text)


@given(st.text())
def test_given_any_text_when_read_then_nothing_is_raised(text):
    keys.summary(text)
    keys.merge([text, text])


def test_given_an_agent_put_back_after_its_removal_when_merged_then_it_stays():
    # As authd leaves it: agents in use first, those removed after them (OS_WriteKeys).
    master = _file(f"001 web any {_KEY}", f"002 old any {_KEY}", f"002 !old any {_KEY}")
    worker = _file(f"001 web any {_KEY}", f"002 !old any {_KEY}")
    for copies in ([master], [master, worker], [master, master]):
        merged = keys.merge(copies)
        assert merged.text == _file(f"001 web any {_KEY}", f"002 old any {_KEY}")
        assert merged.conflicts == ()


def test_given_a_removed_agents_id_given_to_another_when_merged_then_that_one_stays():
    master = _file(f"002 new any {_KEY}", f"002 !old any {_KEY}")
    worker = _file(f"002 !old any {_KEY}")
    assert keys.merge([master, worker]).text == _file(f"002 new any {_KEY}")


def test_given_a_copy_older_than_a_removal_when_merged_then_the_removal_still_wins():
    master = _file(f"002 !old any {_KEY}")
    worker = _file(f"002 old any {_KEY}", f"002 !old any {_KEY}")
    assert keys.merge([master, worker]).text == master
