"""The secret `master-state`: kept by the leader now and then, given to a supervisor that asks."""

import datetime
import json

import pytest

from src import master_state
from tests.unit.charm.world import leader

ANSWER = "/etc/wazuh-server/master-state.json"


def _prepare(unit, text, **changes):
    unit.write("/run/wazuh-server/master-state", text)
    unit.report(prepared=f"digest of {text}", **changes)


def _kept(unit):
    return unit.secrets.get("master-state", {}).get("content")


@pytest.fixture
def master(tmp_path):
    """A leader and master at rest."""
    return leader(tmp_path)


@pytest.fixture
def hour(monkeypatch):
    """Let an hour pass at each call."""
    now = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]
    monkeypatch.setattr("src.charm._now", lambda: now[0])

    def pass_by(minutes=60):
        now[0] += datetime.timedelta(minutes=minutes)

    return pass_by


def test_given_something_prepared_when_the_leader_looks_then_it_is_kept_hourly_at_most(
    master, hour
):
    _prepare(master, "first")
    master.run("update_status")
    assert _kept(master) == "first"

    _prepare(master, "second")
    hour(59)
    master.run("update_status")
    assert _kept(master) == "first"
    hour(1)
    master.run("update_status")
    assert _kept(master) == "second"


def test_given_an_indexer_that_is_waited_for_when_something_is_prepared_then_it_is_kept(master):
    # Each update-status looks whether the indexer is there by now: that is no reason to leave it.
    master.relate("opensearch-client", "opensearch_client")
    master.run("update_status")
    _prepare(master, "first")

    master.run("update_status")

    assert _kept(master) == "first"


def test_given_nothing_changed_when_hours_pass_then_nothing_is_written(master, hour):
    _prepare(master, "first")
    master.run("update_status")
    hour()
    master.run("update_status")
    assert master.tools["secret_set"] == 0, "Juju has it: that is looked at once, and noted"
    hour(600)

    master.run("update_status")

    assert master.writes == {}
    assert master.tools["secret_set"] == master.tools["secret_add"] == 0


def test_given_the_last_unit_when_it_is_removed_then_the_newest_is_kept_with_the_high_water(
    master,
):
    _prepare(master, "first")
    master.run("update_status")
    _prepare(master, "last", **{"highest-id": 77})
    master.configure(planned_units=0)

    master.run("storage_detaching")

    assert _kept(master) == "last"
    assert master.databag["high-water"] == "77"
    assert master.databag["epoch"] == "1"


def test_given_a_hook_that_juju_did_not_take_when_the_last_unit_goes_then_it_is_kept_again(
    master,
):
    _prepare(master, "first")
    master.run("update_status")
    _prepare(master, "last")
    master.configure(planned_units=0)

    master.run("storage_detaching", commit=False)
    assert _kept(master) == "first"
    master.run("storage_detaching")

    assert _kept(master) == "last"


def test_given_a_write_that_juju_did_not_take_when_an_hour_has_passed_then_it_is_kept(
    master, hour
):
    _prepare(master, "first")
    master.run("update_status", commit=False)
    assert _kept(master) is None

    hour()
    master.run("update_status")

    assert _kept(master) == "first"


def test_given_others_that_stay_when_a_leader_is_removed_then_nothing_is_hurried(master):
    _prepare(master, "first")
    master.run("update_status")
    _prepare(master, "second")
    master.configure(planned_units=2)

    master.run("storage_detaching")

    assert _kept(master) == "first"


def test_given_another_leads_when_something_is_prepared_then_it_is_left_to_that_one(master):
    master.configure(leader=False)
    _prepare(master, "first")

    master.run("update_status")

    assert _kept(master) is None


def test_given_a_supervisor_that_asks_when_there_is_a_secret_then_it_gets_the_content(master):
    _prepare(master, "kept")
    master.run("update_status")
    master.configure(leader=False)
    master.report(asks=True, phase="gathering")

    master.run("update_status")

    assert json.loads(master.read(ANSWER))["content"] == "kept"


def test_given_a_supervisor_that_asks_when_there_is_no_secret_then_it_is_told(master):
    master.path(ANSWER).unlink()
    master.report(asks=True, phase="gathering")

    master.run("update_status")

    assert json.loads(master.read(ANSWER))["content"] is None


def test_given_a_new_application_when_deployed_then_the_first_master_need_not_ask(master):
    assert master.read(ANSWER) == master_state.NOTHING


def test_given_too_many_agents_when_kept_then_the_status_says_so(master):
    _prepare(master, "users only", **{"keys-prepared": False})

    master.run("update_status")

    assert "too many agents for master-state" in master.status.message
    assert master.status.name == "active"


def test_given_agents_that_could_not_be_put_back_when_looked_at_then_the_status_says_so(master):
    master.report(conflicts=["002 late: its id belongs to other now: enrol it anew"])

    master.run("update_status")

    said = "agents to look at: 1 (002 late: its id belongs to other now: enrol it anew)"
    assert said in master.status.message


def test_given_a_file_that_is_gone_when_due_then_nothing_is_kept_and_the_hook_goes_on(master):
    master.report(prepared="digest")

    master.run("update_status")

    assert _kept(master) is None
    assert master.status.name == "active"
