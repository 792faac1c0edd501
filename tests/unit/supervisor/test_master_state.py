"""What is prepared for the secret `master-state`, and what is taken of what comes back."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import keys, master_state, rbac
from supervisor.machine import Edition
from supervisor.places import Places

from tests.unit.supervisor import people


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Give a unit's places, with a volume."""
    made = Places(home=tmp_path / "ossec", run=tmp_path / "run", orders=tmp_path / "orders")
    for folder in (made.own, made.home / "etc", made.run, made.orders):
        folder.mkdir(parents=True)
    return made


def _keys(count: int) -> str:
    return "".join(
        f"{n:03d} agent-{n}.example.com any {hashlib.sha256(str(n).encode()).hexdigest()}\n"
        for n in range(1, count + 1)
    )


def _prepare(places: Places, text: str, store: master_state.Store, now: float) -> str:
    places.client_keys.write_text(text)
    store.look(keys.summary(text), rbac.Keeper(places), now)
    return (places.run / "master-state").read_text()


def test_given_10000_agents_when_prepared_then_a_secret_has_room_for_all(
    places: Places, record_property
):
    rbac.Keeper(places).offer(rbac.dump(rbac.Copy(Edition(1, 1), people.database("wazuh"), None)))
    store = master_state.Store(places)
    text = _prepare(places, _keys(10_000), store, 0.0)
    record_property("characters", len(text))
    assert len(text) < master_state.LIMIT, f"{len(text)} characters"
    assert store.prepared.whole
    assert master_state.load(text).keys == _keys(10_000)


def test_given_too_many_agents_when_prepared_then_users_and_the_highest_id_are_kept(
    places: Places,
):
    copy = rbac.dump(rbac.Copy(Edition(1, 1), people.database("wazuh"), None))
    rbac.Keeper(places).offer(copy)
    store = master_state.Store(places)
    found = master_state.load(_prepare(places, _keys(20_000), store, 0.0))
    assert not store.prepared.whole
    assert found == master_state.State(20_000, None, copy)


def test_given_changes_when_prepared_then_not_at_each_of_them_and_root_alone_reads_it(
    places: Places,
):
    store = master_state.Store(places)
    first = _prepare(places, _keys(1), store, 0.0)
    digest = store.prepared.digest
    assert digest == hashlib.sha256(first.encode()).hexdigest()
    assert _prepare(places, _keys(2), store, 5.0) == first, "too soon"
    assert _prepare(places, _keys(2), store, 20.0) != first
    assert store.prepared.digest != digest
    assert stat.S_IMODE((places.run / "master-state").stat().st_mode) == 0o600
    (places.run / "master-state").unlink()
    store.look(keys.summary(_keys(2)), rbac.Keeper(places), 90.0)
    assert not (places.run / "master-state").exists(), "nothing changed"


def test_given_keys_that_change_meanwhile_when_prepared_then_it_waits(places: Places):
    store = master_state.Store(places)
    places.client_keys.write_text(_keys(2))
    store.look(keys.summary(_keys(1)), rbac.Keeper(places), 0.0)
    assert store.prepared == master_state.Prepared()


def _answer(places: Places, content: object) -> None:
    (places.orders / "master-state.json").write_text(json.dumps(content))


def test_given_an_answer_when_it_comes_then_it_counts_and_goes_when_it_has_served(
    places: Places,
):
    answer = master_state.Answer(places)
    assert answer.summary() is None
    _answer(places, {"content": None})
    assert answer.summary() == keys.summary("")
    state = master_state.State(2, _keys(2), None)
    _answer(places, {"content": master_state.dump(state)})
    summary = answer.summary()
    assert summary is not None
    assert summary.agents == 2
    assert answer.look() == state
    answer.drop()
    answer.drop()
    assert answer.summary() is None


@pytest.mark.parametrize("content", [[], {}, {"content": 5}, {"content": "?"}, "x", None])
def test_given_rubbish_when_it_comes_as_an_answer_then_it_is_as_if_there_were_none(
    places: Places, content: object, caplog: pytest.LogCaptureFixture
):
    _answer(places, content)
    answer = master_state.Answer(places)
    assert answer.look() == master_state.State()
    assert answer.look() == master_state.State()
    assert len(caplog.records) == 1


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_given_any_text_when_read_then_it_is_refused(text: str):
    with pytest.raises(master_state.StateError):
        master_state.load(text)


_TEXT = master_state.dump(master_state.State(3, _keys(3), None))


@given(st.integers(0, len(_TEXT) - 1), st.characters(codec="ascii"))
def test_given_one_character_changed_when_read_then_it_is_refused_or_the_same(
    position: int, character: str
):
    text = _TEXT[:position] + character + _TEXT[position + 1 :]
    try:
        found = master_state.load(text)
    except master_state.StateError:
        return
    assert found == master_state.load(_TEXT)
