"""The option `agent-password`: checked, handed on by the leader, and never shown."""

import ops
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops import testing

from src import secrets
from tests.unit.charm.world import Unit, leader, peer_of, shared_secrets

AUTHD = "/etc/wazuh-server/files/etc/authd.pass"
BAD = {
    "no key": ({"passwort": "hunter22"}, 'the secret has no key "password"'),
    "line break": ({"password": "hunter22\nx"}, "the password has a line break"),
    "pasted line": ({"password": "hunter22\r\n"}, "the password has a line break"),
    "NUL": ({"password": "hunter22\0"}, "the password has a NUL character"),
    "control": ({"password": "hunter22\x07"}, "the password has a control character"),
    "blank": ({"password": "hunter22 "}, "the password begins or ends with a space"),
    "short": ({"password": "h"}, "the password is shorter than 2 characters"),
    "long": ({"password": "hunter22" * 80}, "the password is longer than 512 bytes"),
    "empty": ({"password": "", "other": "hunter22"}, "the password is empty"),
}


def _user_secret(content, **latest):
    return testing.Secret(content, owner=None, **latest)


def _set(unit, secret):
    unit.configure(config={"agent-password": secret.id}, secrets={*unit.state.secrets, secret})


def test_given_no_option_when_deployed_then_a_password_is_made(tmp_path):
    unit = leader(tmp_path)

    assert unit.read(AUTHD) == unit.secrets["enrolment-password"]["password"] + "\n"
    assert len(unit.read(AUTHD)) == 33


def test_given_a_good_secret_when_the_leader_runs_then_it_is_in_force_on_every_unit(tmp_path):
    unit = leader(tmp_path / "leader")
    _set(unit, _user_secret({"password": "correct horse"}))

    unit.run("config_changed")

    assert unit.read(AUTHD) == "correct horse\n"
    assert unit.secrets["enrolment-password"]["password"] == "correct horse"
    worker = peer_of(unit, tmp_path / "worker")
    worker.run("pebble_ready")
    assert worker.read(AUTHD) == "correct horse\n"


def test_given_a_new_password_when_pushed_then_only_the_enrolment_daemon_is_restarted(tmp_path):
    unit = leader(tmp_path)
    before, environment = unit.desired["generations"], dict(unit.environment)
    _set(unit, _user_secret({"password": "correct horse"}))

    unit.run("config_changed")

    after = unit.desired["generations"]
    assert {name for name in after if after[name] != before[name]} == {"wazuh-authd"}
    assert unit.environment == environment


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_given_a_bad_secret_when_first_deployed_then_it_runs_without_and_says_why(
    tmp_path, content, reason
):
    unit = Unit(tmp_path)
    _set(unit, _user_secret(content))

    unit.run("pebble_ready")

    assert unit.status == ops.BlockedStatus(f"agent-password: {reason}")
    assert unit.read(AUTHD) == unit.secrets["enrolment-password"]["generated"] + "\n"
    assert "hunter22" not in "".join(unit.files().values())


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_given_a_bad_new_revision_when_told_then_the_last_good_one_stays(
    tmp_path, content, reason
):
    unit = leader(tmp_path)
    _set(unit, _user_secret({"password": "correct horse"}))
    unit.run("config_changed")
    bad = testing.Secret({"password": "correct horse"}, latest_content=content, owner=None)
    unit.configure(secrets={s for s in unit.state.secrets if s.label})
    _set(unit, bad)

    unit.run("secret_changed", bad)

    assert unit.status == ops.BlockedStatus(f"agent-password: {reason}")
    assert unit.read(AUTHD) == "correct horse\n"
    unit.restart_container()
    unit.run("pebble_ready")
    assert unit.read(AUTHD) == "correct horse\n"


def test_given_a_secret_not_granted_when_the_unit_runs_then_the_status_says_so(tmp_path):
    unit = leader(tmp_path)
    unit.configure(config={"agent-password": "secret:abcdefghij1234567890"})
    before = unit.read(AUTHD)

    unit.run("config_changed")

    assert isinstance(unit.status, ops.BlockedStatus)
    assert unit.status.message.startswith("agent-password: the secret ")
    assert unit.read(AUTHD) == before


def test_given_juju_refuses_the_secret_when_the_unit_runs_then_the_status_asks_for_a_grant(
    tmp_path, monkeypatch
):
    unit = leader(tmp_path)
    unit.configure(config={"agent-password": "secret:abcdefghij1234567890"})
    original = ops.Model.get_secret

    def refused(self, **which):
        if "id" in which:
            raise ops.ModelError("ERROR permission denied")
        return original(self, **which)

    monkeypatch.setattr(ops.Model, "get_secret", refused)

    unit.run("config_changed")

    assert unit.status == ops.BlockedStatus(
        "agent-password: the secret cannot be read; is it granted to this application?"
    )


def test_given_a_granted_secret_later_when_the_next_hook_runs_then_it_is_in_force(tmp_path):
    unit = leader(tmp_path)
    secret = _user_secret({"password": "correct horse"})
    unit.configure(config={"agent-password": secret.id})
    unit.run("config_changed")
    unit.configure(secrets={*unit.state.secrets, secret})

    unit.run("update_status")

    assert unit.read(AUTHD) == "correct horse\n"
    assert isinstance(unit.status, ops.ActiveStatus)


def test_given_the_option_is_taken_away_when_the_leader_runs_then_the_made_one_holds_again(
    tmp_path,
):
    unit = leader(tmp_path)
    generated = unit.read(AUTHD)
    _set(unit, _user_secret({"password": "correct horse"}))
    unit.run("config_changed")
    unit.configure(config={})

    unit.run("config_changed")

    assert unit.read(AUTHD) == generated


def test_given_a_new_good_revision_when_told_then_it_is_in_force(tmp_path):
    unit = leader(tmp_path)
    secret = testing.Secret(
        {"password": "correct horse"}, latest_content={"password": "battery staple"}, owner=None
    )
    _set(unit, secret)
    unit.run("config_changed")

    unit.run("secret_changed", secret)

    assert unit.read(AUTHD) == "battery staple\n"


def test_given_a_worker_when_the_secret_is_bad_then_it_says_so_and_keeps_its_password(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    worker.run("pebble_ready")
    before = worker.read(AUTHD)
    _set(worker, _user_secret({"password": "x\ny"}))

    worker.run("config_changed")

    assert worker.status == ops.BlockedStatus("agent-password: the password has a line break")
    assert worker.read(AUTHD) == before


def test_given_a_worker_when_the_secret_is_good_then_it_waits_for_the_leader(tmp_path):
    lead = leader(tmp_path / "leader")
    worker = peer_of(lead, tmp_path / "worker")
    worker.run("pebble_ready")
    secret = _user_secret({"password": "correct horse"})
    _set(worker, secret)
    worker.run("config_changed")
    assert worker.read(AUTHD) == lead.read(AUTHD)
    _set(lead, secret)
    lead.run("config_changed")
    worker.configure(secrets={*shared_secrets(lead), secret})
    worker.publish(lead.databag)

    worker.run("relation_changed")

    assert worker.read(AUTHD) == "correct horse\n"


@given(st.text(max_size=600))
def test_given_any_text_as_password_when_checked_then_it_is_one_line_or_refused(text):
    found = secrets._checked({"password": text})

    if found.problem is None:
        assert found.value == text
        assert f"{text}\n".splitlines() == [text]
        assert 2 <= len(text.encode()) <= secrets.LONGEST_PASSWORD
    else:
        assert found.value is None
        assert text not in found.problem or len(text) < 3
