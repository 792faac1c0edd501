"""R24–R29 and what was seen: owners, labels, revisions, readers, and both modes of commit."""

import pytest

from sandbox.model import Behaviour, ToolError


def _add(driver, label="one", **settings):
    hook = driver.until("app/0", "update-status")
    uri = hook.secret_add({"key": "first"}, label=label, **settings)
    driver.model.finish(hook, ok=True)
    return uri


def _set(driver, uri, value):
    hook = driver.until("app/0", "update-status")
    hook.secret_set(uri, {"key": value})
    driver.model.finish(hook, ok=True)


def _read(driver, unit, **how):
    hook = driver.until(unit, "update-status")
    content = hook.secret_get(**how)
    driver.model.finish(hook, ok=True)
    return content["key"]


def test_r24_given_a_minion_when_it_adds_or_changes_the_applications_secret_then_refused(settled):
    driver = settled(2)
    uri = _add(driver)
    minion = driver.until("app/1", "update-status")
    for ask in (
        lambda: minion.secret_add({"key": "value"}, label="two"),
        lambda: minion.secret_set(uri, {"key": "value"}),
        lambda: minion.secret_remove(uri),
        lambda: minion.secret_info_get(uri),
    ):
        with pytest.raises(ToolError):
            ask()
    assert minion.secret_get(label="one") == {"key": "first"}
    assert minion.secret_ids() == []


def test_r25_given_juju_3_6_when_the_agent_dies_between_secrets_then_those_before_exist(driver):
    for after, expected in ((1, {"one"}), (2, {"one", "two"})):
        fresh = driver("3.6", 1)
        fresh.pass_time(20)
        hook = fresh.until("app/0", "update-status")
        hook.secret_add({"key": "value"}, label="one")
        hook.secret_add({"key": "value"}, label="two")
        hook.relation_set("peers:0", {"a": "b"}, app=True)
        assert len(fresh.model.commit_steps(hook)) == 4
        assert not fresh.model.finish(hook, ok=True, crash_after=after)
        assert {secret.label for secret in fresh.model.secrets()} == expected
        bags = fresh.model.show_unit("app/0")["app/0"]["relation-info"][0]
        assert bags["application-data"] == {}


def test_r25_given_juju_4_when_the_agent_dies_in_the_commit_then_all_or_nothing(driver):
    for after, expected in ((0, set()), (1, {"one"})):
        one = driver("4", 1)
        one.pass_time(20)
        hook = one.until("app/0", "update-status")
        hook.secret_add({"key": "value"}, label="one")
        hook.relation_set("peers:0", {"a": "b"}, app=True)
        assert len(one.model.commit_steps(hook)) == 2
        one.model.finish(hook, ok=True, crash_after=after)
        assert {secret.label for secret in one.model.secrets()} == expected
        bags = one.model.show_unit("app/0")["app/0"]["relation-info"][0]
        assert bool(bags["application-data"]) is bool(expected)


def test_r25_given_a_label_that_exists_when_added_again_then_only_the_commit_fails(settled):
    driver = settled(1)
    _add(driver)
    hook = driver.until("app/0", "update-status")
    hook.secret_add({"key": "other"}, label="one")
    hook.relation_set("peers:0", {"a": "b"}, app=True)
    assert not driver.model.finish(hook, ok=True)
    assert 'label "one" already exists' in driver.model.events()[-1].text
    assert len(driver.model.secrets()) == 1
    bags = driver.model.show_unit("app/0")["app/0"]["relation-info"][0]
    assert bags["application-data"] == {}


def test_r25_given_a_label_twice_in_one_hook_when_committed_then_it_fails(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.secret_add({"key": "value"}, label="one")
    hook.secret_add({"key": "value"}, label="one")
    assert not driver.model.finish(hook, ok=True)


def test_seen_given_a_failed_hook_when_retried_with_the_same_label_then_it_works(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.secret_add({"key": "value"}, label="one")
    driver.model.finish(hook, ok=False)
    driver.model.advance(6)
    again = driver.next("app/0")
    again.secret_add({"key": "value"}, label="one")
    assert driver.model.finish(again, ok=True)
    assert len(driver.model.secrets()) == 1


def test_seen_given_a_secret_is_made_when_committed_then_nobody_is_woken(settled):
    driver = settled(2)
    _add(driver)
    driver.model.advance(5)
    assert not [unit for unit in driver.model.due() if "secret" in driver.model.peek(unit).name]


def test_r26_given_readers_when_a_revision_comes_then_each_is_told_and_keeps_the_old(settled):
    driver = settled(3)
    uri = _add(driver)
    for unit in ("app/0", "app/1"):
        assert _read(driver, unit, label="one") == "first"
    _set(driver, uri, "second")
    assert not [unit for unit in driver.model.due() if "secret" in driver.model.peek(unit).name]
    driver.model.advance(2.7)
    told = [
        unit for unit in driver.model.due() if driver.model.peek(unit).name == "secret-changed"
    ]
    assert told == ["app/0", "app/1"]
    hook = driver.next("app/1")
    assert hook.environment()["JUJU_SECRET_LABEL"] == "one"
    assert hook.secret_get(label="one") == {"key": "first"}
    assert hook.secret_get(label="one", peek=True) == {"key": "second"}
    assert hook.secret_get(label="one") == {"key": "first"}
    assert hook.secret_get(label="one", refresh=True) == {"key": "second"}
    driver.model.finish(hook, ok=False)
    driver.model.advance(6)
    assert driver.next("app/1").secret_get(label="one") == {"key": "second"}


def test_seen_given_a_unit_that_never_read_when_it_reads_then_the_latest_and_no_event(settled):
    driver = settled(2)
    uri = _add(driver)
    _set(driver, uri, "second")
    driver.model.advance(3)
    spec = driver.model.peek("app/1")
    assert spec is None or spec.name != "secret-changed"
    assert _read(driver, "app/1", label="one") == "second"


def test_r26_given_several_revisions_before_the_hook_when_it_runs_then_one_event(settled, hooks):
    driver = settled(2)
    uri = _add(driver)
    _read(driver, "app/1", label="one")
    for value in ("second", "third"):
        _set(driver, uri, value)
    driver.model.advance(3)
    assert hooks(driver.drain("app/1")).count("secret-changed") == 1


def test_r27_given_equal_content_when_set_then_no_revision_and_no_event(settled):
    driver = settled(2)
    uri = _add(driver)
    _read(driver, "app/1", label="one")
    _set(driver, uri, "first")
    driver.model.advance(3)
    assert driver.model.secrets()[0].revision == 1
    spec = driver.model.peek("app/1")
    assert spec is None or spec.name != "secret-changed"


def test_seen_given_a_hook_that_sets_content_when_it_reads_then_the_old_unless_it_refreshes(
    settled,
):
    driver = settled(1)
    uri = _add(driver)
    _read(driver, "app/0", label="one")
    hook = driver.until("app/0", "update-status")
    hook.secret_set(uri, {"key": "second"})
    assert hook.secret_get(label="one") == {"key": "first"}
    assert hook.secret_get(label="one", refresh=True) == {"key": "second"}
    driver.model.finish(hook, ok=True)
    assert _read(driver, "app/0", label="one") == "second"


def test_seen_given_a_hook_that_adds_a_secret_when_it_reads_it_then_it_works(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    uri = hook.secret_add({"key": "value"}, label="one")
    assert hook.secret_get(uri) == {"key": "value"}
    assert hook.secret_get(label="one") == {"key": "value"}


def test_seen_given_a_minion_that_labels_the_applications_secret_when_committed_then_it_fails(
    settled,
):
    driver = settled(2)
    uri = _add(driver)
    minion = driver.until("app/1", "update-status")
    assert minion.secret_get(uri, label="mine") == {"key": "first"}
    assert not driver.model.finish(minion, ok=True)
    assert "lease not held" in driver.model.events()[-1].text


def _removals(driver, unit):
    found = []
    while (spec := driver.model.peek(unit)) is not None:
        if spec.name == "secret-remove":
            found.append(spec.secret_revision)
        driver.once(unit)
    return found


def test_seen_given_revisions_nobody_tracks_when_hooks_run_then_the_leader_alone_hears_of_each(
    settled,
):
    driver = settled(2)
    uri = _add(driver)
    for value in ("second", "third"):
        _set(driver, uri, value)
    assert _removals(driver, "app/1") == []
    told = [name for _, name, _ in driver.ran].count("secret-remove")
    assert told + len(_removals(driver, "app/0")) == 2
    driver.model.node_lost("app/0")
    driver.pass_time(61)
    ran = [name for unit, name, _ in driver.ran if unit == "app/1"]
    assert ran.count("secret-remove") == 2


def test_seen_given_juju_4_when_a_revision_is_removed_then_yes_and_it_stays_listed(driver):
    for mode, left in (("4", {1, 2}), ("3.6", {2})):
        one = driver(mode, 1)
        one.pass_time(20)
        uri = _add(one)
        _set(one, uri, "second")
        hook = one.until("app/0", "secret-remove")
        assert hook.environment()["JUJU_SECRET_REVISION"] == "1"
        hook.secret_remove(uri, revision=1)
        assert one.model.finish(hook, ok=True)
        assert set(one.model.world.secrets[uri].revisions) == left


def test_r28_given_a_users_secret_when_granted_revoked_updated_then_only_an_update_gives_a_hook(
    settled, hooks
):
    driver = settled(1)
    uri = driver.model.add_secret("mine", {"key": "first"})
    hook = driver.until("app/0", "update-status")
    with pytest.raises(ToolError, match="permission denied"):
        hook.secret_get(uri)
    driver.model.finish(hook, ok=True)
    driver.model.grant_secret("mine", "app")
    assert driver.model.due() == []
    assert _read(driver, "app/0", uri=uri) == "first"
    driver.model.update_secret("mine", {"key": "second"})
    driver.model.advance(3)
    assert "secret-changed" in hooks(driver.drain())
    driver.model.revoke_secret("mine", "app")
    driver.model.advance(3)
    assert driver.model.due() == []
    hook = driver.until("app/0", "update-status")
    with pytest.raises(ToolError, match="permission denied"):
        hook.secret_get(uri)
    driver.model.remove_secret("mine")
    with pytest.raises(ToolError, match="not found"):
        hook.secret_get(uri)


def test_seen_given_a_unit_owned_secret_when_granted_to_peers_then_the_commit_fails(settled):
    driver = settled(2)
    hook = driver.until("app/0", "update-status")
    uri = hook.secret_add({"key": "value"}, label="own", owner="unit")
    driver.model.finish(hook, ok=True)
    hook = driver.until("app/0", "update-status")
    hook.secret_grant(uri, relation="peers:0")
    assert not driver.model.finish(hook, ok=True)


def test_given_a_secret_granted_over_a_relation_when_the_other_side_reads_then_it_may(
    settled, remote
):
    driver = settled(1)
    driver.model.add_application(remote, units=1)
    relation = driver.model.integrate("app:logs", "remote")
    for name in ("remote/0",):
        driver.model.pod_started(name)
    driver.drain()
    hook = driver.until("app/0", "update-status")
    uri = hook.secret_add({"key": "value"}, label="shared")
    hook.secret_grant(uri, relation=relation)
    driver.model.finish(hook, ok=True)
    reader = driver.until("remote/0", "update-status")
    assert reader.secret_get(uri, label="theirs") == {"key": "value"}
    assert reader.secret_get(label="theirs") == {"key": "value"}
    driver.model.finish(reader, ok=True)


@pytest.mark.parametrize(
    ("policy", "least", "most"), [("hourly", 3600, 3700), ("daily", 86400, 86500)]
)
def test_given_a_rotation_policy_when_its_time_comes_then_the_leader_alone_is_told(
    driver, policy, least, most
):
    two = driver("4", 2)
    two.pass_time(20)
    uri = _add(two, rotate=policy)
    made_at = two.model.now
    while True:
        two.model.advance(two.model.next_deadline() - two.model.now)
        kinds = {unit: two.model.peek(unit) for unit in two.model.due()}
        rotating = [unit for unit, spec in kinds.items() if spec.name == "secret-rotate"]
        if rotating:
            break
        two.drain()
    assert rotating == ["app/0"]
    assert least <= two.model.now - made_at <= most
    assert two.model.peek("app/0").secret == uri
    two.drain()
    assert two.model.due() == []


def test_given_an_expiry_when_its_time_comes_then_the_leader_is_told_the_revision(settled):
    driver = settled(1)
    hook = driver.until("app/0", "update-status")
    hook.secret_add({"key": "value"}, label="one", expire=driver.model.now + 50)
    driver.model.finish(hook, ok=True)
    expired = driver.until("app/0", "secret-expired")
    assert expired.environment()["JUJU_SECRET_REVISION"] == "1"


@pytest.mark.parametrize("key", ["ab", "Upper", "1st", "ends-"])
def test_given_a_key_that_juju_refuses_when_a_secret_is_added_then_refused_at_once(settled, key):
    hook = settled(1).until("app/0", "update-status")
    with pytest.raises(ToolError, match="not valid"):
        hook.secret_add({key: "value"})


def test_given_secrets_when_listed_then_contents_only_when_revealed(settled):
    driver = settled(1)
    _add(driver)
    assert driver.model.secrets()[0].content is None
    assert driver.model.secrets(reveal=True)[0].content == {"key": "first"}


def test_given_a_mode_when_a_behaviour_is_derived_then_it_is_that_of_the_version():
    assert Behaviour.of("4").leader_hears_itself
    assert Behaviour.of("4").peers_break
    assert not Behaviour.of("3.6").leader_hears_itself
    assert not Behaviour.of("3.6").peers_break


def test_given_an_id_with_a_model_when_read_then_it_is_found_in_that_model_alone(settled):
    # juju core/secrets/uri.go: IsLocal.
    driver = settled(2)
    identity = _add(driver).removeprefix("secret:")
    unit = "app/1"

    assert _read(driver, unit, uri=f"secret://{driver.model.uuid}/{identity}") == "first"
    assert _read(driver, unit, uri=f"secret:{identity}") == "first"
    hook = driver.until(unit, "update-status")
    with pytest.raises(ToolError):
        hook.secret_get(uri=f"secret://6a2f3b1c-0000-4000-8000-000000000000/{identity}")
