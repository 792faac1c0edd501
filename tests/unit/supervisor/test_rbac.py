"""What people made through the API: copied while it is used, kept in its order, put back."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import rbac
from supervisor.machine import Edition
from supervisor.places import Places

from tests.unit.supervisor import people


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Give a unit's places, with a volume."""
    made = Places(home=tmp_path / "ossec")
    made.own.mkdir(parents=True)
    return made


def _users(copy: rbac.Copy | None, tmp_path: Path) -> list[str]:
    assert copy is not None
    unpacked = Places(home=tmp_path / "unpacked")
    rbac.install(unpacked, copy)
    return people.names(unpacked)


def test_given_a_database_when_it_changes_then_each_change_is_one_edition(places: Places):
    keeper = rbac.Keeper(places)
    keeper.take(3)
    assert keeper.newest() is None, "there is nothing to copy yet"
    people.add(places, "ann")
    keeper.take(3)
    keeper.take(3)
    assert keeper.edition() == Edition(3, 1)
    people.add(places, "bob")
    keeper.take(3)
    assert keeper.edition() == Edition(3, 2)
    keeper.take(4)
    assert keeper.edition() == Edition(4, 1), "another epoch counts anew, and is newer"


def test_given_a_supervisor_started_again_when_nothing_changed_then_the_edition_stays(
    places: Places,
):
    people.add(places, "ann")
    rbac.Keeper(places).take(3)
    again = rbac.Keeper(places)
    again.take(3)
    assert again.edition() == Edition(3, 1)
    people.add(places, "bob")
    again.take(3)
    assert rbac.Keeper(places).edition() == Edition(3, 2)


def test_given_only_the_tokens_settings_changed_when_copied_then_they_follow(
    places: Places, tmp_path: Path
):
    people.add(places, "ann")
    keeper = rbac.Keeper(places)
    keeper.take(1)
    settings = people.path(places).with_name("security.yaml")
    settings.write_text("auth_token_exp_timeout: 3600\n")
    keeper.take(1)
    copy = keeper.newest()
    assert copy is not None
    assert copy.edition == Edition(1, 2)
    target = Places(home=tmp_path / "other")
    rbac.install(target, copy)
    installed = people.path(target).with_name("security.yaml")
    assert installed.read_text() == settings.read_text()
    rbac.install(target, rbac.Copy(Edition(2, 1), copy.database, None))
    assert not installed.exists(), "the next master had Wazuh's defaults"


def test_given_a_write_under_way_when_copied_then_the_copy_is_whole_or_comes_later(
    places: Places, tmp_path: Path
):
    people.add(places, "ann")
    keeper = rbac.Keeper(places)
    with closing(sqlite3.connect(people.path(places))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO users VALUES ('half')")
        keeper.take(1)
        assert _users(keeper.newest(), tmp_path) == ["ann"]
        writer.commit()
        writer.execute("BEGIN EXCLUSIVE")
        keeper.take(1)
        assert keeper.edition() == Edition(1, 1), "it was locked"
        writer.rollback()
    keeper.take(1)
    assert _users(keeper.newest(), tmp_path) == ["ann", "half"]


@pytest.mark.parametrize("damage", [b"", b"no database", people.database("ann")[:4096]])
def test_given_a_damaged_database_when_copied_then_the_last_copy_stays(
    places: Places, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
):
    people.add(places, "ann")
    keeper = rbac.Keeper(places)
    keeper.take(1)
    people.path(places).write_bytes(damage)
    keeper.take(1)
    keeper.take(1)
    assert keeper.edition() == Edition(1, 1)
    assert _users(keeper.newest(), tmp_path) == ["ann"]
    assert len(caplog.records) == 1, "said once"


def test_given_a_database_without_any_user_when_copied_then_it_is_not_taken_for_one(
    places: Places,
):
    people.add(places)
    keeper = rbac.Keeper(places)
    keeper.take(1)
    assert keeper.newest() is None


def test_given_copies_in_any_order_when_offered_then_the_newest_stays(places: Places):
    keeper = rbac.Keeper(places)
    content = people.database("ann")
    for epoch, counter, taken in ((2, 5, True), (2, 4, False), (1, 9, False), (3, 1, True)):
        copy = rbac.Copy(Edition(epoch, counter), content, None)
        assert keeper.offer(rbac.dump(copy)) is taken
    assert keeper.edition() == rbac.Keeper(places).edition() == Edition(3, 1)


def test_given_a_newer_masters_copy_when_an_old_one_copies_its_own_then_it_is_left_out(
    places: Places,
):
    keeper = rbac.Keeper(places)
    keeper.offer(rbac.dump(rbac.Copy(Edition(5, 1), people.database("new"), None)))
    people.add(places, "old")
    keeper.take(4)
    assert keeper.edition() == Edition(5, 1)


def test_given_a_copy_when_it_lies_on_the_volume_then_root_alone_reads_it(places: Places):
    people.add(places, "ann")
    rbac.Keeper(places).take(1)
    (kept,) = places.own.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_given_what_a_killed_daemon_left_beside_when_installed_then_it_goes(places: Places):
    people.add(places, "old")
    journal = people.path(places).with_name("rbac.db-journal")
    journal.write_bytes(b"of the old database")
    rbac.install(places, rbac.Copy(Edition(1, 1), people.database("new"), None))
    assert not journal.exists()
    assert people.names(places) == ["new"]


_COPY = rbac.dump(rbac.Copy(Edition(1, 1), people.database("ann"), b"x: 1"))


@given(st.integers(0, len(_COPY) - 1), st.characters(codec="ascii"))
def test_given_a_copy_with_one_character_changed_when_read_then_it_is_refused_or_the_same(
    position: int, character: str
):
    text = _COPY[:position] + character + _COPY[position + 1 :]
    try:
        copy = rbac.load(text)
    except rbac.CopyError:
        return
    assert copy.same(rbac.load(_COPY)), "only its edition is outside the digest"


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x)))
def test_given_rubbish_when_read_as_a_copy_then_it_is_refused(value: object):
    for text in (json.dumps(value), str(value), "{" * 100_000):
        with pytest.raises(rbac.CopyError):
            rbac.load(text)


def test_given_a_text_that_unpacks_to_too_much_when_read_then_it_is_refused():
    bomb = json.loads(rbac.dump(rbac.Copy(Edition(1, 1), bytes(80 * 1024 * 1024), None)))
    with pytest.raises(rbac.CopyError, match="not a copy"):
        rbac.load(json.dumps(bomb))


def test_given_a_damaged_file_on_the_volume_when_read_then_another_is_taken(places: Places):
    (places.own / "rbac.json").write_text("{")
    keeper = rbac.Keeper(places)
    assert keeper.newest() is None
    assert keeper.offer(_COPY)
