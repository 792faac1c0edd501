"""Rotation of secrets on one unit: what is written when, who may begin it, what ends it."""

import ops
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops import testing

from src import files, rotation, secrets
from tests.unit.charm.world import Unit, leader, peer_of

CONTENTS = st.dictionaries(st.sampled_from(["wazuh", "key", "digest-key"]), st.text(min_size=1))
USERS = "/etc/wazuh-server/users.json"
AUTHD = "/etc/wazuh-server/files/etc/authd.pass"


def _rotate(unit, secret):
    return unit.act("rotate-secret", secret=secret)


def _due(unit, event, secret, **more):
    """Let Juju say that a secret is due."""
    event = getattr(unit.context.on, event)(secret, **more)
    unit.state = unit.context.run(event, unit.state)


def _prove(unit):
    """Let the supervisor say that the serving master has everything in force."""
    unit.report(**{"in-force": unit.desired["generations"]})
    unit.notice("wazuh-server.local/state")


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


@pytest.mark.parametrize("secret", rotation.PARTS)
def test_given_a_leader_when_it_rotates_then_the_new_is_written_and_nothing_is_in_force(
    unit, secret
):
    before, pushed = unit.secrets[secret], unit.files()

    assert _rotate(unit, secret) == {"rotating": secret}

    after = unit.secrets[secret]
    assert {key: after[key] for key in before} == before
    assert rotation.is_under_way(after)
    assert unit.files() == pushed, "this hook may still fail"


@pytest.mark.parametrize("secret", rotation.PARTS)
def test_given_a_rotation_when_juju_has_it_then_a_later_hook_acts_and_evidence_ends_it(
    unit, secret
):
    _rotate(unit, secret)
    coming, told = rotation.effective(unit.secrets[secret]), unit.databag
    before = unit.desired["generations"]

    unit.run("relation_changed")

    part = rotation.PARTS[secret]
    assert unit.desired["generations"][part] != before[part]
    assert rotation.is_under_way(unit.secrets[secret]), "nothing is proven yet"
    _prove(unit)
    assert unit.secrets[secret] == coming
    assert unit.databag == told, "the end of a rotation wakes nobody"


def test_given_a_rotation_that_ended_when_more_hooks_come_then_they_change_nothing(unit):
    _rotate(unit, "all")
    unit.run("relation_changed")
    _prove(unit)
    unit.run("update_status")
    before = (unit.files(), unit.databag, unit.secrets)

    unit.run("update_status")

    assert (unit.files(), unit.databag, unit.secrets) == before
    assert unit.writes == {}


def test_given_the_end_of_a_rotation_that_juju_did_not_take_when_run_again_then_it_ends(unit):
    _rotate(unit, "api-users")
    unit.run("relation_changed")
    unit.report(**{"in-force": unit.desired["generations"]})
    unit.run("update_status", commit=False)
    assert rotation.is_under_way(unit.secrets["api-users"])

    unit.run("update_status")

    assert not rotation.is_under_way(unit.secrets["api-users"])


def test_given_evidence_of_another_part_when_told_then_the_rotation_goes_on(unit):
    _rotate(unit, "api-users")
    unit.run("relation_changed")
    found = unit.desired["generations"]

    unit.report(**{"in-force": {name: found[name] for name in found if name != "users"}})
    unit.notice("wazuh-server.local/state")

    assert rotation.is_under_way(unit.secrets["api-users"])


def test_given_a_secret_whose_databag_was_lost_when_it_changed_then_the_leader_tells_all(
    tmp_path,
):
    # Juju 3.6 commits the secret before the databag: a crash in between leaves it untold, and
    # an action is not run again.
    unit = leader(tmp_path)
    told = unit.databag
    _rotate(unit, "cluster-key")
    unit.publish(told)

    unit.run("leader_elected")

    assert unit.databag["secrets"] != told["secrets"]
    assert unit.desired["generations"]


@pytest.mark.parametrize("event", ["secret_rotate", "secret_expired"])
@pytest.mark.parametrize("secret", rotation.PARTS)
def test_given_juju_says_that_a_secret_is_due_when_told_then_it_is_rotated_once(
    unit, secret, event
):
    found = next(one for one in unit.state.secrets if one.label == secret)
    more = {"revision": 1} if event == "secret_expired" else {}

    _due(unit, event, found, **more)

    first = unit.secrets[secret]
    assert rotation.is_under_way(first)
    found = next(one for one in unit.state.secrets if one.label == secret)
    _due(unit, event, found, **more)
    assert unit.secrets[secret] == first, "the same event again begins no other"


def test_given_a_secret_that_is_not_rotated_when_juju_says_it_is_due_then_it_stays(unit):
    found = next(one for one in unit.state.secrets if one.label == "certificate-authority")
    before = unit.secrets

    _due(unit, "secret_rotate", found)

    assert unit.secrets == before


def test_given_a_worker_when_asked_to_rotate_then_it_names_the_leader(unit, tmp_path):
    worker = peer_of(unit, tmp_path / "worker")
    worker.run("pebble_ready")

    with pytest.raises(testing.ActionFailed, match="juju run wazuh-server/leader rotate-secret"):
        _rotate(worker, "all")


@pytest.mark.parametrize("secret", ["", "certificate-authority", "cluster-key "])
def test_given_an_unknown_secret_when_asked_to_rotate_then_the_known_ones_are_named(unit, secret):
    with pytest.raises(testing.ActionFailed, match="secret: one of cluster-key, api-users"):
        _rotate(unit, secret)


def test_given_a_rotation_under_way_when_asked_again_then_it_says_so_and_changes_nothing(unit):
    _rotate(unit, "api-users")
    before = unit.secrets

    with pytest.raises(testing.ActionFailed, match="api-users: a rotation is under way"):
        _rotate(unit, "api-users")

    assert unit.secrets == before


def test_given_the_option_sets_the_password_when_asked_to_rotate_it_then_the_option_is_named(unit):
    _use_password(unit, "correct horse")

    with pytest.raises(testing.ActionFailed, match="the option agent-password sets it"):
        _rotate(unit, "enrolment-password")

    results = _rotate(unit, "all")
    assert results["rotating"] == "cluster-key, api-users, api-identity"
    assert "agent-password" in results["left-alone"]
    assert unit.secrets["enrolment-password"]["password"] == "correct horse"


def test_given_a_password_being_rotated_when_the_option_is_set_then_the_options_holds(unit):
    _rotate(unit, "enrolment-password")
    unit.run("relation_changed")

    _use_password(unit, "correct horse")

    assert not rotation.is_under_way(unit.secrets["enrolment-password"])
    assert unit.read(AUTHD) == "correct horse\n"


def test_given_a_new_unit_when_it_is_asked_to_rotate_then_it_fails_and_names_what_is_missing(
    tmp_path,
):
    unit = Unit(tmp_path)

    with pytest.raises(testing.ActionFailed, match="it has not been made yet"):
        _rotate(unit, "cluster-key")


def test_given_all_secrets_rotated_when_looked_for_then_no_value_is_where_it_must_not_be(unit):
    results = _rotate(unit, "all")
    unit.run("relation_changed")
    _prove(unit)

    values = {
        value
        for label in rotation.PARTS
        for value in unit.secrets[label].values()
        if label != "api-identity" or "PRIVATE" in value
    }
    shown = f"{results} {unit.databag} {unit.status} {unit.container.plan.to_dict()}"
    shown += unit.read("/etc/wazuh-server/applied.json") + unit.read(files.DESIRED)
    assert not [value for value in values if value in shown]


@pytest.mark.parametrize("policy", ["sometimes", "Weekly", "0", "weekly monthly"])
def test_given_no_policy_of_jujus_when_set_then_the_status_says_so_and_the_last_one_stays(
    unit, policy
):
    unit.configure(config={"secret-rotation": "weekly"})
    unit.run("config_changed")
    unit.configure(config={"secret-rotation": policy})

    unit.run("config_changed")

    assert isinstance(unit.status, ops.BlockedStatus)
    assert unit.status.message.startswith("secret-rotation: one of never, hourly, daily")
    assert _policies(unit) == {ops.SecretRotate.WEEKLY}


def test_given_a_policy_when_first_deployed_then_secrets_are_made_with_it(tmp_path):
    unit = leader(tmp_path, config={"secret-rotation": "monthly"})

    assert _policies(unit) == {ops.SecretRotate.MONTHLY}
    assert unit.calls["push"] == 0, "the second hook has nothing left to do"


def test_given_a_certificate_of_another_authority_when_rotated_then_only_tokens_are_new():
    present = {
        "jwt-private": "a",
        "jwt-public": "b",
        "certificate": "theirs",
        "private-key": "k",
        "request": "r",
        "renew-after": "2030",
        "expiry": "2031",
    }
    contents = {secrets.API_IDENTITY: present, secrets.AUTHORITY: {}}

    fresh = secrets._fresh(secrets.API_IDENTITY, contents, _wishes())

    assert set(fresh) == {"jwt-private", "jwt-public"}
    assert fresh["jwt-private"] != "a"


@given(CONTENTS, CONTENTS)
def test_given_any_content_when_a_rotation_begins_and_ends_then_the_new_is_in_its_place(
    content, fresh
):
    begun = rotation.begin(dict(content), fresh)

    assert {key: begun[key] for key in content} == content
    assert rotation.begin(begun, {"wazuh": "another"}) == begun or not fresh
    assert rotation.promote(begun) == {**content, **fresh}
    assert rotation.effective(rotation.promote(begun)) == rotation.effective(begun)


def _wishes():
    import datetime

    return secrets.Wishes(("x",), secrets.AgentPassword(), datetime.datetime.now(datetime.UTC))


def _policies(unit):
    return {one.rotate for one in unit.state.secrets if one.label in rotation.PARTS}


def _use_password(unit, password):
    secret = testing.Secret({"password": password}, owner=None)
    unit.configure(config={"agent-password": secret.id}, secrets={*unit.state.secrets, secret})
    unit.run("config_changed")
