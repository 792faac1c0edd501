"""The charm's order: taken whole, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import desired
from supervisor.machine import Desired
from supervisor.parts import Parts

from tests.unit.supervisor.fake_wazuh import Fake


def _change(fake: Fake, **changes: object) -> None:
    path = fake.places.orders / "desired.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_given_a_whole_order_when_read_then_it_is_all_there(fake: Fake):
    fake.order("worker", epoch=3, **{"high-water": 12, "ruleset": {"commit": "ab" * 20}})
    order = desired.read(fake.places.orders)
    wanted = Parts(users="1", enrolment="1")
    assert order.desired == Desired(3, "worker", "u0", "u1", high_water=12, parts=wanted)
    assert order.address("u1") == "u1.localhost"
    assert order.ruleset == desired.Ruleset("ab" * 20)
    assert b"<node_type>worker" in order.files["etc/ossec.conf"].content
    assert order.files["etc/ossec.conf"].owner.mode == 0o640


def test_given_a_ruleset_of_none_when_read_then_it_is_not_the_same_as_no_ruleset(fake: Fake):
    fake.order(ruleset={"commit": None})
    assert desired.read(fake.places.orders).ruleset == desired.Ruleset(None)
    fake.order(ruleset=None)
    assert desired.read(fake.places.orders).ruleset is None


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"epoch": 0},
        {"epoch": "1"},
        {"epoch": True},
        {"epoch": 10**30},
        {"role": "leader"},
        {"role": "worker"},  # the node is the master
        {"node": "a/b"},
        {"node": "a</node><x>"},
        {"master": "other"},
        {"endpoints": "a b"},
        {"endpoints": "x</node>"},
        {"files": []},
        {"files": {"/etc/passwd": {}}},
        {"files": {"etc/../../x": {"sha256": "", "owner": "a", "group": "a", "mode": "0640"}}},
        {"files": {"bin/wazuh-authd": {"sha256": "", "owner": "a", "group": "a", "mode": "7"}}},
        {"generations": 3},
        {"high-water": -1},
        {"ruleset": {"commit": "../../etc"}},
        {"ruleset": {}},
    ],
)
def test_given_an_order_that_is_malformed_when_read_then_it_is_refused(fake: Fake, changes):
    fake.order()
    _change(fake, **changes)
    with pytest.raises(desired.IncompleteError):
        desired.read(fake.places.orders)


@pytest.mark.parametrize("path", ["etc/../../outside", "bin/wazuh-authd", "queue/x"])
def test_given_a_path_that_leads_elsewhere_when_its_digest_is_right_then_it_is_refused(
    fake: Fake, path: str
):
    fake.order()
    source = fake.places.orders / "files" / path
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    entry = {"sha256": digest, "owner": "root", "group": "root", "mode": "0640"}
    _change(fake, files={path: entry})
    with pytest.raises(desired.IncompleteError, match="malformed"):
        desired.read(fake.places.orders)


def test_given_a_file_that_differs_from_its_digest_when_read_then_the_order_is_refused(
    fake: Fake,
):
    fake.order()
    (fake.places.orders / "files/etc/ossec.conf").write_text("half")
    with pytest.raises(desired.IncompleteError, match=r"etc/ossec\.conf is not yet"):
        desired.read(fake.places.orders)


def test_given_a_reader_when_the_next_order_is_not_whole_then_the_last_one_holds(fake: Fake):
    reader = desired.Reader(fake.places.orders, fake.places.run / "order")
    assert reader.current() is None
    fake.order()
    first = reader.current()
    assert first is not None
    (fake.places.orders / "desired.json").write_text("{")
    assert reader.current() is first
    fake.order(epoch=2)
    second = reader.current()
    assert second is not None and second.desired.epoch == 2


def test_given_a_file_that_comes_after_its_order_when_read_again_then_it_is_taken(fake: Fake):
    fake.order()
    path = fake.places.orders / "files/etc/ossec.conf"
    content = path.read_bytes()
    path.unlink()
    reader = desired.Reader(fake.places.orders, fake.places.run / "order")
    assert reader.current() is None
    path.write_bytes(content)
    assert reader.current() is not None


def _successor(fake: Fake) -> desired.Reader:
    return desired.Reader(fake.places.orders, fake.places.run / "order")


def test_given_a_supervisor_that_restarts_when_the_next_order_is_half_there_then_the_last_holds(
    fake: Fake,
):
    fake.order()
    fake.places.run.mkdir(parents=True, exist_ok=True)
    first = _successor(fake).current()
    (fake.places.orders / "files/etc/ossec.conf").write_text("the next one's")

    again = _successor(fake)

    assert again.current() == first
    fake.order(epoch=2)
    order = again.current()
    assert order is not None and order.desired.epoch == 2


def test_given_an_order_when_it_is_kept_then_only_root_reads_it(fake: Fake):
    fake.order()
    fake.places.run.mkdir(parents=True, exist_ok=True)
    assert _successor(fake).current() is not None
    kept = fake.places.run / "order"
    assert kept.stat().st_mode & 0o077 == 0
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_given_a_copy_that_was_killed_half_way_when_the_supervisor_restarts_then_it_copes(
    fake: Fake,
):
    fake.order()
    fake.places.run.mkdir(parents=True, exist_ok=True)
    assert _successor(fake).current() is not None
    (fake.places.run / ".order.tmp").mkdir()
    (fake.places.run / "order/files/etc/ossec.conf").write_text("half")
    (fake.places.orders / "files/etc/ossec.conf").write_text("half")

    assert _successor(fake).current() is None
    fake.order(epoch=2)
    order = _successor(fake).current()
    assert order is not None and order.desired.epoch == 2


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c)))
def test_given_any_json_when_read_then_it_is_refused_in_one_way(tmp_path_factory, content):
    orders: Path = tmp_path_factory.mktemp("orders")
    (orders / "desired.json").write_text(json.dumps(content))
    with pytest.raises(desired.IncompleteError):
        desired.read(orders)
